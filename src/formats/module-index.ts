/**
 * What depmod writes for `modprobe`: of each module its file and what it needs, of each alias and each exported symbol its
 * module. Sources: depmod(8), modules.dep(5), and the layout of the binary files as modprobe(8) reads it.
 */
import { copied } from "../base/copied.ts";
import { FarmError } from "../base/error.ts";
import { type KernelModule, moduleName } from "./kernel-module.ts";

/** A module of a tree, as far as `modprobe` wants to know of it. */
export interface IndexedModule {
  /** Below /lib/modules/<release>: `kernel/fs/ext4/ext4.ko.xz`. */
  readonly path: string;
  readonly name: string;
  readonly depends: readonly string[];
  readonly aliases: readonly string[];
  readonly symbols: readonly string[];
  /** Values of these keys, as they are. */
  readonly softdeps: readonly string[];
  readonly weakdeps: readonly string[];
}

/** What may be said of one thing in a tree of modules, several times what the largest kernels say: see `spend`. */
const MOST = { entries: 400_000, characters: 32 * 1024 * 1024 } as const;
/** What modprobe itself takes as a name. */
const LONGEST_NAME = 4096;
/** A module needs one that needs one …; in Debian's kernels, up to ten of them. */
const DEEPEST = 256;

/** Counts what a tree says of one thing. @throws FarmError PACKAGE_MALFORMED for more than any kernel says */
class Room {
  readonly #thing: string;
  #entries = 0;
  #characters = 0;

  constructor(thing: string) {
    this.#thing = thing;
  }

  spend(characters: number): void {
    this.#entries += 1;
    this.#characters += characters;
    if (this.#entries > MOST.entries) throw tooMuch(`they have more than ${MOST.entries} ${this.#thing}`);
    if (this.#characters > MOST.characters)
      throw tooMuch(`their ${this.#thing} have more than ${MOST.characters} characters`);
  }
}

function tooMuch(detail: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail });
}

/** What a module says of itself; one that cannot be read has a name and a file. */
export function indexedModule(path: string, read: KernelModule | undefined): IndexedModule {
  const values = (wanted: string) =>
    (read?.modinfo ?? []).filter(([key]) => key === wanted).map(([, value]) => copied(value));
  return {
    path,
    name: moduleName(path.replace(/^.*\//, "").replace(/\.ko\..*$/, "")),
    depends: (read?.depends ?? []).map(copied),
    aliases: values("alias"),
    symbols: (read?.exports ?? []).map(({ name }) => copied(name)),
    softdeps: values("softdep"),
    weakdeps: values("weakdep"),
  };
}

/** Lists of what is built into a kernel, as its package has them. */
export interface BuiltIn {
  /** `modules.builtin` */
  readonly paths: string;
  /** `modules.builtin.modinfo`; older kernels have none. */
  readonly modinfo: string;
}

/**
 * Name of each file and what is in it. Values of the same key keep the order of the modules.
 * @throws FarmError PACKAGE_MALFORMED for more of anything than any kernel has
 */
export function depmodFiles(modules: readonly IndexedModule[], builtIn: BuiltIn): Map<string, Buffer> {
  const needed = needsOf(modules);
  const builtInNames = builtIn.paths
    .split("\n")
    .filter((line) => line.endsWith(".ko"))
    .map((path) => moduleName(path.replace(/^.*\//, "")));
  return new Map([
    [
      "modules.dep.bin",
      binaryIndex(
        "dependencies",
        modules.map((one) => [one.name, [`${one.path}:`, ...(needed.get(one) ?? [])].join(" ")]),
      ),
    ],
    [
      "modules.alias.bin",
      binaryIndex(
        "aliases",
        modules.flatMap(({ name, aliases }) => aliases.map((alias) => [normalAlias(alias), name] as const)),
      ),
    ],
    [
      "modules.symbols.bin",
      binaryIndex(
        "symbols",
        modules.flatMap(({ name, symbols }) => symbols.map((one) => [`symbol:${one}`, name] as const)),
      ),
    ],
    [
      "modules.builtin.bin",
      binaryIndex(
        "names of what is built in",
        builtInNames.map((name) => [name, ""]),
      ),
    ],
    [
      "modules.builtin.alias.bin",
      binaryIndex("aliases of what is built in", builtInAliases(builtIn.modinfo)),
    ],
    [
      "modules.softdep",
      lines(
        "soft dependencies",
        modules.flatMap(({ name, softdeps }) => softdeps.map((its) => `softdep ${name} ${its}`)),
      ),
    ],
    [
      "modules.weakdep",
      lines(
        "weak dependencies",
        modules.flatMap(({ name, weakdeps }) => weakdeps.map((its) => `weakdep ${name} ${its}`)),
      ),
    ],
    ["modules.builtin", Buffer.from(builtIn.paths)],
    ["modules.builtin.modinfo", Buffer.from(builtIn.modinfo)],
  ]);
}

function lines(thing: string, all: readonly string[]): Buffer {
  const room = new Room(thing);
  for (const { length } of all) room.spend(length);
  return Buffer.from(all.map((line) => `${line}\n`).join(""));
}

/** For each module the files of all that must be in before it; the last of them goes in first. */
function needsOf(modules: readonly IndexedModule[]): ReadonlyMap<IndexedModule, readonly string[]> {
  const byName = new Map(modules.map((one) => [one.name, one]));
  const room = new Room("dependencies");
  const ordered = (one: IndexedModule, done: Set<IndexedModule>, depth: number): void => {
    if (depth > DEEPEST) throw tooMuch(`they need each other in chains of more than ${DEEPEST}`);
    for (const name of one.depends) {
      const other = byName.get(name);
      // What was looked at in vain has cost something too.
      room.spend(other?.path.length ?? 0);
      if (other === undefined || done.has(other)) continue;
      // It is marked before what it needs is looked at, so that a circle ends; and marked anew after that, for its place.
      done.add(other);
      ordered(other, done, depth + 1);
      done.delete(other);
      done.add(other);
    }
  };
  return new Map(
    modules.map((one) => {
      const done = new Set<IndexedModule>();
      ordered(one, done, 0);
      done.delete(one);
      return [one, [...done].map(({ path }) => path).toReversed()] as const;
    }),
  );
}

function builtInAliases(modinfo: string): (readonly [string, string])[] {
  return modinfo.split("\0").flatMap((entry) => {
    const [, name = "", alias = ""] = /^([^.=]+)\.alias=(.+)$/s.exec(entry) ?? [];
    return alias === "" ? [] : [[normalAlias(alias), name] as const];
  });
}

/** Both kinds of dash are one, but for classes of characters. */
function normalAlias(alias: string): string {
  const parts: string[] = [];
  const plain = (from: number, to?: number) => alias.slice(from, to).replaceAll("-", "_");
  for (let at = 0; ; ) {
    const open = alias.indexOf("[", at);
    const end = open < 0 ? -1 : alias.indexOf("]", open);
    // A class that does not end is none, and neither is any that begins in it.
    if (end < 0) return [...parts, plain(at)].join("");
    parts.push(plain(at, open), alias.slice(open, end + 1));
    at = end + 1;
  }
}

interface TrieNode {
  prefix: string;
  /** Value → priority, in the order in which they came. */
  values: Map<string, number>;
  children: Map<number, TrieNode>;
}

const MAGIC = 0xb007f457;
const VERSION = 0x00020001;
const HAS_PREFIX = 0x80000000;
const HAS_VALUES = 0x40000000;
const HAS_CHILDREN = 0x20000000;
/** Keys with other characters cannot be found, so they are left out. */
const KEY = /^\p{ASCII}+$/u;

/** A trie from keys to values, children before their parents, numbers with their most significant byte first. */
function binaryIndex(thing: string, entries: readonly (readonly [key: string, value: string])[]): Buffer {
  const room = new Room(thing);
  const root = emptyNode("");
  for (const [priority, [key, value]] of entries.entries()) {
    room.spend(key.length + value.length);
    if (key.length > LONGEST_NAME)
      throw tooMuch(`one of their ${thing} has more than ${LONGEST_NAME} characters`);
    if (KEY.test(key) && !key.includes("\0") && !value.includes("\0")) insert(root, key, [priority, value]);
  }
  return writeTrie(root);
}

function emptyNode(prefix: string): TrieNode {
  return { prefix, values: new Map(), children: new Map() };
}

function insert(root: TrieNode, key: string, [priority, value]: readonly [number, string]): void {
  let [node, rest] = [root, key];
  for (;;) {
    const common = commonLength(node.prefix, rest);
    if (common < node.prefix.length) splitNode(node, common);
    rest = rest.slice(common);
    if (rest === "") break;
    const next = rest.charCodeAt(0);
    rest = rest.slice(1);
    let child = node.children.get(next);
    if (child === undefined) {
      child = emptyNode(rest);
      node.children.set(next, child);
    }
    node = child;
  }
  if (!node.values.has(value)) node.values.set(value, priority);
}

/** Everything below goes one step down, behind the first part of the prefix. */
function splitNode(node: TrieNode, at: number): void {
  const { prefix, values, children } = node;
  const lower: TrieNode = { prefix: prefix.slice(at + 1), values, children };
  node.values = new Map();
  node.children = new Map([[prefix.charCodeAt(at), lower]]);
  node.prefix = node.prefix.slice(0, at);
}

function commonLength(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length++;
  return length;
}

/** Not by recursion: keys that each have the one before as their beginning make a trie as deep as they are long. */
function writeTrie(root: TrieNode): Buffer {
  const parts: Buffer[] = [numbers(MAGIC, VERSION, 0)];
  const places = new Map<TrieNode, number>();
  let at = 12;
  for (const node of childrenFirst(root)) {
    const { bytes, flags } = writtenNode(node, places);
    places.set(node, at + flags);
    parts.push(bytes);
    at += bytes.length;
  }
  (parts[0] as Buffer).writeUInt32BE(places.get(root) as number, 8);
  return Buffer.concat(parts);
}

/** Each after all that is below it, the lowest letters first. */
function childrenFirst(root: TrieNode): TrieNode[] {
  const [found, waiting]: [TrieNode[], TrieNode[]] = [[], [root]];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    found.push(node);
    for (const [, child] of sortedChildren(node)) waiting.push(child);
  }
  return found.reverse();
}

function sortedChildren({ children }: TrieNode): [number, TrieNode][] {
  return [...children].sort(([a], [b]) => a - b);
}

/** A node's bytes, and flags of what it has, which belong to its place. */
function writtenNode(
  node: TrieNode,
  places: ReadonlyMap<TrieNode, number>,
): { readonly bytes: Buffer; readonly flags: number } {
  const { prefix, values, children } = node;
  const codes = sortedChildren(node).map(([code]) => code);
  const [first = 0, last = 0] = [codes[0], codes.at(-1)];
  const range =
    codes.length === 0 ? [] : Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const placeOf = (code: number) => {
    const child = children.get(code);
    return child === undefined ? 0 : (places.get(child) as number);
  };
  const written = [
    ...(prefix === "" ? [] : [Buffer.from(`${prefix}\0`)]),
    ...(codes.length === 0 ? [] : [Buffer.from([first, last])]),
    numbers(...range.map(placeOf)),
    ...(values.size === 0 ? [] : [numbers(values.size)]),
  ];
  for (const [value, priority] of values) written.push(numbers(priority), Buffer.from(`${value}\0`));
  const flags =
    (prefix === "" ? 0 : HAS_PREFIX) +
    (values.size === 0 ? 0 : HAS_VALUES) +
    (codes.length === 0 ? 0 : HAS_CHILDREN);
  return { bytes: Buffer.concat(written), flags };
}

function numbers(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeUInt32BE(value, 4 * index);
  return buffer;
}
