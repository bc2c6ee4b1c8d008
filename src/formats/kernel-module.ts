/**
 * Reads what a finished kernel module (`.ko`) says about itself: the witnesses that a build is checked by.
 * Source: the kernel's Documentation/kbuild/modules.rst and admin-guide/module-signing.rst, modinfo(8).
 */
import { copied } from "../base/copied.ts";
import { FarmError } from "../base/error.ts";
import { checkBtf } from "./btf.ts";
import {
  checkCover,
  type Elf,
  type ElfSection,
  malformed,
  readElf,
  readNotes,
  SHF_ALLOC,
  SHN_ABS,
  SHN_UNDEF,
  SHT_NOBITS,
  STB_GLOBAL,
  sectionNamed,
} from "./elf.ts";
import { type ModuleGuards, readGuards } from "./module-guards.ts";
import { type ModuleSignature, splitSignature } from "./module-signature.ts";
import { readVersions } from "./module-versions.ts";

interface ModuleExport {
  readonly name: string;
  readonly gplOnly: boolean;
  /** Undefined for kernels without CONFIG_MODVERSIONS. */
  readonly crc?: number;
  /** Absent for none. */
  readonly namespace?: string;
}

interface Softdeps {
  readonly pre: readonly string[];
  readonly post: readonly string[];
}

export interface KernelModule {
  readonly name: string;
  /** As `uname -m` says it on a machine that can load it. */
  readonly architecture: MachineName;
  /** Byte by byte what the kernel compares, its space at the end included. */
  readonly vermagic: string;
  readonly version?: string;
  /** The first one; a module of several sources may name several. */
  readonly license?: string;
  readonly srcversion?: string;
  /** Names of modules, whatever their files are called. */
  readonly depends: readonly string[];
  /** What `modprobe` also takes in, before it and after it, where it is there: names of modules, or aliases spelt like ones. */
  readonly softdeps: Softdeps;
  readonly importNamespaces: readonly string[];
  /** Everything in `.modinfo`, in its order; keys repeat. */
  readonly modinfo: ReadonlyArray<readonly [key: string, value: string]>;
  /** Lower-case hexadecimal. */
  readonly buildId?: string;
  /** CONFIG_BUILD_SALT of the kernel it was built for; Debian puts the kernel's release there. */
  readonly buildSalt?: string;
  /** What compilers left in `.comment`, each once. */
  readonly compilers: readonly string[];
  /** Symbols that another module or the kernel must give, sorted; weak ones are not among them. */
  readonly imports: readonly string[];
  /** Sorted by name. */
  readonly exports: readonly ModuleExport[];
  /** CRCs of what it imports, by symbol; absent where its kernel was built without CONFIG_MODVERSIONS. */
  readonly versions?: ReadonlyMap<string, number>;
  readonly guards: ModuleGuards;
  /** What was appended as a signature; whether it is a good one is not judged here. */
  readonly signature?: ModuleSignature;
}

type MachineName = "x86_64" | "aarch64";

/** `e_machine` → the machine; a module for any other one is refused. */
export const MACHINES: ReadonlyMap<number, MachineName> = new Map([
  [62, "x86_64"],
  [183, "aarch64"],
]);

/** Of 9,482 modules of Debian the largest has 75 KiB; this is little enough to split without harm. */
const MAX_TEXT_SECTION_BYTES = 1 << 20;
/** Each entry costs many times its bytes once it is split; the largest real section has some 2,000. */
const MAX_STRINGS = 1 << 14;
/** Many times what the module with the most imports has. */
const MAX_IMPORTS = 1 << 16;
/** Real modules depend on fewer than 50. */
const MAX_DEPENDS = 1000;
const MAX_DEPENDS_LENGTH = 1 << 16;
const NT_GNU_BUILD_ID = 3;
const LINUX_BUILD_SALT = 0x100;
const GPL_ONLY_FLAG = 1;
/** Two 32-bit references an export; since Linux 5.4 three, the last one to its namespace. */
const EXPORT_BYTES: readonly number[] = [8, 12];

/**
 * Reads an uncompressed module; `what` names it in errors.
 * @throws FarmError MODULE_MALFORMED, and nothing else, whatever the bytes are
 */
export function readKernelModule(bytes: Uint8Array, what: string): KernelModule {
  const { content, signature } = splitSignature(bytes, what);
  const elf = readElf(content, what);
  checkCover(content, elf, what);
  checkThisModule(elf, what);
  const modinfo = readModinfo(elf, what);
  const first = (key: string) => modinfo.find(([name]) => name === key)?.[1];
  const [name, vermagic] = [theOne(modinfo, "name", what), theOne(modinfo, "vermagic", what)];
  const [version, license, srcversion] = [first("version"), first("license"), first("srcversion")];
  const [buildId, buildSalt] = [readBuildId(elf, what), readBuildSalt(elf, what)];
  const versions = readVersions(elf, what);
  const btf = sectionNamed(elf, ".BTF", what);
  if (btf !== undefined) checkBtf(btf.bytes, what);
  return {
    name: moduleName(name),
    architecture: architectureOf(elf, what),
    vermagic,
    ...(version === undefined ? {} : { version }),
    ...(license === undefined ? {} : { license }),
    ...(srcversion === undefined ? {} : { srcversion }),
    depends: dependsOf(first("depends") ?? "", what),
    softdeps: softdepsOf(modinfo, what),
    importNamespaces: modinfo.filter(([key]) => key === "import_ns").map(([, namespace]) => namespace),
    modinfo,
    ...(buildId === undefined ? {} : { buildId }),
    ...(buildSalt === undefined ? {} : { buildSalt }),
    compilers: [...new Set(strings(sectionNamed(elf, ".comment", what), what))],
    imports: importsOf(elf, what),
    exports: exportsOf(elf, what),
    guards: readGuards(elf, what),
    ...(versions === undefined ? {} : { versions }),
    ...(signature === undefined ? {} : { signature }),
  };
}

/** The licences that the kernel's license_is_gpl_compatible() names. */
export function isGplCompatible(license: string | undefined): boolean {
  return [
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
  ].includes(license ?? "");
}

/** The name the kernel knows a module's file by: `snd-pcm.ko` → `snd_pcm`. */
export function moduleName(fileName: string): string {
  return fileName.replace(/\.ko$/, "").replaceAll("-", "_");
}

/**
 * The order in which modules can be inserted: each after those of the set it depends on; where that leaves
 * a choice, the first given comes first. Dependencies outside the set are the caller's concern.
 * @throws FarmError MODULE_MALFORMED when modules depend on each other in a circle
 */
export function insertionOrder(modules: readonly Pick<KernelModule, "name" | "depends">[]): string[] {
  const place = new Map(modules.map(({ name }, index) => [name, index]));
  const waiting = new Map(
    modules.map(({ name, depends }) => [name, new Set(depends.filter((other) => place.has(other)))]),
  );
  const waitersOf = Map.groupBy(
    [...waiting].flatMap(([name, others]) => [...others].map((other) => ({ name, other }))),
    ({ other }) => other,
  );
  const ready = [...waiting].filter(([, others]) => others.size === 0).map(([name]) => name);
  const order: string[] = [];
  const placeOf = (name: string) => place.get(name) ?? 0;
  while (ready.length > 0) {
    const next = ready.reduce((first, other) => (placeOf(other) < placeOf(first) ? other : first));
    ready.splice(ready.indexOf(next), 1);
    order.push(next);
    waiting.delete(next);
    for (const { name } of waitersOf.get(next) ?? []) {
      const others = waiting.get(name);
      others?.delete(next);
      if (others?.size === 0) ready.push(name);
    }
  }
  if (waiting.size > 0) throw circleIn(waiting);
  return order;
}

/** Walks from any module to one that it waits for until a name comes again. */
function circleIn(waiting: ReadonlyMap<string, ReadonlySet<string>>): FarmError {
  const path = new Set<string>();
  let [name = ""] = waiting.keys();
  while (!path.has(name)) {
    path.add(name);
    [name = ""] = waiting.get(name) ?? [];
  }
  const names = [...path];
  const circle = [...names.slice(names.indexOf(name)), name].slice(0, MAX_DEPENDS).join(" → ");
  return new FarmError("MODULE_MALFORMED", { detail: `modules depend on each other in a circle: ${circle}` });
}

function checkThisModule(elf: Elf, what: string): void {
  const section = sectionNamed(elf, ".gnu.linkonce.this_module", what);
  if (section === undefined) throw malformed(what, "it has no section .gnu.linkonce.this_module");
  if (section.type === SHT_NOBITS || (section.flags & SHF_ALLOC) === 0 || section.size === 0) {
    throw malformed(what, "its section .gnu.linkonce.this_module contains nothing to load");
  }
}

function readModinfo(elf: Elf, what: string): [string, string][] {
  const section = sectionNamed(elf, ".modinfo", what);
  if (section === undefined) throw malformed(what, "it has no section .modinfo");
  return strings(section, what).map((entry) => {
    const equals = entry.indexOf("=");
    if (equals < 1) throw malformed(what, "an entry of its .modinfo is not key=value");
    // What is kept of a module is a few of them, and would hold the whole section.
    return copied<[string, string]>([entry.slice(0, equals), entry.slice(equals + 1)]);
  });
}

/** modpost writes names of files (`snd-pcm`); all others know modules by their names (`snd_pcm`). */
function dependsOf(list: string, what: string): string[] {
  const names = list.split(",").filter((name) => name !== "");
  if (list.length > MAX_DEPENDS_LENGTH || names.length > MAX_DEPENDS)
    throw malformed(what, `it depends on ${names.length} modules in ${list.length} characters`);
  return [...new Set(names.map(moduleName))];
}

/** `pre: a b post: c`; modprobe.d(5). Of several entries, kmod reads the first one alone. */
function softdepsOf(modinfo: KernelModule["modinfo"], what: string): Softdeps {
  const lists = { pre: new Set<string>(), post: new Set<string>() };
  const [, entry = ""] = modinfo.find(([key]) => key === "softdep") ?? [];
  let list: Set<string> | undefined;
  for (const word of entry.split(/\s+/).filter((part) => part !== "")) {
    if (word === "pre:" || word === "post:") list = lists[word === "pre:" ? "pre" : "post"];
    else list?.add(moduleName(word));
  }
  const count = lists.pre.size + lists.post.size;
  if (count > MAX_DEPENDS) throw malformed(what, `it names ${count} modules in softdep`);
  return { pre: [...lists.pre], post: [...lists.post] };
}

/** The value of a key that `modpost` writes once into each module. */
function theOne(modinfo: readonly (readonly [string, string])[], wanted: string, what: string): string {
  const values = modinfo.filter(([key]) => key === wanted);
  const value = values[0]?.[1];
  if (value === undefined || value === "") throw malformed(what, `its .modinfo has no ${wanted}`);
  if (values.length > 1) throw malformed(what, `its .modinfo has ${values.length} values for ${wanted}`);
  return value;
}

function architectureOf({ machine }: Elf, what: string): MachineName {
  const name = MACHINES.get(machine);
  if (name === undefined) throw malformed(what, `it is for the unknown ELF machine ${machine}`);
  return name;
}

function readBuildId(elf: Elf, what: string): string | undefined {
  const id = readNote(elf, ".note.gnu.build-id", { owner: "GNU", type: NT_GNU_BUILD_ID }, what);
  return id === undefined ? undefined : Buffer.from(id).toString("hex");
}

function readBuildSalt(elf: Elf, what: string): string | undefined {
  const salt = readNote(elf, ".note.Linux", { owner: "Linux", type: LINUX_BUILD_SALT }, what);
  if (salt === undefined) return undefined;
  if (salt.indexOf(0) !== salt.length - 1) throw malformed(what, "its build salt is not one string");
  return decodeText(salt.subarray(0, -1));
}

function readNote(
  elf: Elf,
  sectionName: string,
  { owner, type }: { readonly owner: string; readonly type: number },
  what: string,
): Uint8Array | undefined {
  const section = sectionNamed(elf, sectionName, what);
  if (section === undefined) return undefined;
  for (const note of readNotes(section, what)) {
    if (note.owner === owner && note.type === type) return note.description;
  }
  return undefined;
}

function importsOf(elf: Elf, what: string): string[] {
  const names = elf.symbols
    .filter(({ section, binding }) => section === SHN_UNDEF && binding === STB_GLOBAL)
    // Older assemblers leave this one, which nothing uses and the kernel ignores.
    .filter(({ name }) => name !== "" && name !== "_GLOBAL_OFFSET_TABLE_");
  if (names.length > MAX_IMPORTS)
    throw malformed(what, `it imports ${names.length} symbols, more than any module`);
  return [...new Set(names.map(({ name }) => name))].sort(byCodeUnits);
}

function exportsOf(elf: Elf, what: string): ModuleExport[] {
  const flags = sectionNamed(elf, "__kflagstab", what);
  const exports = [
    ...exportsIn(elf, "__ksymtab", { flags: flags?.bytes, gplOnly: false }, what),
    ...exportsIn(elf, "__ksymtab_gpl", { flags: undefined, gplOnly: true }, what),
  ];
  exports.sort((a, b) => byCodeUnits(a.name, b.name));
  const twice = exports.find(({ name }, index) => name === exports[index - 1]?.name);
  if (twice !== undefined) throw malformed(what, `it exports ${JSON.stringify(twice.name)} twice`);
  return exports;
}

/** Up to Linux 6 there is a table for each kind of export; since 7, one table and one of flags beside it. */
function exportsIn(
  elf: Elf,
  tableName: string,
  { flags, gplOnly }: { readonly flags: Uint8Array | undefined; readonly gplOnly: boolean },
  what: string,
): ModuleExport[] {
  const table = sectionNamed(elf, tableName, what);
  if (table === undefined || table.size === 0) return [];
  const index = elf.sections.indexOf(table);
  const symbols = elf.symbols.filter(
    ({ section, name }) => section === index && name.startsWith("__ksymtab_"),
  );
  // Not all named means that `strip` took local symbols away: the exports exist but cannot be told.
  const entryBytes = table.size / symbols.length;
  if (!EXPORT_BYTES.includes(entryBytes)) {
    throw malformed(what, `${symbols.length} symbols name the ${table.size} bytes of ${tableName}`);
  }
  if (flags !== undefined && flags.length !== symbols.length) {
    throw malformed(what, `it has ${flags.length} flags for ${symbols.length} exports`);
  }
  const crcs = exportCrcs(elf);
  const namespaces = exportNamespaces(elf);
  return symbols.map((symbol) => {
    const name = symbol.name.slice("__ksymtab_".length);
    const crc = crcs.get(name);
    const namespace = namespaces.get(name) ?? "";
    const flag = flags?.[Number(symbol.value) / entryBytes];
    if (flags !== undefined && flag === undefined) throw malformed(what, "an export has no flags");
    return {
      name,
      gplOnly: gplOnly || ((flag ?? 0) & GPL_ONLY_FLAG) !== 0,
      ...(crc === undefined ? {} : { crc }),
      ...(namespace === "" ? {} : { namespace }),
    };
  });
}

/** Longer than the name of any namespace. */
const MAX_NAMESPACE = 256;

/** Since Linux 5.4 each export has a place in a table of strings, where its namespace stands; nothing for none. */
function exportNamespaces({ symbols, sections }: Elf): ReadonlyMap<string, string> {
  const namespaces = new Map<string, string>();
  for (const { name, section, value } of symbols) {
    if (!name.startsWith("__kstrtabns_")) continue;
    const table = sections[section];
    const bytes = table?.name === "__ksymtab_strings" ? table.bytes : undefined;
    const rest = bytes?.subarray(Number(value), Number(value) + MAX_NAMESPACE);
    const end = rest?.indexOf(0) ?? -1;
    if (rest !== undefined && end > 0)
      namespaces.set(name.slice("__kstrtabns_".length), decodeText(rest.subarray(0, end)));
  }
  return namespaces;
}

/** CRCs of exports: up to Linux 5 the value of a symbol of no section, since then a place in `__kcrctab` or its like. */
function exportCrcs({ symbols, sections }: Elf): ReadonlyMap<string, number> {
  const crcs = new Map<string, number>();
  for (const { name, section, value } of symbols) {
    if (!name.startsWith("__crc_")) continue;
    const table = sections[section];
    const bytes = table?.name.startsWith("__kcrctab") ? table.bytes : undefined;
    const at = Number(value);
    if (section === SHN_ABS) crcs.set(name.slice("__crc_".length), Number(value & 0xffffffffn));
    else if (bytes !== undefined && at + 4 <= bytes.length)
      crcs.set(name.slice("__crc_".length), new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true));
  }
  return crcs;
}

/** The non-empty NUL-terminated strings of a section. */
function strings(section: ElfSection | undefined, what: string): string[] {
  if (section === undefined || section.bytes.length === 0) return [];
  const { bytes, name } = section;
  if (bytes.length > MAX_TEXT_SECTION_BYTES)
    throw malformed(what, `its section ${name} has ${bytes.length} bytes`);
  if (bytes.at(-1) !== 0) throw malformed(what, `its section ${name} does not end with NUL`);
  const found = decodeText(bytes)
    .split("\0")
    .filter((text) => text !== "");
  if (found.length > MAX_STRINGS)
    throw malformed(what, `its section ${name} has more than ${MAX_STRINGS} entries`);
  return found;
}

/** UTF-8; bytes that are none become U+FFFD, for names of authors are written in all ways. */
function decodeText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
