/**
 * What an earlier `make` left in a driver's tree, told apart from objects that its vendor ships. The rule is one: what
 * Kbuild noted as its own (`.NAME.cmd`) is left over if Kbuild can make it again from this tree; an object that it
 * cannot is input, as its note is, since modpost wants that.
 */
import { posix } from "node:path";

/** Reads the beginning of a file of the tree; undefined when it is no plain file. */
export type ReadText = (path: string) => string | undefined;

/** Every kind of file that Kbuild makes an object of the same name from. */
const SOURCES = [".c", ".S", ".rs", ".o_shipped"];
/** What Kbuild calls by these, it makes in every tree. */
const ALWAYS_MADE = /^(?:built-in\.[ao]|\.module-common\.o|.*\.mod\.o)$/;
/** Objects are linked of objects once or twice. */
const DEPTH_LIMIT = 20;
/**
 * Words of commands and lists that are looked at in one tree, some hundred times what the largest driver has. Where they
 * are used up, an object is input.
 */
const WORD_LIMIT = 200_000;
const MAKEFILES = ["Kbuild", "Makefile", "GNUmakefile"];

/** Tells of each path what is left over, of all that is in the tree but directories. */
export function leftoversIn(paths: Iterable<string>, read: ReadText): (path: string) => boolean {
  const tree = new Tree(paths, read);
  return (path) => isLeftover(path, tree);
}

function isLeftover(path: string, tree: Tree): boolean {
  const { dir, base } = posix.parse(path);
  const has = (name: string) => tree.paths.has(posix.join(dir, name));
  if (base === "modules.order") return true;
  // Where nothing could have been built, it is another driver's list of symbols.
  if (base === "Module.symvers")
    return ["modules.order", ".Module.symvers.cmd"].some(has) && MAKEFILES.some(has) && tree.hasSources(dir);
  const noted = /^\.(.+)\.cmd$/.exec(base)?.[1];
  // Kbuild itself notes nothing of a copy that it makes of a shipped object, and modpost wants a note all the same.
  if (noted !== undefined)
    return !has(`${noted}_shipped`) && (!has(noted) || isLeftover(posix.join(dir, noted), tree));
  if (/^\..+\.o\.d$/.test(base) || /^\.tmp_.+\.o$/.test(base)) return true;
  if (base.endsWith(".mod.c")) return has(`.${base.slice(0, -2)}.cmd`) || has(`.${base.slice(0, -2)}.o.cmd`);
  if (base.endsWith(".o") && has(`${base}_shipped`)) return true;
  if (!has(`.${base}.cmd`)) return false;
  return !/\.[ao]$/.test(base) || ALWAYS_MADE.test(base) || !tree.isReadable(path) || tree.canMake(path);
}

class Tree {
  readonly paths: ReadonlySet<string>;
  readonly #read: ReadText;
  readonly #canMake = new Map<string, boolean>();
  /** What each list names, read once however many notes refer to it. */
  readonly #lists = new Map<string, readonly string[]>();
  #wordsLeft = WORD_LIMIT;
  #places: ReadonlySet<string> | undefined;

  constructor(paths: Iterable<string>, read: ReadText) {
    this.paths = new Set(paths);
    this.#read = read;
  }

  /** Whether there is something to compile in a directory, or below it. */
  hasSources(directory: string): boolean {
    this.#places ??= placesOfSources(this.paths);
    return this.#places.has(directory);
  }

  /** Whether Kbuild would make an object or archive again: from its source, or by linking parts of which it makes some. */
  canMake(path: string, depth = 0): boolean {
    const known = this.#canMake.get(path);
    if (known !== undefined) return known;
    this.#canMake.set(path, false); // A circle makes nothing.
    const stem = path.replace(/\.[ao]$/, "");
    const answer = SOURCES.some((end) => this.paths.has(stem + end)) || this.#canLink(path, depth);
    this.#canMake.set(path, answer);
    return answer;
  }

  #canLink(path: string, depth: number): boolean {
    const parts = depth < DEPTH_LIMIT ? this.#partsOf(path) : [];
    const isObject = (part: string) => /\.[ao]$/.test(part);
    if (parts.some((part) => !this.paths.has(part))) return false;
    return parts.some((part) => !isObject(part) || this.canMake(part, depth + 1));
  }

  /** Whether make could read an object's note; one that is shipped for modpost must not end the build. */
  isReadable(path: string): boolean {
    const [line] = this.#noteOf(path).trimStart().split("\n");
    return line === "" || line === undefined || /[:=#]/.test(line);
  }

  #noteOf(path: string): string {
    const { dir, base } = posix.parse(path);
    return this.#read(posix.join(dir, `.${base}.cmd`)) ?? "";
  }

  /** What an object was made from, as its note says: nothing where the note is none of Kbuild's, and paths of no tree for what lay elsewhere. */
  #partsOf(path: string): string[] {
    const text = this.#noteOf(path);
    const [, target = "", command = ""] = /^(?:saved)?cmd_(\S+) := (.*)/m.exec(text) ?? [];
    const inTree = mapping(target, path);
    if (inTree === undefined) return [];
    const source = /^source_\S+ := (\S+)/m.exec(text)?.[1];
    if (source !== undefined) return [inTree(source)];
    const words = new Set((command.split(/[;|&]/)[0] ?? "").split(/\s+/));
    if (!this.#mayLookAt(words.size)) return [];
    const parts = new Set<string>();
    for (const word of words) {
      if (word.startsWith("-")) continue;
      if (!word.startsWith("@")) {
        const part = inTree(word);
        if (part !== path && (/\.[ao]$/.test(word) || this.paths.has(part))) parts.add(part);
        continue;
      }
      const listed = this.#listed(inTree(word.slice(1)));
      if (!this.#mayLookAt(listed.length)) return [];
      for (const one of listed) parts.add(inTree(one));
    }
    return [...parts];
  }

  #mayLookAt(words: number): boolean {
    this.#wordsLeft -= words;
    return this.#wordsLeft >= 0;
  }

  /** Objects that a `.mod` file names, which the linker is given in place of a long line. */
  #listed(path: string): readonly string[] {
    const known = this.#lists.get(path);
    if (known !== undefined) return known;
    const text = this.paths.has(path) ? this.#read(path) : undefined;
    const names = text?.split(/\s+/).filter((word) => word.endsWith(".o")) ?? [path];
    this.#lists.set(path, names);
    return names;
  }
}

/** Directories that a source lies in, or below; the top is "". */
function placesOfSources(paths: Iterable<string>): ReadonlySet<string> {
  const places = new Set<string>();
  for (const path of paths) {
    if (path.endsWith(".mod.c") || !SOURCES.some((end) => path.endsWith(end))) continue;
    let directory = path;
    while (directory !== "") {
      directory = directory.slice(0, Math.max(0, directory.lastIndexOf("/")));
      if (places.has(directory)) break;
      places.add(directory);
    }
  }
  return places;
}

/** How paths of a note, made in whatever place the tree was then, read in this tree. */
function mapping(target: string, path: string): ((word: string) => string) | undefined {
  const [there, here] = [target.split("/"), path.split("/")];
  let same = 0;
  while (same < here.length && there.at(-1 - same) === here.at(-1 - same)) same++;
  if (same === 0) return undefined;
  const prefix = there.slice(0, there.length - same).map((part) => `${part}/`);
  const [before, top] = [prefix.join(""), here.slice(0, here.length - same).join("/")];
  return (word) => (word.startsWith(before) ? posix.join(top, word.slice(before.length)) : `/${word}`);
}
