/**
 * A driver's source tree: what belongs to it, and a digest that does not depend on where, when or by whom
 * it was checked out.
 */
import { createHash } from "node:crypto";
import { chmod, lutimes, mkdir, symlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { type Digest, digestOf } from "../base/json.ts";
import { pauses } from "../base/pauses.ts";
import { type LinkBudget, landingOf, linkBudget } from "../base/strange-links.ts";
import { copyFileIn, readFileIn, type StrangeEntry, walkTree } from "../base/strange-tree.ts";
import { leftoversIn } from "./leftovers.ts";
import type { LeftOut } from "./origins/not-source.ts";

interface SourceFile {
  /** Path below the tree, `/` between its parts. */
  readonly path: string;
  readonly kind: "file" | "executable" | "link";
  /** SHA-256 of a file's bytes, or a link's target. */
  readonly content: string;
  readonly sizeBytes: number;
}

export interface SourceTree {
  readonly directory: string;
  readonly files: readonly SourceFile[];
  readonly digest: Digest;
  /** Paths of what an earlier build left in the directory, which is no part of the tree. */
  readonly leftovers: readonly string[];
}

/** Drivers carry firmware, not disk images. A sparse file costs nothing to ship and everything to read. */
export const FILE_LIMIT_BYTES = 512 * 1024 * 1024;
export const SOURCE_BUDGET = { entries: 200_000, bytes: 4 * 1024 ** 3 };
/** Kbuild's notes are read so far; one of a compile has its command first, and thousands of headers after it. */
const NOTE_LIMIT_BYTES = 256 * 1024;

/**
 * The time that every file of a laid tree has. One for all, since none of them was made from another here: makefiles
 * see nothing as out of date. Long ago, so that whatever a build writes is newer, and always the same, so that no
 * time of ours gets into what is built.
 */
export const LAID_AT = new Date("2000-01-01T00:00:00Z");

/**
 * Reads a source tree. Version control's own files, what an earlier build left in the tree, and what `isLeftOut` names
 * are no part of it.
 * @throws FarmError DRIVER_INVALID
 */
export async function readSourceTree(directory: string, isLeftOut?: LeftOut): Promise<SourceTree> {
  const listed = await list(directory, isLeftOut).catch((thrown) => {
    throw !(thrown instanceof FarmError) && isErrno(thrown) ? noTree(directory, thrown) : thrown;
  });
  const isLeftover = leftoversIn(
    listed.map(({ path }) => path),
    (path) => readFileIn(directory, path, NOTE_LIMIT_BYTES)?.toString(),
  );
  const pause = pauses();
  const [left, found]: [string[], Listed[]] = [[], []];
  for (const entry of listed) {
    if (isLeftover(entry.path)) left.push(entry.path);
    else found.push(entry);
    await pause();
  }
  const links = new Map(found.flatMap(({ path, target }) => (target === undefined ? [] : [[path, target]])));
  const budget = linkBudget();
  const files: SourceFile[] = [];
  for (const entry of found) {
    files.push(readEntry(directory, entry, links, budget));
    await pause();
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return {
    directory,
    files,
    digest: digestOf(files.map(({ path, kind, content }) => [path, kind, content])),
    leftovers: left.toSorted(),
  };
}

function noTree(directory: string, cause: NodeJS.ErrnoException): FarmError {
  const isMissing = cause.code === "ENOENT" || cause.code === "ENOTDIR";
  return new FarmError("DRIVER_INVALID", {
    detail: isMissing
      ? `there is no driver source directory ${directory}`
      : `the driver source directory ${directory} cannot be read (${cause.code})`,
    hint: "Correct the driver's `source`; it is relative to the configuration file.",
    cause,
  });
}

/** Modules that lie in a tree: input like all of it, and none that a build of it made. */
export function givenModules({ files }: SourceTree): readonly SourceFile[] {
  return files.filter(({ path, kind }) => path.endsWith(".ko") && kind !== "link");
}

/**
 * Copies the tree to a place where a build may write, with the same modes and one time everywhere. What is there then is
 * what has the tree's digest: a directory of a person's may change at any time.
 * @throws FarmError SOURCE_CHANGED
 */
export async function copySourceTree(source: SourceTree, target: string): Promise<void> {
  const directories = new Set<string>([target]);
  await mkdir(target, { recursive: true });
  for (const { path, kind, content, sizeBytes } of source.files) {
    const to = join(target, path);
    for (let above = dirname(to); !directories.has(above); above = dirname(above)) directories.add(above);
    await mkdir(dirname(to), { recursive: true });
    if (kind === "link") {
      await symlink(content, to);
      await lutimes(to, LAID_AT, LAID_AT);
      continue;
    }
    // One byte more than there were shows that it grew.
    if (copyFileIn(source.directory, path, to, sizeBytes + 1) !== content)
      throw new FarmError("SOURCE_CHANGED", {
        detail: `the source changed while it was read: ${join(source.directory, path)}`,
        at: { path },
      });
    await chmod(to, kind === "executable" ? 0o755 : 0o644);
    await utimes(to, LAID_AT, LAID_AT);
  }
  for (const directory of directories) await utimes(directory, LAID_AT, LAID_AT);
}

interface Listed {
  readonly path: string;
  readonly status: StrangeEntry["status"];
  /** Of a link. */
  readonly target?: string;
}

/** Everything in the tree but directories. */
async function list(directory: string, isLeftOut: LeftOut = () => false): Promise<Listed[]> {
  const found: Listed[] = [];
  await walkTree(directory, SOURCE_BUDGET, refuseSource, ({ path, kind, status, target }) => {
    if (IGNORED.has(nameOf(path)) || isLeftOut(path, kind === "directory")) return "skip";
    if (kind === "special") throw refuseSource(path, "is not a file, a directory or a link");
    if (kind !== "directory") found.push({ path, status, ...(kind === "link" ? { target: target() } : {}) });
    return undefined;
  });
  return found;
}

/**
 * What version control keeps (in a worktree `.git` is a file), and our own store and cache, which lie in the tree where
 * `source` is `.`.
 */
const IGNORED = new Set([".git", ".gitignore", ".hg", ".svn", ".tmp_versions", ".kmodfarm"]);

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function readEntry(
  directory: string,
  { path, status, target }: Listed,
  links: ReadonlyMap<string, string>,
  budget: LinkBudget,
): SourceFile {
  if (target !== undefined) {
    if (leadsOut(path, target, links, budget))
      throw refuseSource(path, `is a link that points outside the driver's tree, to ${target}`);
    return { path, kind: "link", content: target, sizeBytes: 0 };
  }
  if (status.size > FILE_LIMIT_BYTES)
    throw refuseSource(path, `has ${status.size} bytes; the limit is ${FILE_LIMIT_BYTES}`);
  const bytes = readFileIn(directory, path, status.size);
  if (bytes === undefined) throw refuseSource(path, "is no longer a regular file");
  const content = createHash("sha256").update(bytes).digest("hex");
  return {
    path,
    kind: (status.mode & 0o100) === 0 ? "file" : "executable",
    content,
    sizeBytes: bytes.length,
  };
}

/** Whether a link leads out of its tree, through all the other links; the tree has no place of its own that `/` could mean. */
export function leadsOut(
  path: string,
  target: string,
  links: ReadonlyMap<string, string>,
  budget: LinkBudget,
): boolean {
  return target.startsWith("/") || landingOf(path, links, budget).kind !== "inside";
}

export function refuseSource(path: string, fact: string): FarmError {
  return new FarmError("DRIVER_INVALID", { detail: `${path} ${fact}`, at: { path } });
}
