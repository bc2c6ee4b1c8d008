/**
 * Whether a module without debugging information is still the module that it was: all that a kernel loads, and all that
 * the checks read, is the same, and relocations lead to the same symbols. Source: the System V gABI, chapter 4, and the
 * kernel's module loader.
 */
import {
  type Elf,
  type ElfSection,
  type ElfSymbol,
  malformed,
  readElf,
  SHF_ALLOC,
  SHT_STRTAB,
  SHT_SYMTAB,
  STB_GLOBAL,
} from "./elf.ts";
import { splitSignature } from "./module-signature.ts";

const SHT_RELA = 4;
const SHT_REL = 9;
const SHT_GROUP = 17;
const SHT_LLVM_ADDRSIG = 0x6fff4c03;
/** Says only that `info` is a section, which not every tool says. */
const SHF_INFO_LINK = 0x40;
const STT_SECTION = 3;
const STT_FILE = 4;
const DEBUG = /^\.(?:z?debug|gnu\.debug|stab|line|gdb_index|gnu\.linkonce\.wi\.)/;
/** Numbers of symbols and sections, which change when some go; what relocations mean by them is compared. */
const TABLES: readonly number[] = [SHT_SYMTAB, SHT_STRTAB, SHT_GROUP, SHT_LLVM_ADDRSIG];

/**
 * Compares both; `what` names the module in errors. What was appended as a signature may be gone.
 * @throws FarmError MODULE_MALFORMED for anything else that is not the same
 */
export function checkStripped(built: Uint8Array, stripped: Uint8Array, what: string): void {
  const [before, after] = [built, stripped].map((bytes) => keptOf(bytes, what)) as [Kept, Kept];
  if (before.elf.machine !== after.elf.machine) throw differs(what, "its machine");
  const names = ({ sections }: Kept) => sections.map(({ name }) => name).join(" ");
  if (names(before) !== names(after)) throw differs(what, "which sections it has");
  for (const [index, section] of before.sections.entries())
    compareSection(section, after.sections[index] as ElfSection, before, after, what);
  compareSymbols(before, after, what);
}

interface Kept {
  readonly elf: Elf;
  /** Those that stripping must leave as they are. */
  readonly sections: readonly ElfSection[];
  /** Number of a section in the file → its place among those. */
  readonly places: ReadonlyMap<number, number>;
  /** What tells each symbol apart, whatever its number; of the null symbol too. */
  readonly symbols: readonly string[];
}

function keptOf(bytes: Uint8Array, what: string): Kept {
  const elf = readElf(splitSignature(bytes, what).content, what);
  const numbers = [...elf.sections.keys()].filter((index) => index > 0 && isKept(elf, index));
  const places = new Map(numbers.map((number, place) => [number, place]));
  const sections = numbers.map((number) => elf.sections[number] as ElfSection);
  const words = (one: ElfSymbol) => {
    const place = places.get(one.section) ?? (isPlain(one, elf) ? "gone" : `number ${one.section}`);
    return [one.name, one.value, one.binding, one.type, place].join("\0");
  };
  return { elf, sections, places, symbols: ["null", ...elf.symbols.map(words)] };
}

/** Of a section of this file, and not undefined, absolute or common. */
function isPlain({ section }: ElfSymbol, { sections }: Elf): boolean {
  return section > 0 && section < sections.length;
}

function isKept({ sections }: Elf, index: number): boolean {
  const section = sections[index] as ElfSection;
  if (TABLES.includes(section.type)) return false;
  const target = isRelocation(section) ? sections[section.info] : section;
  return (section.flags & SHF_ALLOC) !== 0 || !DEBUG.test(target?.name ?? "");
}

function isRelocation({ type }: Pick<ElfSection, "type">): boolean {
  return type === SHT_RELA || type === SHT_REL;
}

function compareSection(a: ElfSection, b: ElfSection, before: Kept, after: Kept, what: string): void {
  const isLike =
    a.type === b.type &&
    a.size === b.size &&
    a.alignment === b.alignment &&
    (a.flags & ~SHF_INFO_LINK) === (b.flags & ~SHF_INFO_LINK);
  if (!isLike) throw differs(what, `its section ${a.name}`);
  const isEqual = isRelocation(a)
    ? targetOf(a, before) === targetOf(b, after) && haveSameMeaning(a, b, before, after)
    : Buffer.compare(a.bytes, b.bytes) === 0;
  if (!isEqual) throw differs(what, `its section ${a.name}`);
}

function targetOf({ info }: ElfSection, { places }: Kept): number | undefined {
  return places.get(info);
}

/** Entries are 16 bytes, or 24 with an addend: offset, then the symbol's number above the relocation's type. */
function haveSameMeaning(a: ElfSection, b: ElfSection, before: Kept, after: Kept): boolean {
  const entryBytes = a.type === SHT_RELA ? 24 : 16;
  const [first, second] = [a, b].map(({ bytes }) =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  );
  if (first === undefined || second === undefined || first.length % entryBytes !== 0) return false;
  for (let at = 0; at < first.length; at += entryBytes) {
    const isSamePlace = first.compare(second, at, at + 12, at, at + 12) === 0;
    const isSameAddend = first.compare(second, at + 16, at + entryBytes, at + 16, at + entryBytes) === 0;
    const symbol = before.symbols[first.readUInt32LE(at + 12)];
    const isSameSymbol = symbol !== undefined && symbol === after.symbols[second.readUInt32LE(at + 12)];
    if (!isSamePlace || !isSameAddend || !isSameSymbol) return false;
  }
  return true;
}

/** Only symbols may go that name files, sections, or something in what went. */
function compareSymbols(before: Kept, after: Kept, what: string): void {
  const left = new Map<string, number>();
  for (const symbol of after.symbols) left.set(symbol, (left.get(symbol) ?? 0) + 1);
  for (const [index, symbol] of before.symbols.entries()) {
    const count = left.get(symbol) ?? 0;
    if (count > 0) left.set(symbol, count - 1);
    else if (!mayGo(before.elf.symbols[index - 1], symbol)) throw differs(what, "its symbols");
  }
  if ([...left.values()].some((count) => count > 0)) throw differs(what, "its symbols");
}

function mayGo(symbol: ElfSymbol | undefined, words: string): boolean {
  if (symbol === undefined || symbol.binding === STB_GLOBAL) return false;
  return symbol.type === STT_FILE || symbol.type === STT_SECTION || words.endsWith("\0gone");
}

function differs(what: string, part: string) {
  return malformed(what, `stripping it changed ${part}, not only debugging information`);
}
