/**
 * Trees that a stranger wrote (a package, a driver's source, a build's outputs, another's store): the only way in
 * which this machine walks, reads, copies, measures and removes them. Every step goes from one held directory to a
 * name in it, so that no path of theirs is ever resolved here; docs/adr/0007 says why it is done this way.
 */
import { isUtf8 } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, type Stats, writeSync } from "node:fs";
import { basename, dirname } from "node:path";
import { isErrno } from "./error.ts";
import { pauses } from "./pauses.ts";
import { isGone, StrangeDirectory } from "./strange-directory.ts";

/** What a tree may hold at most. */
export interface TreeBudget {
  readonly entries: number;
  /** Sizes of its files as a reader sees them, not what they occupy on the disk. */
  readonly bytes: number;
}

export interface StrangeEntry {
  /** Path below the top, `/` between its parts. */
  readonly path: string;
  readonly kind: "file" | "directory" | "link" | "special";
  readonly status: Stats;
  /** Where a link leads, as it is written. */
  target(this: void): string;
  /** Reads a file. */
  read(this: void): Buffer;
}

/** Makes the caller's error; `fact` continues after the path. */
export type Refuse = (path: string, fact: string) => Error;

/** No tree of a kernel or a driver is that deep; each level takes a descriptor while it is walked. */
const DEPTH_LIMIT = 100;
/** Where such a path is put below a directory of ours, the whole is still a path that programs can use. */
const PATH_LIMIT_BYTES = 2048;

/**
 * Visits everything below a directory, a directory before what is in it, names in their order. `visit` answers
 * "skip" for a directory that is not to be entered. Names that are not UTF-8, depth, and what is over the budget
 * are refused.
 */
export async function walkTree(
  top: string,
  budget: TreeBudget,
  refuse: Refuse,
  visit: (entry: StrangeEntry) => "skip" | undefined,
): Promise<void> {
  const [pause, spent] = [pauses(), { entries: 0, bytes: 0 }];
  const account = (path: string, status: Stats) => {
    spent.entries++;
    if (status.isFile()) spent.bytes += status.size;
    if (spent.entries > budget.entries)
      throw refuse(path, `is more than the ${budget.entries} entries allowed`);
    if (spent.bytes > budget.bytes) throw refuse(path, `is more than the ${budget.bytes} bytes allowed`);
  };
  const walk = async (directory: StrangeDirectory, above: string, depth: number): Promise<void> => {
    for (const name of sortedNames(directory, budget.entries - spent.entries + 1)) {
      const path = above === "" ? name.toString() : `${above}/${name.toString()}`;
      if (!isUtf8(name)) throw refuse(path, "has a name that is not UTF-8");
      if (depth > DEPTH_LIMIT || Buffer.byteLength(path) > PATH_LIMIT_BYTES)
        throw refuse(`${path.slice(0, 100)}…`, "is nested too deeply");
      const status = directory.statusOf(name);
      account(path, status);
      const answer = visit(entryOf(directory, name, path, status, refuse));
      if (status.isDirectory() && answer !== "skip") {
        using below = directory.enter(name);
        await walk(below, path, depth + 1);
      }
      await pause();
    }
  };
  using directory = StrangeDirectory.open(top);
  await walk(directory, "", 1);
}

function sortedNames(directory: StrangeDirectory, limit: number): Buffer[] {
  const names: Buffer[] = [];
  for (const name of directory.names()) if (names.push(name) > limit) break;
  return names.sort((a, b) => Buffer.compare(a, b));
}

function entryOf(
  directory: StrangeDirectory,
  name: Buffer,
  path: string,
  status: Stats,
  refuse: Refuse,
): StrangeEntry {
  const kind = kindOf(status);
  return {
    path,
    kind,
    status,
    target: () => directory.linkOf(name).toString(),
    read: () => {
      const bytes = readIn(directory, name, status.size);
      if (bytes === undefined) throw refuse(path, "is not a plain file");
      return bytes;
    },
  };
}

export function kindOf(status: Stats): StrangeEntry["kind"] {
  if (status.isFile()) return "file";
  if (status.isDirectory()) return "directory";
  return status.isSymbolicLink() ? "link" : "special";
}

/** What is at a path, no part of which is a link but perhaps the last; undefined when nothing is. */
export function kindIn(top: string, path: string): StrangeEntry["kind"] | undefined {
  return inDirectoryOf(top, path, (directory, name) => kindOf(directory.statusOf(name)));
}

/** Where the link at a path leads, as it is written; undefined when there is no link. */
export function linkIn(top: string, path: string): string | undefined {
  return inDirectoryOf(top, path, (directory, name) =>
    directory.statusOf(name).isSymbolicLink() ? directory.linkOf(name).toString() : undefined,
  );
}

/** Removes the link at a path, no part of which is a link but the last. False when there is no link. */
export function removeLinkIn(top: string, path: string): boolean {
  const isRemoved = inDirectoryOf(top, path, (directory, name) => {
    if (!directory.statusOf(name).isSymbolicLink()) return undefined;
    directory.unlink(name);
    return true;
  });
  return isRemoved ?? false;
}

/**
 * A plain file's first bytes; undefined when there is none at that path, or when a part of the path is a link.
 */
export function readFileIn(top: string, path: string, limitBytes: number): Buffer | undefined {
  return inDirectoryOf(top, path, (directory, name) => readIn(directory, name, limitBytes));
}

/** Names in a directory below the top, sorted; undefined when there is no such directory. */
export function namesIn(top: string, path: string): string[] | undefined {
  return inDirectoryOf(top, path, (directory, name) => {
    using below = directory.enter(name);
    return [...below.names()].map(String).sort();
  });
}

const PIECE_BYTES = 1024 ** 2;

/**
 * Copies a plain file of the tree to a new one of ours, and answers the SHA-256, in hexadecimal digits, of what was
 * written: its first bytes, where it has more than it may have. undefined when there is no such file.
 */
export function copyFileIn(
  top: string,
  path: string,
  target: string,
  limitBytes: number,
): string | undefined {
  return inDirectoryOf(top, path, (directory, name) => {
    const file = directory.openFile(name);
    if (file === undefined) return undefined;
    let copy: number | undefined;
    try {
      copy = openSync(target, "wx");
      const [hash, piece] = [createHash("sha256"), Buffer.alloc(Math.min(PIECE_BYTES, limitBytes))];
      for (let left = limitBytes, length = -1; length !== 0 && left > 0; left -= length) {
        length = readSync(file, piece, 0, Math.min(piece.length, left), null);
        hash.update(piece.subarray(0, length));
        writeWhole(copy, piece.subarray(0, length));
      }
      return hash.digest("hex");
    } finally {
      closeSync(file);
      if (copy !== undefined) closeSync(copy);
    }
  });
}

function writeWhole(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

/** Moves a directory out of the tree to a new path of ours. False when there is no such directory. */
export function moveDirectoryOut(top: string, path: string, target: string): boolean {
  const isMoved = inDirectoryOf(top, path, (directory, name) => {
    if (!directory.statusOf(name).isDirectory()) return undefined;
    using place = StrangeDirectory.openOwn(dirname(target));
    directory.move(name, place, Buffer.from(basename(target)));
    return true;
  });
  return isMoved ?? false;
}

/** Goes down to the directory of the last part; a part that is absent, or is a link, is the answer undefined. */
function inDirectoryOf<T>(
  top: string,
  path: string,
  ask: (directory: StrangeDirectory, name: Buffer) => T | undefined,
): T | undefined {
  const parts = path.split("/").map((part) => Buffer.from(part));
  const last = parts.pop() as Buffer;
  const down = (directory: StrangeDirectory, [next, ...rest]: readonly Buffer[]): T | undefined => {
    if (next === undefined) return ask(directory, last);
    using below = directory.enter(next);
    return down(below, rest);
  };
  try {
    using directory = StrangeDirectory.open(top);
    return down(directory, parts);
  } catch (thrown) {
    if (isGone(thrown)) return undefined;
    throw thrown;
  }
}

function readIn(directory: StrangeDirectory, name: Uint8Array, limitBytes: number): Buffer | undefined {
  const file = directory.openFile(name);
  if (file === undefined) return undefined;
  try {
    const buffer = Buffer.alloc(Math.min(limitBytes, fstatSync(file).size));
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read)
      read = readSync(file, buffer, length, buffer.length - length, length);
    return buffer.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

const BLOCK_BYTES = 512;
/** An empty file costs too: an inode and a name. */
const ENTRY_BYTES = 4096;

/**
 * Bytes on disk below directories, while others may still write there; stops counting where `enough` is reached.
 * What cannot be looked at, because it is too deep or its mode keeps us out, counts as infinitely much.
 */
export async function measureTrees(tops: readonly string[], enough: number): Promise<number> {
  const pause = pauses();
  let total = 0;
  const measure = async (directory: StrangeDirectory, depth: number): Promise<void> => {
    if (depth > DEPTH_LIMIT) total = Number.POSITIVE_INFINITY;
    for (const name of directory.names()) {
      if (total >= enough) return;
      await ifStillThere(async () => {
        const status = directory.statusOf(name);
        const onDisk = status.blocks * BLOCK_BYTES;
        // A directory that was once full keeps its blocks; an empty one takes no more than any entry.
        if (status.isDirectory()) total += Math.max(ENTRY_BYTES, onDisk);
        else total += ENTRY_BYTES + (status.isFile() ? onDisk : 0);
        if (!status.isDirectory()) return;
        using below = directory.enter(name);
        await measure(below, depth + 1);
      });
      await pause();
    }
  };
  for (const top of tops) {
    await ifStillThere(async () => {
      using directory = StrangeDirectory.open(top);
      await measure(directory, 1);
    }).catch((thrown) => {
      if (!isErrno(thrown)) throw thrown;
      total = Number.POSITIVE_INFINITY;
    });
    if (total >= enough) return total;
  }
  return total;
}

async function ifStillThere(look: () => Promise<void> | void): Promise<void> {
  try {
    await look();
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
}

/** So often a directory may be full again after everything in it was removed, before another process must be writing to it. */
const EMPTYING_TRIES = 20;

/**
 * Removes whatever is at a path of ours: a file, a link itself, or a whole tree of any depth, with any names and
 * modes, also while others change it. An absent one is fine. The path must not lead through a stranger's tree,
 * whose links are followed on the way: `removeLinkIn` is for those.
 * @throws errors of the system calls, and ENOTEMPTY if another process keeps writing there
 */
export async function removeTree(path: string): Promise<void> {
  const name = Buffer.from(basename(path));
  await ifStillThere(async () => {
    using parent = StrangeDirectory.openOwn(dirname(path));
    await removeIn(parent, name);
  });
}

/** Removes whatever is at a name of a directory, as `removeTree` does. @throws ENOENT too */
export async function removeIn(parent: StrangeDirectory, name: Buffer): Promise<void> {
  if (!parent.statusOf(name).isDirectory()) return parent.unlink(name);
  {
    using top = parent.enter(name);
    top.unlock();
    await emptyFlat(top);
  }
  parent.removeDirectory(name);
}

/**
 * Empties a tree with few descriptors, however deep it is: each directory that is found further down is moved up
 * to the top first, and emptied there.
 */
async function emptyFlat(top: StrangeDirectory): Promise<void> {
  const [pause, prefix] = [pauses(), `.removing-${randomBytes(6).toString("hex")}-`];
  const waiting: Buffer[] = [];
  let moved = 0;
  /** Answers whether there was nothing left in it. */
  const clear = async (directory: StrangeDirectory): Promise<boolean> => {
    let isEmpty = true;
    for (const name of directory.names()) {
      isEmpty = false;
      await ifStillThere(() => {
        if (!directory.statusOf(name).isDirectory()) return directory.unlink(name);
        const upper = directory === top ? name : Buffer.from(`${prefix}${moved++}`);
        // To move a directory is to change its `..`, which needs the right to write to it.
        if (directory !== top) unlockIn(directory, name).move(name, top, upper);
        waiting.push(upper);
      });
      await pause();
    }
    return isEmpty;
  };
  for (let tries = 0; tries < EMPTYING_TRIES && !(await clear(top)); tries++)
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop())
      await removeFlat(top, name, clear);
}

async function removeFlat(
  top: StrangeDirectory,
  name: Buffer,
  clear: (directory: StrangeDirectory) => Promise<boolean>,
): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      unlockIn(top, name);
      {
        using directory = top.enter(name);
        await clear(directory);
      }
      return top.removeDirectory(name);
    } catch (thrown) {
      // Gone, or something else by now: the next look at the top finds it.
      if (isGone(thrown)) return;
      if (tries === EMPTYING_TRIES || !isErrno(thrown) || thrown.code !== "ENOTEMPTY") throw thrown;
    }
  }
}

function unlockIn(parent: StrangeDirectory, name: Buffer): StrangeDirectory {
  using directory = parent.enter(name);
  directory.unlock();
  return parent;
}
