/**
 * What depmod writes for `modprobe`: of each module its file and what it needs, of each alias and each exported symbol its
 * module. Sources: depmod(8), modules.dep(5), and the layout of the binary files as modprobe(8) reads it.
 */
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

/** What a module says of itself; one that cannot be read has a name and a file. */
export function indexedModule(path: string, read: KernelModule | undefined): IndexedModule {
  const values = (wanted: string) =>
    (read?.modinfo ?? []).filter(([key]) => key === wanted).map(([, value]) => value);
  return {
    path,
    name: moduleName(path.replace(/^.*\//, "").replace(/\.ko\..*$/, "")),
    depends: read?.depends ?? [],
    aliases: values("alias"),
    symbols: (read?.exports ?? []).map(({ name }) => name),
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

/** Name of each file and what is in it. Values of the same key keep the order of the modules. */
export function depmodFiles(modules: readonly IndexedModule[], builtIn: BuiltIn): Map<string, Buffer> {
  const index = (entries: readonly (readonly [string, string])[]) => binaryIndex(entries);
  const lines = (all: readonly string[]) => Buffer.from(all.map((line) => `${line}\n`).join(""));
  const needed = needsOf(modules);
  const builtInNames = builtIn.paths
    .split("\n")
    .filter((line) => line.endsWith(".ko"))
    .map((path) => moduleName(path.replace(/^.*\//, "")));
  return new Map([
    [
      "modules.dep.bin",
      index(modules.map((one) => [one.name, [`${one.path}:`, ...(needed.get(one) ?? [])].join(" ")])),
    ],
    [
      "modules.alias.bin",
      index(
        modules.flatMap(({ name, aliases }) => aliases.map((alias) => [normalAlias(alias), name] as const)),
      ),
    ],
    [
      "modules.symbols.bin",
      index(modules.flatMap(({ name, symbols }) => symbols.map((one) => [`symbol:${one}`, name] as const))),
    ],
    ["modules.builtin.bin", index(builtInNames.map((name) => [name, ""]))],
    ["modules.builtin.alias.bin", index(builtInAliases(builtIn.modinfo))],
    [
      "modules.softdep",
      lines(modules.flatMap(({ name, softdeps }) => softdeps.map((its) => `softdep ${name} ${its}`))),
    ],
    [
      "modules.weakdep",
      lines(modules.flatMap(({ name, weakdeps }) => weakdeps.map((its) => `weakdep ${name} ${its}`))),
    ],
    ["modules.builtin", Buffer.from(builtIn.paths)],
    ["modules.builtin.modinfo", Buffer.from(builtIn.modinfo)],
  ]);
}

/** For each module the files of all that must be in before it; the last of them goes in first. */
function needsOf(modules: readonly IndexedModule[]): ReadonlyMap<IndexedModule, readonly string[]> {
  const byName = new Map(modules.map((one) => [one.name, one]));
  const ordered = (one: IndexedModule, done: Set<IndexedModule>): void => {
    for (const name of one.depends) {
      const other = byName.get(name);
      if (other === undefined || done.has(other)) continue;
      // It is marked before what it needs is looked at, so that a circle ends; and marked anew after that, for its place.
      done.add(other);
      ordered(other, done);
      done.delete(other);
      done.add(other);
    }
  };
  return new Map(
    modules.map((one) => {
      const done = new Set<IndexedModule>();
      ordered(one, done);
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
  return alias.replace(/\[[^\]]*\]|-/g, (part) => (part === "-" ? "_" : part));
}

interface TrieNode {
  prefix: string;
  readonly values: (readonly [priority: number, value: string])[];
  readonly children: Map<number, TrieNode>;
}

const MAGIC = 0xb007f457;
const VERSION = 0x00020001;
const HAS_PREFIX = 0x80000000;
const HAS_VALUES = 0x40000000;
const HAS_CHILDREN = 0x20000000;
/** Keys with other characters cannot be found, so they are left out. */
const KEY = /^\p{ASCII}+$/u;

/** A trie from keys to values, children before their parents, numbers with their most significant byte first. */
function binaryIndex(entries: readonly (readonly [key: string, value: string])[]): Buffer {
  const root: TrieNode = { prefix: "", values: [], children: new Map() };
  for (const [priority, [key, value]] of entries.entries())
    if (KEY.test(key) && !`${key}${value}`.includes("\0")) insert(root, key, [priority, value]);
  const parts: Buffer[] = [numbers(MAGIC, VERSION, 0)];
  const state = { at: 12 };
  const place = writeNode(root, parts, state);
  (parts[0] as Buffer).writeUInt32BE(place, 8);
  return Buffer.concat(parts);
}

function insert(root: TrieNode, key: string, value: readonly [number, string]): void {
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
      child = { prefix: rest, values: [], children: new Map() };
      node.children.set(next, child);
    }
    node = child;
  }
  if (!node.values.some(([, known]) => known === value[1])) node.values.push(value);
}

/** Everything below goes one step down, behind the first part of the prefix. */
function splitNode(node: TrieNode, at: number): void {
  const lower: TrieNode = {
    prefix: node.prefix.slice(at + 1),
    values: node.values.splice(0),
    children: new Map(node.children),
  };
  node.children.clear();
  node.children.set(node.prefix.charCodeAt(at), lower);
  node.prefix = node.prefix.slice(0, at);
}

function commonLength(one: string, other: string): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) length++;
  return length;
}

/** Writes a node and says where it is, with flags of what it has. */
function writeNode(node: TrieNode, parts: Buffer[], state: { at: number }): number {
  const { prefix, values, children } = node;
  const sorted = [...children].toSorted(([a], [b]) => a - b);
  const codes = sorted.map(([code]) => code);
  const [first = 0, last = 0] = [codes[0], codes.at(-1)];
  const places = new Map(sorted.map(([code, child]) => [code, writeNode(child, parts, state)]));
  const range =
    codes.length === 0 ? [] : Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const written = [
    ...(prefix === "" ? [] : [Buffer.from(`${prefix}\0`)]),
    ...(codes.length === 0 ? [] : [Buffer.from([first, last])]),
    numbers(...range.map((code) => places.get(code) ?? 0)),
    ...(values.length === 0 ? [] : [numbers(values.length)]),
    ...values.flatMap(([priority, value]) => [numbers(priority), Buffer.from(`${value}\0`)]),
  ];
  const place = state.at;
  for (const part of written) {
    parts.push(part);
    state.at += part.length;
  }
  const flags =
    (prefix === "" ? 0 : HAS_PREFIX) +
    (values.length === 0 ? 0 : HAS_VALUES) +
    (codes.length === 0 ? 0 : HAS_CHILDREN);
  return place + flags;
}

function numbers(...values: readonly number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeUInt32BE(value, 4 * index);
  return buffer;
}
