/**
 * What a tree says of the driver in it: enough for a first configuration, and for trying it without one. A guess from
 * what is written plainly; nothing of the tree is run.
 */
import { basename } from "node:path";
import { readFileIn } from "../base/strange-tree.ts";
import { plainValues } from "../formats/dkms-conf.ts";
import { isPathSegment } from "../kernel/path-segment.ts";
import type { SourceTree } from "./source-tree.ts";

export interface DriverGuess {
  readonly name: string;
  readonly version: string;
  /** Whether all its modules say that version of themselves. */
  readonly isStated: boolean;
  /** Names of the modules that it builds, as far as they are written plainly. */
  readonly modules: readonly string[];
  /** Where its Kbuild, Makefile or dkms.conf is, if that is not the top. */
  readonly directory?: string;
}

const FIRST_VERSION = "0.1.0";
const FILE_LIMIT_BYTES = 256 * 1024;
const MOST_FILES = 200;

/** Undefined for a tree in which nothing builds a module. */
export function guessDriver(source: SourceTree): DriverGuess | undefined {
  const text = (path: string) => readFileIn(source.directory, path, FILE_LIMIT_BYTES)?.toString() ?? "";
  const paths = source.files
    .filter(({ kind }) => kind !== "link")
    .map(({ path }) => path)
    .toSorted((a, b) => depthOf(a) - depthOf(b) || (a < b ? -1 : 1));
  const dkms = paths.find((path) => basename(path) === "dkms.conf");
  const makefile = paths
    .filter((path) => /^(Kbuild|[Mm]akefile)$/.test(basename(path)))
    .slice(0, MOST_FILES)
    .find((path) => OBJECTS.test(text(path)));
  const main = dkms ?? makefile;
  if (main === undefined) return undefined;
  const conf = dkms === undefined ? "" : text(dkms);
  const built = plainValues(conf, "BUILT_MODULE_NAME");
  const modules = built.length > 0 ? built : objectsIn(makefile === undefined ? "" : text(makefile));
  const [packageName] = plainValues(conf, "PACKAGE_NAME");
  const [packageVersion] = plainValues(conf, "PACKAGE_VERSION");
  const sources = paths.filter((path) => path.endsWith(".c")).slice(0, MOST_FILES);
  const stated = sources.map((path) => MODULE_VERSION.exec(text(path))?.groups?.version);
  const names = [packageName, modules[0], basename(source.directory), "driver"];
  const directory = main.slice(0, -basename(main).length - 1);
  const version = firstSafe([packageVersion, ...stated]) ?? FIRST_VERSION;
  const words = stated.filter((one) => one !== undefined);
  return {
    name: firstSafe(names) ?? "driver",
    version,
    isStated: words.length >= Math.max(1, modules.length) && words.every((one) => one === version),
    modules: modules.filter(isPathSegment),
    ...(directory === "" ? {} : { directory }),
  };
}

const OBJECTS = /^[ \t]*obj-(?:m|\$[({]\w+[)}])[ \t]*[:+]?=(?<words>[^\n#]*)/m;
const MODULE_VERSION = /^[ \t]*MODULE_VERSION\([ \t]*"(?<version>[^"\n]{1,100})"/m;

/** `obj-m += one.o two.o`: objects become modules, directories do not. */
function objectsIn(makefile: string): string[] {
  const joined = makefile.replaceAll("\\\n", " ");
  const words = [...joined.matchAll(new RegExp(OBJECTS, "gm"))].flatMap(
    ({ groups }) => groups?.words?.split(/\s+/) ?? [],
  );
  return [...new Set(words.flatMap((word) => /^([\w.-]+)\.o$/.exec(word)?.[1] ?? []))];
}

function firstSafe(words: readonly (string | undefined)[]): string | undefined {
  return words.find((word): word is string => word !== undefined && isPathSegment(word));
}

const depthOf = (path: string) => path.split("/").length;
