/**
 * Unpacked trees: what of a package may lie on our disk, what of it a build sees, and reading in it without being
 * led out of it.
 */
import { join } from "node:path";
import { FarmError } from "../base/error.ts";
import { digestOf } from "../base/json.ts";
import { type LinkBudget, landingOf, linkBudget } from "../base/strange-links.ts";
import { kindIn, linkIn, readFileIn, type StrangeEntry, walkTree } from "../base/strange-tree.ts";
import { pathSegment } from "../kernel/path-segment.ts";

const SET_ID_BITS = 0o6000;
/** Where absolute links of packages lead: to what other packages of the same kernel have there. */
const NATIVE = /^(usr\/(src|lib|share)|lib)\//;
/** What one reading may follow and look at, in all trees together. No honest file comes near it. */
const READING_LIMITS = { links: 40, parts: 512 };
/** The largest header packages have 0.3 GB in 40,000 files. */
const BUDGET = { entries: 400_000, bytes: 4 * 1024 ** 3 };

/**
 * Looks at every entry of a tree; `what` names the package in errors. Returns a seal: the same for a tree in which
 * no name, kind, mode, size or time has changed since.
 * @throws FarmError PACKAGE_MALFORMED naming the first that a package must not bring
 */
export async function inspectTree(tree: string, what: string): Promise<string> {
  const refuse = (path: string, fact: string) =>
    new FarmError("PACKAGE_MALFORMED", {
      detail: `${what} contains /${path}, which ${fact}`,
      at: { file: what, path },
    });
  const hardLinks = new Map<string, HardLink>();
  const links = new Map<string, string>();
  const facts: (string | number)[][] = [];
  await walkTree(tree, BUDGET, refuse, ({ path, kind, status, target }) => {
    if (kind === "special") throw refuse(path, "is not a file, a directory or a link");
    if (kind === "link") links.set(path, target());
    else if ((status.mode & SET_ID_BITS) !== 0)
      throw refuse(path, "runs with its owner's rights (setuid or setgid)");
    if (kind === "file" && status.nlink > 1) countLink(hardLinks, path, status);
    facts.push([path, kind, status.mode, status.size, kind === "directory" ? 0 : status.mtimeMs]);
    return undefined;
  });
  const outside = [...hardLinks.values()].find(({ count, seen }) => count !== seen);
  if (outside !== undefined) throw refuse(outside.path, "has a hard link outside");
  const budget = linkBudget();
  for (const [path, target] of links) judgeLink(path, target, links, budget, refuse);
  return digestOf(facts);
}

interface HardLink {
  readonly count: number;
  readonly seen: number;
  readonly path: string;
}

function countLink(known: Map<string, HardLink>, path: string, { dev, ino, nlink }: StrangeEntry["status"]) {
  const name = `${dev}:${ino}`;
  known.set(name, { count: nlink, seen: (known.get(name)?.seen ?? 0) + 1, path });
}

/** A link is judged as a path in the package's own root, which is where a build sees it. */
function judgeLink(
  path: string,
  target: string,
  links: ReadonlyMap<string, string>,
  budget: LinkBudget,
  refuse: (path: string, fact: string) => FarmError,
): void {
  const landing = landingOf(path, links, budget);
  if (landing.kind === "outside") throw refuse(path, `is a link out of the package, to ${target}`);
  if (landing.kind === "endless") throw refuse(path, `is a link that leads to no end, to ${target}`);
  const isElsewhere = target.startsWith("/") && !NATIVE.test(`${landing.path}/`);
  if (isElsewhere) throw refuse(path, `is a link to ${target}`);
}

/** An unpacked package, and the name that an index gave it. */
export interface NamedTree {
  readonly tree: string;
  readonly record: { readonly name: string };
}

/**
 * What a build must see of the packages of a kernel, as [in the tree, native path]: the directories that are named
 * after the package or the kernel, and nothing else that a package brings.
 * @throws FarmError PACKAGE_MALFORMED for a link in the place of such a directory, or on the way to it
 */
export function nativePaths(packages: readonly NamedTree[], kversion: string): [string, string][] {
  return packages.flatMap(({ tree, record }) =>
    placesOf(record.name, kversion)
      .filter((place) => isDirectoryIn(tree, place, record.name))
      .map((place): [string, string] => [join(tree, place), `/${place}`]),
  );
}

function placesOf(name: string, kversion: string): string[] {
  const [own, kernel] = [pathSegment(name, "package"), pathSegment(kversion, "kernel")];
  // Their place below /usr/src is a link to it, which headers do not use.
  if (own.startsWith("linux-kbuild-")) return [`usr/lib/${own}`];
  return [...new Set([`usr/src/${own}`, `usr/src/linux-headers-${kernel}`, `usr/src/kernels/${kernel}`])];
}

function isDirectoryIn(tree: string, place: string, name: string): boolean {
  const parts = place.split("/");
  for (let length = 1; length <= parts.length; length++) {
    const path = parts.slice(0, length).join("/");
    const kind = kindIn(tree, path);
    if (kind === undefined) return false;
    if (kind !== "directory")
      throw new FarmError("PACKAGE_MALFORMED", {
        detail: `the package ${name} contains /${path}, which must be a directory but is a ${kind}`,
        at: { path },
      });
  }
  return true;
}

/**
 * The beginning of a file that several trees may hold together, links followed as in the root they make;
 * undefined when there is none.
 */
export function readInTrees(trees: readonly string[], path: string, limitBytes: number): Buffer | undefined {
  const found = resolveInAny(trees, path.split("/"), { ...READING_LIMITS });
  return found === undefined ? undefined : readFileIn(found.tree, found.path, limitBytes);
}

/** What is left of the limits; one for all branches, because each link is followed in every tree. */
interface Reading {
  links: number;
  parts: number;
}

interface Place {
  readonly tree: string;
  readonly path: string;
}

/** The real place of a plain file, found step by step so that no link leads anywhere but into a tree. */
function resolveIn(
  trees: readonly string[],
  tree: string,
  segments: readonly string[],
  left: Reading,
): Place | undefined {
  const done: string[] = [];
  for (const [index, segment] of segments.entries()) {
    if (segment === "" || segment === ".") continue;
    if (segment === "..") {
      done.pop();
      continue;
    }
    if (--left.parts < 0) return undefined;
    const path = [...done, segment].join("/");
    const kind = kindIn(tree, path);
    if (kind === "link") {
      if (--left.links < 0) return undefined;
      const target = (linkIn(tree, path) ?? "").split("/");
      const start = target[0] === "" ? [] : done;
      // Up from real directories: another tree need not have them.
      while (target[0] === "..") {
        target.shift();
        start.pop();
      }
      return resolveInAny(trees, [...start, ...target, ...segments.slice(index + 1)], left);
    }
    if (kind === "file") return index === segments.length - 1 ? { tree, path } : undefined;
    if (kind !== "directory") return undefined;
    done.push(segment);
  }
  return undefined;
}

function resolveInAny(
  trees: readonly string[],
  segments: readonly string[],
  left: Reading,
): Place | undefined {
  for (const tree of trees) {
    const found = resolveIn(trees, tree, segments, left);
    if (found !== undefined) return found;
  }
  return undefined;
}
