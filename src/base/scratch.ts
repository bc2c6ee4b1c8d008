/**
 * Temporary files that never stay behind: each is named after the process that owns it, so whoever comes
 * next can tell a dead owner's leftovers from a living one's work. A process of another container, machine or
 * boot cannot be looked at: it counts as living as long as it renews a mark beside its files.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, open, readdir, rename, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "./error.ts";
import { ownerOf, processName, stateOfProcess } from "./process-name.ts";
import { isGone, StrangeDirectory } from "./strange-directory.ts";
import { removeIn } from "./strange-tree.ts";

/** A directory for temporary files, on the same file system as what they will become. */
export interface Scratch {
  /** A fresh path that does not exist yet. */
  path(): string;
  /** Writes a whole file so that readers see the old content or the new, never a part, a power failure included. */
  write(target: string, content: string | Uint8Array, mode?: number): Promise<void>;
  /** Removes what is left of it and of dead processes, and the directory itself when that empties it. */
  close(): Promise<void>;
}

/** How often a process renews its mark, and after how long without that one elsewhere counts as dead. */
const BEAT_MS = 30_000;
const SILENCE_LIMIT_MS = 10 * 60_000;
const MARK = "alive";

/**
 * Opens the directory and removes what processes that died left in it, as far as that can be done. Names that are
 * not of a process stay: they belong to others.
 * @throws FarmError PLACE_UNUSABLE where a link or a file is in its place
 */
export async function openScratch(directory: string): Promise<Scratch> {
  const own = `${processName() ?? process.pid}-${randomBytes(6).toString("hex")}-`;
  let count = 0;
  // Nobody who sees one name can foretell the next, and lay a link there.
  const path = () => join(directory, `${own}${count++}-${randomBytes(6).toString("hex")}`);
  const mark = await keepMark(directory, own);
  await sweep(directory);
  return {
    path,
    async write(target, content, mode = 0o644) {
      await mkdir(directory, { recursive: true });
      await writeBy(path(), target, content, mode);
    },
    async close() {
      await mark.end();
      await sweep(directory, own);
      await rmdir(directory).catch(() => {}); // Not empty: another process is at work.
    },
  };
}

/**
 * Writes a whole file in the same way, where a person named it: others may write there too, and a directory for temporary
 * files could be theirs. A name beside it that nobody can foretell cannot.
 */
export async function writeWhole(target: string, content: string | Uint8Array): Promise<void> {
  await makePlace(dirname(target));
  const temporary = join(dirname(target), `.kmodfarm-${randomBytes(12).toString("hex")}`);
  try {
    await writeBy(temporary, target, content, 0o644);
  } catch (thrown) {
    await unlink(temporary).catch(() => {}); // What went wrong first is reported.
    throw thrown;
  }
}

async function writeBy(
  temporary: string,
  target: string,
  content: string | Uint8Array,
  mode: number,
): Promise<void> {
  const file = await open(temporary, "wx", mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await mkdir(dirname(target), { recursive: true });
  await rename(temporary, target);
  await syncDirectory(dirname(target));
}

/**
 * Makes a directory that a user named, with those above it. Not by `recursive`: that tries for ever where a
 * file system makes no directories (/proc).
 * @throws FarmError PLACE_UNUSABLE
 */
export async function makePlace(directory: string): Promise<void> {
  try {
    await makeWithParents(directory);
    await access(directory, constants.W_OK);
  } catch (cause) {
    if (!isErrno(cause)) throw cause;
    const isThere = (await stat(directory).catch(() => undefined))?.isDirectory() ?? false;
    throw new FarmError("PLACE_UNUSABLE", {
      detail: `${directory} cannot be ${isThere ? "written to" : "created"} (${cause.code})`,
      cause,
    });
  }
}

/** Has git ignore everything in a directory, because keys and orders belong in nobody's repository. A .gitignore that is there stays. */
export async function keepOutOfGit(directory: string): Promise<void> {
  await writeFile(join(directory, ".gitignore"), "*\n", { flag: "wx" }).catch((thrown) => {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
  });
}

async function makeWithParents(directory: string): Promise<void> {
  if ((await stat(directory).catch(() => undefined))?.isDirectory()) return;
  if (dirname(directory) !== directory) await makeWithParents(dirname(directory));
  await mkdir(directory).catch(async (thrown) => {
    if (!isErrno(thrown) || thrown.code !== "EEXIST") throw thrown;
    // Another process was faster; or a file is in the way.
    if (!(await stat(directory)).isDirectory()) throw thrown;
  });
}

/**
 * Keeps a fresh file of ours there. It says that we live, and keeps another process that is done from removing the
 * directory under us. Each is a new file: its time is that of the file system's own clock, and nothing that
 * somebody put in its place is ever written to.
 */
async function keepMark(directory: string, own: string): Promise<{ end(): Promise<void> }> {
  const name = (beat: number) => Buffer.from(`${own}${MARK}${beat}`);
  await occupy(directory, name(0));
  let last = 0;
  let beating = Promise.resolve();
  const beat = async () => {
    using held = openOwnDirectory(directory);
    await (await held.create(name(last + 1), 0o600)).close();
    held.unlink(name(last++));
  };
  const timer = setInterval(() => {
    // Where one mark cannot be renewed, the next one may.
    beating = beat().catch(() => {});
  }, BEAT_MS).unref();
  return {
    end() {
      clearInterval(timer);
      return beating;
    },
  };
}

/** Another process that is done may remove the directory at any moment before our first file is in it. */
async function occupy(directory: string, mark: Buffer): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await makePlace(directory);
      using held = openOwnDirectory(directory);
      return await (await held.create(mark, 0o600)).close();
    } catch (thrown) {
      const fault = thrown instanceof FarmError ? thrown.cause : thrown;
      if (tries === 100 || !isErrno(fault) || fault.code !== "ENOENT") throw thrown;
    }
  }
}

/** @throws FarmError PLACE_UNUSABLE for a link to a directory: everything in it would look like leftovers */
function openOwnDirectory(directory: string): StrangeDirectory {
  try {
    return StrangeDirectory.open(directory);
  } catch (thrown) {
    if (!isErrno(thrown) || thrown.code !== "ENOTDIR") throw thrown;
    throw new FarmError("PLACE_UNUSABLE", {
      detail: `${directory} is not a directory of its own, but a link or a file`,
      hint: "Remove it: temporary files are created and removed there.",
      cause: thrown,
    });
  }
}

/** A process that has files in a scratch directory. */
export interface ScratchOwner {
  readonly name: string;
  /** Those elsewhere are, as long as their marks are fresh. */
  readonly isAlive: boolean;
}

/** The processes that have files in a scratch directory; none when there is no such directory. */
export function scratchOwners(directory: string): ScratchOwner[] {
  const { now, signs } = readSigns(directory);
  return [...signs].map(([name, last]) => {
    const state = stateOfProcess(name);
    const isAlive = state === "elsewhere" ? now - last < SILENCE_LIMIT_MS : state === "alive";
    return { name, isAlive };
  });
}

/** When each process gave its last sign of life: by its marks, or if it has none, by its files. */
function readSigns(directory: string): { readonly now: number; readonly signs: ReadonlyMap<string, number> } {
  const [marks, others] = [new Map<string, number>(), new Map<string, number>()];
  try {
    using held = StrangeDirectory.open(directory);
    for (const name of held.names()) {
      const owner = ownerOf(name.toString());
      const seen = name.includes(`-${MARK}`) ? marks : others;
      if (owner !== undefined) seen.set(owner, Math.max(seen.get(owner) ?? 0, modifiedAt(held, name)));
    }
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
  // Our own mark tells the time of the file system that all of them are on.
  return { now: marks.get(processName() ?? "") ?? Date.now(), signs: new Map([...others, ...marks]) };
}

function modifiedAt(directory: StrangeDirectory, name: Buffer): number {
  try {
    return directory.statusOf(name).mtimeMs;
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
    return 0;
  }
}

/**
 * Removes what begins with `own`, and what dead processes left. What cannot be removed stays, and the next sweep
 * tries again: leftovers are no reason not to work.
 */
async function sweep(directory: string, own?: string): Promise<void> {
  const dead = new Set(
    scratchOwners(directory)
      .filter((owner) => !owner.isAlive)
      .map(({ name }) => name),
  );
  try {
    using held = StrangeDirectory.open(directory);
    for (const name of held.names()) {
      const isOurs = own !== undefined && name.toString().startsWith(own);
      if (isOurs || dead.has(ownerOf(name.toString()) ?? "")) await removeIn(held, name).catch(ignoreErrno);
    }
  } catch (thrown) {
    if (!isGone(thrown)) throw thrown;
  }
}

function ignoreErrno(thrown: unknown): void {
  if (!isErrno(thrown)) throw thrown;
}

/** A name is on disk only when its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Names in a directory, sorted; none when there is no such directory. */
export async function entriesOf(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (thrown) {
    if (isErrno(thrown) && thrown.code === "ENOENT") return [];
    throw thrown;
  }
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
