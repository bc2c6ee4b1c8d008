/**
 * Taking over what a build left: its modules, and the further files that the configuration names. All of it is as
 * hostile as the driver, and nothing in it says anything about the build itself.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FarmError, isErrno } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { formatSize } from "../base/size.ts";
import { readFileIn, walkTree } from "../base/strange-tree.ts";
import type { Packing } from "../formats/compressed-module.ts";
import { moduleName, readKernelModule } from "../formats/kernel-module.ts";
import { isFilePath, pathSegment } from "../kernel/path-segment.ts";
import type { DriverBuild } from "./driver.ts";
import type { BuiltFile, Compression, Kept } from "./records.ts";

/** A module that was taken over, before it is given the shapes that nodes want. */
export interface TakenModule extends Kept {
  readonly name: string;
  /** Whether nodes get it without debugging information. */
  readonly isStripped: boolean;
}

export interface Wanted {
  /** Names of modules; empty: all that there are. */
  readonly modules: readonly string[];
  readonly build: Pick<DriverBuild, "kind" | "files" | "strip">;
}

/** The end of a compressed module's name. */
export const PACKINGS: Readonly<Record<Compression, Packing>> = { xz: "xz", zstd: "zst", gz: "gz" };

/** No module is anywhere near that; a build that leaves more is not taken over. */
export const MODULE_LIMIT_BYTES = 256 * 1024 * 1024;
const ENTRY_LIMIT = 10_000;
/** The largest drivers have some hundred; every document that lists an artifact names each of them. */
export const MOST_MODULES = 512;
/** Room for `.ko` and the end of a compressed one in a name that files may have. */
export const MODULE_NAME_CHARACTERS = 120;
/** Notes are a line each. */
const NOTE_LIMIT_BYTES = 4096;

/** Where in an attempt's directory the bytes are. */
export function modulePath(name: string): string {
  return `modules/${name}.ko`;
}
export function strippedPath(name: string): string {
  return `stripped/${name}.ko`;
}
export function compressedPath(name: string, compression: Compression): string {
  return `compressed/${name}.ko.${PACKINGS[compression]}`;
}

/** What a build left of what was wanted: path → apparent size; undefined for anything but a plain file. */
type Left = ReadonlyMap<string, number | undefined>;

/**
 * Takes over the modules and files that are wanted, and nothing else. `limitBytes` is what all of them may be, as
 * a reader sees them: a hole in a file counts like data.
 * @throws FarmError MODULE_MISSING, MODULE_MALFORMED, LIMIT_EXCEEDED, UNSAFE_NAME
 */
export async function takeOutputs(
  output: string,
  evidence: string,
  wanted: Wanted,
  limitBytes: number,
): Promise<{ readonly modules: readonly TakenModule[]; readonly files: readonly BuiltFile[] }> {
  const patterns = wanted.build.files.map(patternOf);
  const left = await look(output, patterns.length > 0);
  const names = (wanted.modules.length > 0 ? wanted.modules : modulesAmong(left)).toSorted();
  if (names.length === 0)
    throw new FarmError("MODULE_MISSING", { detail: "the build produced no modules at all" });
  checkNames(names);
  const paths = [...left.keys()].flatMap((path) => (path.startsWith("files/") ? [path.slice(6)] : []));
  const files = paths.filter((path) => patterns.some((pattern) => pattern.test(path)));
  checkBudget(left, [...names.map(modulePath), ...files.map((path) => `files/${path}`)], limitBytes);
  const [modules, keptFiles]: [TakenModule[], BuiltFile[]] = [[], []];
  for (const name of names) {
    const bytes = read(output, modulePath(name), left);
    checkModule(bytes, `${name}.ko`);
    const isMarked = wanted.build.kind === "dkms" && left.get(`strip/${name}`) !== undefined;
    const isStripped = wanted.build.strip ?? isMarked;
    modules.push({ name, isStripped, ...(await keep(evidence, modulePath(name), bytes)) });
  }
  for (const path of files) {
    for (const part of path.split("/")) pathSegment(part, "file");
    if (!isFilePath(path))
      throw new FarmError("UNSAFE_NAME", {
        detail: `file ${path.slice(0, 160)}… is longer or deeper than any path`,
      });
    const kept = await keep(evidence, `files/${path}`, read(output, `files/${path}`, left));
    keptFiles.push({ path, ...kept });
  }
  return { modules, files: keptFiles };
}

async function look(output: string, hasFiles: boolean): Promise<Left> {
  const places = ["modules", "strip", ...(hasFiles ? ["files"] : [])];
  const left = new Map<string, number | undefined>();
  try {
    await walkTree(
      output,
      { entries: ENTRY_LIMIT, bytes: Number.POSITIVE_INFINITY },
      refused,
      ({ path, kind, status }) => {
        const [place = "", below] = path.split("/");
        if (kind !== "directory") left.set(path, kind === "file" ? status.size : undefined);
        else if (!places.includes(place) || (below !== undefined && place !== "files")) return "skip";
        return undefined;
      },
    );
  } catch (thrown) {
    throw asRefused(thrown, "outputs");
  }
  return left;
}

/** @throws FarmError LIMIT_EXCEEDED, UNSAFE_NAME */
export function checkNames(names: readonly string[]): void {
  if (names.length > MOST_MODULES)
    throw new FarmError("LIMIT_EXCEEDED", {
      detail: `there are ${names.length} modules; the limit is ${MOST_MODULES}`,
      hint: "Name the modules that matter with the driver's `modules`.",
    });
  const long = names.find((name) => name.length > MODULE_NAME_CHARACTERS);
  if (long !== undefined)
    throw new FarmError("UNSAFE_NAME", {
      detail: `module ${long.slice(0, 60)}… has a name of ${long.length} characters; the limit is ${MODULE_NAME_CHARACTERS}`,
    });
}

function modulesAmong(left: Left): string[] {
  const files = [...left.keys()].filter((path) => /^modules\/[^/]+\.ko$/.test(path));
  return files.map((path) => pathSegment(path.slice("modules/".length, -".ko".length), "module"));
}

/** Whether a path below the driver's tree is one of the files that its configuration keeps. */
export function isKeptFile(path: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => patternOf(pattern).test(path));
}

/**
 * As a shell would choose: no part of a pattern goes beyond a `/`. Only harmless characters are configured. No expression
 * as a whole: of several `*` it would try every way to share a long name among them.
 */
function patternOf(pattern: string): { test(path: string): boolean } {
  const wanted = pattern.split("/").map(tokensOf);
  return {
    test(path) {
      const parts = path.split("/");
      return parts.length === wanted.length && parts.every((part, index) => fits(part, wanted[index] ?? []));
    },
  };
}

/** Any number of characters, or what one must be. */
type Token = "*" | ((character: string) => boolean);

function tokensOf(part: string): Token[] {
  return (part.match(/\[[^\]]+\]|./g) ?? []).map((token): Token => {
    if (token === "*") return token;
    if (token === "?") return () => true;
    if (token.length === 1) return (character) => character === token;
    try {
      const choice = new RegExp(`^${token}$`);
      return (character) => choice.test(character);
    } catch {
      // A range that ends before it begins has nothing in it.
      return () => false;
    }
  });
}

/** Where it does not go on, the last `*` takes one character more: those before it need never change. */
function fits(text: string, tokens: readonly Token[]): boolean {
  let [at, next, star, taken] = [0, 0, -1, 0];
  while (at < text.length) {
    const token = tokens[next];
    if (token === "*") [star, taken, next] = [next, at, next + 1];
    else if (token?.(text[at] as string)) [at, next] = [at + 1, next + 1];
    else if (star < 0) return false;
    else [taken, at, next] = [taken + 1, taken + 1, star + 1];
  }
  return tokens.slice(next).every((token) => token === "*");
}

function checkBudget(left: Left, paths: readonly string[], limitBytes: number): void {
  const sizes = paths.map((path) => left.get(path) ?? 0);
  const large = paths.find((_, index) => (sizes[index] ?? 0) > MODULE_LIMIT_BYTES);
  if (large !== undefined)
    throw refused(large, `has ${left.get(large)} bytes; the limit is ${MODULE_LIMIT_BYTES}`);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total > limitBytes)
    throw new FarmError("LIMIT_EXCEEDED", {
      detail: `the build produced ${formatSize(total)} of modules and files, but limits.artifact is ${formatSize(limitBytes)}`,
      hint: "Raise limits.artifact, or list fewer modules and files in the driver's `modules` and `files`.",
    });
}

function checkModule(bytes: Buffer, file: string): void {
  const { name } = readKernelModule(bytes, file);
  if (name !== moduleName(file))
    throw new FarmError("MODULE_MALFORMED", { detail: `${file} says that its name is ${name}` });
}

/** @throws FarmError MODULE_MISSING where nothing is, MODULE_MALFORMED for anything but a plain file */
function read(output: string, path: string, left: Left): Buffer {
  const size = left.get(path);
  if (size === undefined && !left.has(path))
    throw new FarmError("MODULE_MISSING", {
      detail: `the build produced no ${path.replace("modules/", "")}`,
    });
  try {
    const bytes = size === undefined ? undefined : readFileIn(output, path, size);
    if (bytes !== undefined) return bytes;
  } catch (thrown) {
    throw asRefused(thrown, path);
  }
  throw refused(path, "is not a regular file");
}

/** Writes bytes below an attempt's directory. */
export async function keep(evidence: string, path: string, bytes: Buffer): Promise<Kept> {
  const target = join(evidence, path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, bytes);
  return { sha256: sha256(bytes), size: bytes.length };
}

/** The first line of a text that a program could write to, without control characters; empty when there is none. */
export function readNote(directory: string, name: string): string {
  try {
    return firstLine((readFileIn(directory, name, NOTE_LIMIT_BYTES) ?? Buffer.alloc(0)).toString("utf8"));
  } catch (thrown) {
    if (isErrno(thrown)) return "";
    throw thrown;
  }
}

/** What may be shown of a text that a program said. */
function firstLine(text: string): string {
  const [line = ""] = text.slice(0, NOTE_LIMIT_BYTES).split("\n");
  return line.replaceAll(/\p{C}/gu, "").trim();
}

function refused(path: string, fact: string): FarmError {
  return new FarmError("MODULE_MALFORMED", { detail: `what the build left as ${path} ${fact}` });
}

/** A build may take rights on its files away from who is not root. */
function asRefused(thrown: unknown, path: string): unknown {
  const isOurs = thrown instanceof FarmError;
  return !isOurs && isErrno(thrown) ? refused(path, `cannot be read (${thrown.code})`) : thrown;
}
