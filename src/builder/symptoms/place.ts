/**
 * Which line of the driver a message is about, even if the compiler stumbled only inside a kernel header.
 */
import { basename, isAbsolute, join, normalize, relative } from "node:path";

export interface Place {
  /** Below the driver's tree. */
  readonly file: string;
  readonly lineNumber: number;
}

export const LOCATION = /^(?<file>[^\s:'"()]+):(?<number>\d+)(?::\d+)?: /;
const INCLUDED =
  /^(?<first>In file included)? +from (?<file>[^\s:]+):(?<number>\d+)|^(?<first>In file included) from (?<file>[^\s:]+):(?<number>\d+)/;
const NEXT_MESSAGE = /: (?:fatal )?error: |: warning: |^make(?:\[\d+\])?: |^cc1: |^ERROR: /;
/** How far before a message its includes are looked for: a compiler names them only when they change. */
const MAX_DISTANCE = 500;

/**
 * Undefined where no line of the driver is named. `directory` is where the driver's tree was, `files` what was in it,
 * where that is known.
 */
export function findPlace(
  lines: readonly string[],
  index: number,
  directory: string,
  files: readonly string[] = [],
): Place | undefined {
  const tree = { root: directory, entered: enteredDirectories(lines, index), files: new Files(files) };
  const own = LOCATION.exec(lines[index] ?? "")?.groups;
  if (own === undefined) return undefined;
  return inTree(own, tree) ?? noteAfter(lines, index, tree) ?? includerBefore(lines, index, tree);
}

interface Tree {
  readonly root: string;
  /** Directories that make is in, as far as it said so: relative paths are relative to the first of them, or to another. */
  readonly entered: readonly string[];
  readonly files: Files;
}

/** The files of the driver's tree, by path and by the end of a path. */
class Files {
  readonly #paths: ReadonlySet<string>;
  #named: Map<string, string[]> | undefined;

  constructor(paths: readonly string[]) {
    this.#paths = new Set(paths);
  }

  has(path: string): boolean {
    return this.#paths.has(path);
  }

  /** The only file whose path ends so. */
  endingIn(path: string): string | undefined {
    if (this.#named === undefined) {
      this.#named = new Map();
      for (const one of this.#paths) {
        const name = basename(one);
        this.#named.set(name, [...(this.#named.get(name) ?? []), one].slice(0, MOST_OF_A_NAME));
      }
    }
    const all = this.#named.get(basename(path)) ?? [];
    const fitting = all.filter((one) => one === path || one.endsWith(`/${path}`));
    return all.length < MOST_OF_A_NAME && fitting.length === 1 ? fitting[0] : undefined;
  }
}

/** Of more files of one name, none can be meant without its whole path. */
const MOST_OF_A_NAME = 100;

/** Expansions of macros and earlier declarations: the compiler names them after the message. */
function noteAfter(lines: readonly string[], index: number, tree: Tree): Place | undefined {
  for (const line of lines.slice(index + 1, index + MAX_DISTANCE)) {
    if (NEXT_MESSAGE.test(line)) return undefined;
    const place = inTree(/: note: /.test(line) ? LOCATION.exec(line)?.groups : undefined, tree);
    if (place !== undefined) return place;
  }
  return undefined;
}

/** The `#include` of the driver that led into the header, as near to it as there is. */
function includerBefore(lines: readonly string[], index: number, tree: Tree): Place | undefined {
  let end = index;
  while (end > 0 && index - end < MAX_DISTANCE && !INCLUDED.test(lines[end - 1] ?? "")) end--;
  let start = end;
  while (start > 0 && INCLUDED.test(lines[start - 1] ?? "")) start--;
  const chain = lines.slice(start, end).map((line) => INCLUDED.exec(line)?.groups);
  // gcc begins with the innermost; clang says "In file included" on every line and ends with it.
  const isClang = chain.length > 1 && chain.every((groups) => groups?.first !== undefined);
  const places = chain.map((groups) => inTree(groups, tree)).filter((place) => place !== undefined);
  return isClang ? places.at(-1) : places[0];
}

/** The number of a line, as a log has it; undefined for one that no file has. */
export function lineNumberOf(digits: string | undefined): number | undefined {
  const number = Number(digits ?? "");
  return Number.isSafeInteger(number) && number >= 1 ? number : undefined;
}

function inTree(groups: Readonly<Record<string, string>> | undefined, tree: Tree): Place | undefined {
  if (groups?.file === undefined) return undefined;
  const { file } = groups;
  const lineNumber = lineNumberOf(groups.number);
  if (lineNumber === undefined) return undefined;
  const path = isAbsolute(file) ? insideOf(tree.root, normalize(file)) : pathOf(normalize(file), tree);
  return path === undefined ? undefined : { file: path, lineNumber };
}

/** What a relative path means. Several makes may run at once, and one that is silent does not say where it is. */
function pathOf(file: string, { root, entered, files }: Tree): string | undefined {
  const [current] = entered;
  const usual = current === undefined ? outsideKernel(file) : insideOf(root, join(current, file));
  if (usual === undefined || files.has(usual)) return usual;
  const elsewhere = entered.map((directory) => insideOf(root, join(directory, file)));
  return elsewhere.find((path) => path !== undefined && files.has(path)) ?? files.endingIn(file) ?? usual;
}

function outsideKernel(path: string): string | undefined {
  return /^(?:include|arch|scripts|kernel|\.\.)\//.test(path) ? undefined : path;
}

function insideOf(root: string, file: string): string | undefined {
  const path = relative(root, file);
  return path === "" || path.startsWith("..") ? undefined : path;
}

/** So many makes are in directories at one time. */
const MOST_ENTERED = 32;

/** As make says it: the deepest level first, of one level the directory that was entered last. */
function enteredDirectories(lines: readonly string[], index: number): string[] {
  const entered = new Map<string, { readonly level: number; readonly directory: string }>();
  for (const line of lines.slice(0, index + 1)) {
    const [, level = "0", verb, directory] =
      /^(?:\S*\/)?g?make(?:\[(\d+)\])?: (Entering|Leaving) directory '([^']+)'/.exec(line) ?? [];
    if (directory === undefined) continue;
    const key = `${level} ${directory}`;
    entered.delete(key);
    if (verb === "Entering") entered.set(key, { level: Number(level), directory });
  }
  const latest = [...entered.values()].reverse().toSorted((a, b) => b.level - a.level);
  return latest.slice(0, MOST_ENTERED).map(({ directory }) => directory);
}
