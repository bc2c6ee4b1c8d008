/**
 * A driver's source tree: what belongs to it, and a digest that does not depend on where, when or by whom
 * it was checked out.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { chmod, copyFile, lstat, mkdir, readdir, readFile, readlink, symlink } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { FarmError } from "../base/error.ts";
import { type Digest, digestOf } from "../base/json.ts";

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

/**
 * Reads a source tree. Version control's own files and what an earlier build left in the tree are no part of it.
 * @throws FarmError DRIVER_INVALID
 */
export async function readSourceTree(directory: string): Promise<SourceTree> {
  const top = await lstat(directory).catch(() => undefined);
  if (!top?.isDirectory())
    throw new FarmError("DRIVER_INVALID", {
      detail: `there is no driver source directory ${directory}`,
      hint: "Correct `source` of the driver; it is relative to the configuration file.",
    });
  const files = (await walk(directory, "")).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return {
    directory,
    files,
    digest: digestOf(files.map(({ path, kind, content }) => [path, kind, content])),
  };
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
    await copyFile(join(source.directory, path), to, constants.COPYFILE_FICLONE);
    await chmod(to, kind === "executable" ? 0o755 : 0o644);
  }
}

/** Drivers carry firmware, not disk images. A sparse file costs nothing to ship and everything to read. */
const FILE_LIMIT_BYTES = 512 * 1024 * 1024;

async function walk(root: string, below: string): Promise<SourceFile[]> {
  const entries = await readdir(join(root, below), { withFileTypes: true });
  const names = new Set(entries.map((entry) => entry.name));
  const found: SourceFile[] = [];
  for (const entry of entries) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!IGNORED.has(entry.name)) found.push(...(await walk(root, path)));
    } else if (!IGNORED.has(entry.name) && !isLeftover(entry.name, names)) {
      found.push(await readEntry(root, path));
    }
  }
  return found;
}

/** Directories; in a worktree `.git` is a file. Our own store and cache lie in the tree where `source` is `.`. */
const IGNORED = new Set([".git", ".hg", ".svn", ".tmp_versions", ".kmodfarm"]);

/** Kbuild leaves `.foo.o.cmd` beside each `foo.o` it made; an object without one was shipped with the source. */
function isLeftover(name: string, beside: ReadonlySet<string>): boolean {
  if (name === "Module.symvers" || name === "modules.order" || name === ".gitignore") return true;
  if (/^\..+\.cmd$/.test(name)) return true;
  const made = name.endsWith(".mod.c") ? name.slice(0, -2) : name;
  return beside.has(`.${made}.cmd`);
}

/** Whether a link at a path of the tree leads out of it. */
export function leadsOut(path: string, target: string): boolean {
  const lands = normalize(join(dirname(path), target));
  return target.startsWith("/") || lands === ".." || lands.startsWith("../");
}

async function readEntry(root: string, path: string): Promise<SourceFile> {
  if (path.includes("\uFFFD"))
    throw new FarmError("DRIVER_INVALID", { detail: `the name of ${path} is not UTF-8` });
  const full = join(root, path);
  const status = await lstat(full);
  if (status.isSymbolicLink()) {
    const target = await readlink(full);
    if (leadsOut(path, target)) {
      throw new FarmError("DRIVER_INVALID", {
        detail: `${path} is a link that leads out of the driver's tree, to ${target}`,
      });
    }
    return { path, kind: "link", content: target };
  }
  if (!status.isFile())
    throw new FarmError("DRIVER_INVALID", { detail: `${path} is neither a file, a directory nor a link` });
  if (status.size > FILE_LIMIT_BYTES)
    throw new FarmError("DRIVER_INVALID", { detail: `${path} is ${status.size} bytes large` });
  const content = createHash("sha256")
    .update(await readFile(full))
    .digest("hex");
  return { path, kind: (status.mode & 0o100) === 0 ? "file" : "executable", content };
}
