/**
 * A driver's source tree: what belongs to it, and a digest that does not depend on where, when or by whom
 * it was checked out.
 */
import { createHash } from "node:crypto";
import { chmod, mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { type Digest, digestOf } from "../base/json.ts";
import { type LinkBudget, landingOf, linkBudget } from "../base/strange-links.ts";
import { copyFileIn, readFileIn, type StrangeEntry, walkTree } from "../base/strange-tree.ts";

interface SourceFile {
  /** Path below the tree, `/` between its parts. */
  readonly path: string;
  readonly kind: "file" | "executable" | "link";
  /** SHA-256 of a file's bytes, or a link's target. */
  readonly content: string;
}

export interface SourceTree {
  readonly directory: string;
  readonly files: readonly SourceFile[];
  readonly digest: Digest;
}

/** Drivers carry firmware, not disk images. A sparse file costs nothing to ship and everything to read. */
export const FILE_LIMIT_BYTES = 512 * 1024 * 1024;
export const SOURCE_BUDGET = { entries: 200_000, bytes: 4 * 1024 ** 3 };

/**
 * Reads a source tree. Version control's own files and what an earlier build left in the tree are no part of it.
 * @throws FarmError DRIVER_INVALID
 */
export async function readSourceTree(directory: string): Promise<SourceTree> {
  const listed = await list(directory).catch((thrown) => {
    throw !(thrown instanceof FarmError) && isErrno(thrown) ? noTree(directory, thrown) : thrown;
  });
  const names = new Set(listed.map(({ path }) => path));
  const found = listed.filter(({ path }) => !isLeftover(path, names));
  const links = new Map(found.flatMap(({ path, target }) => (target === undefined ? [] : [[path, target]])));
  const budget = linkBudget();
  const files = found
    .map((entry) => readEntry(directory, entry, links, budget))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return {
    directory,
    files,
    digest: digestOf(files.map(({ path, kind, content }) => [path, kind, content])),
  };
}

function noTree(directory: string, cause: NodeJS.ErrnoException): FarmError {
  const isMissing = cause.code === "ENOENT" || cause.code === "ENOTDIR";
  return new FarmError("DRIVER_INVALID", {
    detail: isMissing
      ? `there is no driver source directory ${directory}`
      : `the driver source directory ${directory} cannot be read (${cause.code})`,
    hint: "Correct `source` of the driver; it is relative to the configuration file.",
    cause,
  });
}

/** Copies the tree to a place where a build may write, with the same modes everywhere. */
export async function copySourceTree(source: SourceTree, target: string): Promise<void> {
  for (const { path, kind, content } of source.files) {
    const to = join(target, path);
    await mkdir(dirname(to), { recursive: true });
    if (kind === "link") {
      await symlink(content, to);
      continue;
    }
    if (!copyFileIn(source.directory, path, to))
      throw new FarmError("DRIVER_INVALID", {
        detail: `${join(source.directory, path)} is no plain file any more`,
        hint: "Something else changes the driver's source while kmodfarm runs.",
      });
    await chmod(to, kind === "executable" ? 0o755 : 0o644);
  }
}

interface Listed {
  readonly path: string;
  readonly status: StrangeEntry["status"];
  /** Of a link. */
  readonly target?: string;
}

/** Everything in the tree but directories. */
async function list(directory: string): Promise<Listed[]> {
  const found: Listed[] = [];
  await walkTree(directory, SOURCE_BUDGET, refuseSource, ({ path, kind, status, target }) => {
    if (IGNORED.has(nameOf(path))) return "skip";
    if (kind === "special") throw refuseSource(path, "is neither a file, a directory nor a link");
    if (kind !== "directory") found.push({ path, status, ...(kind === "link" ? { target: target() } : {}) });
    return undefined;
  });
  return found;
}

/** Directories; in a worktree `.git` is a file. Our own store and cache lie in the tree where `source` is `.`. */
const IGNORED = new Set([".git", ".hg", ".svn", ".tmp_versions", ".kmodfarm"]);

/** Kbuild leaves `.foo.o.cmd` beside each `foo.o` it made; an object without one was shipped with the source. */
function isLeftover(path: string, all: ReadonlySet<string>): boolean {
  const name = nameOf(path);
  if (name === "Module.symvers" || name === "modules.order" || name === ".gitignore") return true;
  if (/^\..+\.cmd$/.test(name)) return true;
  const made = name.endsWith(".mod.c") ? name.slice(0, -2) : name;
  return all.has(`${path.slice(0, path.length - name.length)}.${made}.cmd`);
}

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
      throw refuseSource(path, `is a link that leads out of the driver's tree, to ${target}`);
    return { path, kind: "link", content: target };
  }
  if (status.size > FILE_LIMIT_BYTES) throw refuseSource(path, `is ${status.size} bytes large`);
  const bytes = readFileIn(directory, path, status.size);
  if (bytes === undefined) throw refuseSource(path, "is no plain file any more");
  const content = createHash("sha256").update(bytes).digest("hex");
  return { path, kind: (status.mode & 0o100) === 0 ? "file" : "executable", content };
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
