/**
 * Which line of the driver a message is about, even if the compiler stumbled only inside a kernel header.
 */
import { isAbsolute, join, normalize, relative } from "node:path";

export interface Place {
  /** Below the driver's tree. */
  readonly file: string;
  readonly lineNumber: number;
}

const LOCATION = /^(?<file>[^\s:'"()]+):(?<number>\d+)(?::\d+)?: /;
const INCLUDED =
  /^(?<first>In file included)? +from (?<file>[^\s:]+):(?<number>\d+)|^(?<first>In file included) from (?<file>[^\s:]+):(?<number>\d+)/;
const NEXT_MESSAGE = /: (?:fatal )?error: |: warning: |^make(?:\[\d+\])?: |^cc1: |^ERROR: /;
/** How far before a message its includes are looked for: a compiler names them only when they change. */
const MAX_DISTANCE = 500;

/** Undefined where no line of the driver is named. `directory` is where the driver's tree was. */
export function findPlace(lines: readonly string[], index: number, directory: string): Place | undefined {
  const tree = { root: directory, current: currentDirectory(lines, index) };
  const own = LOCATION.exec(lines[index] ?? "")?.groups;
  if (own === undefined) return undefined;
  return inTree(own, tree) ?? noteAfter(lines, index, tree) ?? includerBefore(lines, index, tree);
}

interface Tree {
  readonly root: string;
  /** Directory that relative paths are relative to, where make said it. */
  readonly current: string | undefined;
}

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

function inTree(groups: Readonly<Record<string, string>> | undefined, tree: Tree): Place | undefined {
  if (groups?.file === undefined) return undefined;
  const { file } = groups;
  const lineNumber = Number(groups.number);
  if (!Number.isSafeInteger(lineNumber) || lineNumber < 1) return undefined;
  if (tree.current === undefined && !isAbsolute(file)) {
    const path = normalize(file);
    const isKernels = /^(?:include|arch|scripts|kernel|\.\.)\//.test(path);
    return isKernels ? undefined : { file: path, lineNumber };
  }
  const path = relative(tree.root, isAbsolute(file) ? normalize(file) : join(tree.current ?? "/", file));
  return path === "" || path.startsWith("..") ? undefined : { file: path, lineNumber };
}

/** As make tells it: of all levels that are entered, the deepest. */
function currentDirectory(lines: readonly string[], index: number): string | undefined {
  const entered = new Map<number, string>();
  for (const line of lines.slice(0, index + 1)) {
    const [, level, verb, directory] =
      /^make(?:\[(\d+)\])?: (Entering|Leaving) directory '([^']+)'/.exec(line) ?? [];
    if (directory === undefined) continue;
    if (verb === "Entering") entered.set(Number(level ?? 0), directory);
    else entered.delete(Number(level ?? 0));
  }
  return entered.get(Math.max(...entered.keys()));
}
