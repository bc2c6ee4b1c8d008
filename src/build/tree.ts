/**
 * Unpacked trees: what of a package may lie on our disk, and reading in it without being led out of it.
 */
import { constants, lstatSync, type Stats } from "node:fs";
import { lstat, open, readdir, readlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { pathSegment } from "../kernel/path-segment.ts";

const SET_ID_BITS = 0o6000;
/** Where absolute links of packages lead: to what other packages of the same kernel have there. */
const NATIVE = /^\/(usr\/(src|lib|share)|lib)\//;
const LINK_LIMIT = 40;

/**
 * Looks at every entry of a tree that nothing else has touched; `what` names the package in errors.
 * @throws FarmError PACKAGE_MALFORMED naming the first that a package must not bring
 */
export async function inspectTree(tree: string, what: string): Promise<void> {
  const place = { tree, what, links: new Map<string, HardLink>() };
  await inspectDirectory(place, tree);
  const outside = [...place.links.values()].find(({ count, seen }) => count !== seen);
  if (outside !== undefined) throw refused(place, outside.path, "has a hard link outside");
}

interface HardLink {
  readonly count: number;
  readonly seen: number;
  readonly path: string;
}

interface Inspected {
  readonly tree: string;
  readonly what: string;
  readonly links: Map<string, HardLink>;
}

async function inspectDirectory(place: Inspected, directory: string): Promise<void> {
  const subdirectories: string[] = [];
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    // There are ten thousand files; to hand each to another thread would cost ten times the look itself.
    const status = lstatSync(path);
    await inspectEntry(place, path, status);
    if (status.isDirectory()) subdirectories.push(path);
  }
  for (const path of subdirectories) await inspectDirectory(place, path);
}

async function inspectEntry(place: Inspected, path: string, status: Stats): Promise<void> {
  if (status.isSymbolicLink()) return inspectLink(place, path);
  if (!status.isFile() && !status.isDirectory())
    throw refused(place, path, "is neither a file, a directory nor a link");
  if ((status.mode & SET_ID_BITS) !== 0)
    throw refused(place, path, "gives its owner's rights to whoever runs it");
  if (!status.isFile() || status.nlink === 1) return;
  const { links } = place;
  const known = links.get(`${status.dev}:${status.ino}`);
  links.set(`${status.dev}:${status.ino}`, { count: status.nlink, seen: (known?.seen ?? 0) + 1, path });
}

/** A link is judged as a path in the package's own root, which is where a build sees it. */
async function inspectLink(place: Inspected, path: string): Promise<void> {
  const target = await readlink(path);
  if (target.startsWith("/") && !NATIVE.test(`${target}/`))
    throw refused(place, path, `is a link to ${target}`);
  const depth = target.startsWith("/") ? 0 : relative(place.tree, path).split("/").length - 1;
  // Going down first is no credit: what is gone down may be a link itself.
  if (target.split("/").filter((segment) => segment === "..").length > depth)
    throw refused(place, path, `is a link out of the package, to ${target}`);
}

function refused({ tree, what }: Inspected, path: string, fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", {
    detail: `${what} holds /${relative(tree, path)}, which ${fact}`,
    at: { file: what, path: relative(tree, path) },
  });
}

/** Directories of an unpacked package that a build must see, as [in the tree, native path]. */
export async function nativePaths(tree: string): Promise<[string, string][]> {
  const found: [string, string][] = [];
  const add = async (parent: string, isWanted: (name: string) => boolean) => {
    for (const name of await directoriesIn(join(tree, parent)))
      if (isWanted(name))
        found.push([join(tree, parent, name), `/${parent}/${pathSegment(name, "directory")}`]);
  };
  // Kernels lie side by side there, each from a package of its own.
  await add("usr/src/kernels", () => true);
  await add("usr/src", (name) => name !== "kernels");
  await add("usr/lib", (name) => name.startsWith("linux-kbuild-"));
  return found;
}

async function directoriesIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .toSorted();
  } catch (thrown) {
    if (isErrno(thrown) && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR")) return [];
    throw thrown;
  }
}

/**
 * The beginning of a file that several trees may hold together, links followed as in the root they make;
 * undefined when there is none.
 */
export async function readInTrees(
  trees: readonly string[],
  path: string,
  limitBytes: number,
): Promise<Buffer | undefined> {
  for (const tree of trees) {
    const found = await resolveIn(trees, tree, path.split("/"), 0);
    if (found === undefined) continue;
    const file = await open(found, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(Math.min(limitBytes, (await file.stat()).size));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }
  return undefined;
}

/** The real place of a plain file, found step by step so that no link leads anywhere but into a tree. */
async function resolveIn(
  trees: readonly string[],
  tree: string,
  segments: readonly string[],
  followed: number,
): Promise<string | undefined> {
  const done: string[] = [];
  for (const [index, segment] of segments.entries()) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") {
      done.pop();
      continue;
    }
    const path = join(tree, ...done, segment);
    const status = await lstat(path).catch(() => undefined);
    if (status === undefined) return undefined;
    if (status.isSymbolicLink()) {
      if (followed >= LINK_LIMIT) return undefined;
      const target = (await readlink(path)).split("/");
      const start = target[0] === "" ? [] : done;
      // Up from real directories: another tree need not have them.
      while (target[0] === "..") {
        target.shift();
        start.pop();
      }
      const rest = [...start, ...target, ...segments.slice(index + 1)];
      for (const other of trees) {
        const found = await resolveIn(trees, other, rest, followed + 1);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    done.push(segment);
    if (status.isFile()) return index === segments.length - 1 ? path : undefined;
    if (!status.isDirectory()) return undefined;
  }
  return undefined;
}
