/**
 * Reads relocatable ELF64 little-endian files (`.o`, `.ko`): header, sections, symbols, notes. Source: the
 * System V gABI, chapters 4 and 5, and elf(5); where they leave a choice, the stricter rules by which the
 * Linux module loader judges a file. Bytes are hostile: each number is bounded before it is used.
 */
import { FarmError } from "../base/error.ts";

export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  /** Of the section in memory; a NOBITS section has a size but no bytes. */
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly alignment: number;
  /** A view of the file, not a copy. */
  readonly bytes: Uint8Array;
}

export interface ElfSymbol {
  readonly name: string;
  /** All 64 bits: absolute symbols may hold anything. */
  readonly value: bigint;
  readonly binding: number;
  readonly type: number;
  /** Index of its section; 0 when undefined; 0xff00 and above have special meanings. */
  readonly section: number;
}

export interface Elf {
  readonly machine: number;
  readonly sections: readonly ElfSection[];
  /** Without the null symbol at index 0. */
  readonly symbols: readonly ElfSymbol[];
}

export interface ElfNote {
  readonly owner: string;
  readonly type: number;
  readonly description: Uint8Array;
}

const SHT_NULL = 0;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
export const SHF_ALLOC = 2;
export const SHN_UNDEF = 0;
/** A symbol whose value is a number, not a place. */
export const SHN_ABS = 0xfff1;
export const STB_GLOBAL = 1;

const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const ET_REL = 1;
const SHN_LORESERVE = 0xff00;
/** Names may share bytes, so that a small file could ask for endless text; the kernel allows 512. */
const MAX_NAME_BYTES = 1024;
/** Of all names together, each time it is used: five times what the largest modules have. */
const MAX_NAMES_BYTES = 16 << 20;
/** Ten times what the largest of Debian's modules has. */
const MAX_SYMBOLS = 1 << 18;

/** The error of this module; `what` names the file, `fact` says what is wrong with it. */
export function malformed(what: string, fact: string): FarmError {
  return new FarmError("MODULE_MALFORMED", { about: what, detail: fact, at: { file: what } });
}

/**
 * Reads a relocatable file; `what` names it in errors.
 * @throws FarmError MODULE_MALFORMED, and nothing else, whatever the bytes are
 */
export function readElf(bytes: Uint8Array, what: string): Elf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkIdentity(bytes, view, what);
  const sections = readSections(bytes, view, what);
  return { machine: view.getUint16(18, true), sections, symbols: readSymbols(sections, what) };
}

/**
 * Every byte belongs to one part of the file, or to the gap before the next: what lies behind the last one, or in two
 * at once, another reader may see otherwise.
 * @throws FarmError MODULE_MALFORMED
 */
export function checkCover(bytes: Uint8Array, { sections }: Elf, what: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const table = readSafe(view, 40, what);
  const parts = [
    { name: "ELF header", start: 0, end: HEADER_BYTES },
    { name: "section headers", start: table, end: table + sections.length * SECTION_HEADER_BYTES },
    ...sections
      .filter((section) => section.bytes.length > 0)
      .map(({ name, offset, size }) => ({ name, start: offset, end: offset + size })),
  ].toSorted((a, b) => a.start - b.start);
  let end = 0;
  for (const part of parts) {
    if (part.start < end) throw malformed(what, `its part ${JSON.stringify(part.name)} overlaps another one`);
    end = part.end;
  }
  if (end < bytes.length) throw malformed(what, `${bytes.length - end} bytes follow its last part`);
}

/**
 * The notes of a section whose alignment is 4 (gABI chapter 5, Note Section).
 * @throws FarmError MODULE_MALFORMED
 */
export function* readNotes(section: ElfSection, what: string): Generator<ElfNote> {
  const { bytes } = section;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 12) throw malformed(what, "a note is cut off");
    const nameEnd = at + 12 + view.getUint32(at, true);
    const start = align4(nameEnd);
    const end = start + view.getUint32(at + 4, true);
    if (end > bytes.length) throw malformed(what, "a note is longer than its section");
    const owner = latin1(bytes.subarray(at + 12, nameEnd)).replace(/\0$/, "");
    yield { owner, type: view.getUint32(at + 8, true), description: bytes.subarray(start, end) };
    at = align4(end);
  }
}

/**
 * The section of a name, if any: two of one name would let two readers see two modules.
 * @throws FarmError MODULE_MALFORMED
 */
export function sectionNamed(elf: Elf, name: string, what: string): ElfSection | undefined {
  const [section, another] = elf.sections.filter((candidate) => candidate.name === name);
  if (another !== undefined) throw malformed(what, `it has more than one section ${name}`);
  return section;
}

function checkIdentity(bytes: Uint8Array, view: DataView, what: string): void {
  if (bytes.length < HEADER_BYTES) throw malformed(what, "the file is shorter than an ELF header");
  if (view.getUint32(0, false) !== 0x7f454c46) throw malformed(what, "the file is not ELF");
  const [elfClass, order, version] = [bytes[4], bytes[5], bytes[6]];
  if (elfClass !== 2 || order !== 1) throw malformed(what, "the file is not 64-bit little-endian ELF");
  if (version !== 1 || view.getUint32(20, true) !== 1) throw malformed(what, "its ELF version is not 1");
  const type = view.getUint16(16, true);
  if (type !== ET_REL) throw malformed(what, `its ELF type is ${type}, not relocatable (1)`);
  if (view.getUint16(52, true) !== HEADER_BYTES) throw malformed(what, "its ELF header has a wrong size");
}

function readSections(bytes: Uint8Array, view: DataView, what: string): ElfSection[] {
  const table = readSafe(view, 40, what);
  const count = view.getUint16(60, true);
  if (view.getUint16(58, true) !== SECTION_HEADER_BYTES) {
    throw malformed(what, "its section headers have a wrong size");
  }
  // 0 would mean that section 0 holds the real count, which the kernel refuses as well.
  if (count === 0 || count >= SHN_LORESERVE) throw malformed(what, `it has ${count} sections`);
  if (table < HEADER_BYTES || table + count * SECTION_HEADER_BYTES > bytes.length) {
    throw malformed(what, "its section headers are not inside the file");
  }
  const nameless = Array.from({ length: count }, (_, index) => {
    return readSection(bytes, view, table + index * SECTION_HEADER_BYTES, { count, index, what });
  });
  const first = nameless[0];
  if (first?.type !== SHT_NULL || first.size !== 0)
    throw malformed(what, "its section 0 is not the null one");
  const names = stringTable(nameless, view.getUint16(62, true), what);
  return nameless.map(({ nameOffset, ...section }) => ({ name: names(nameOffset), ...section }));
}

type NamelessSection = Omit<ElfSection, "name"> & { readonly nameOffset: number };

function readSection(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  { count, index, what }: { readonly count: number; readonly index: number; readonly what: string },
): NamelessSection {
  const type = view.getUint32(at + 4, true);
  const [offset, size] = [readSafe(view, at + 24, what), readSafe(view, at + 32, what)];
  const link = view.getUint32(at + 40, true);
  const isEmpty = type === SHT_NULL || type === SHT_NOBITS;
  if (!isEmpty && offset + size > bytes.length) {
    throw malformed(what, `section ${index} is not inside the file`);
  }
  if (link >= count) throw malformed(what, `section ${index} links to section ${link} of ${count}`);
  return {
    nameOffset: view.getUint32(at, true),
    type,
    flags: readSafe(view, at + 8, what),
    offset,
    size,
    link,
    info: view.getUint32(at + 44, true),
    alignment: readSafe(view, at + 48, what),
    bytes: isEmpty ? bytes.subarray(0, 0) : bytes.subarray(offset, offset + size),
  };
}

function readSymbols(sections: readonly ElfSection[], what: string): ElfSymbol[] {
  const tables = sections.filter(({ type }) => type === SHT_SYMTAB);
  const [table] = tables;
  if (table === undefined || tables.length > 1) {
    throw malformed(what, `it has ${tables.length} symbol tables, not one`);
  }
  const count = table.size / SYMBOL_BYTES;
  if (!Number.isInteger(count) || count < 1) throw malformed(what, "its symbol table has a wrong size");
  if (count > MAX_SYMBOLS) throw malformed(what, `it has ${count} symbols, more than any module`);
  const names = stringTable(sections, table.link, what);
  const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
  return Array.from({ length: count - 1 }, (_, index) => {
    const at = (index + 1) * SYMBOL_BYTES;
    const section = view.getUint16(at + 6, true);
    if (section >= sections.length && section < SHN_LORESERVE) {
      throw malformed(what, `symbol ${index + 1} is of section ${section} of ${sections.length}`);
    }
    return {
      name: names(view.getUint32(at, true)),
      value: view.getBigUint64(at + 8, true),
      binding: view.getUint8(at + 4) >> 4,
      type: view.getUint8(at + 4) & 0xf,
      section,
    };
  });
}

/** A function from offsets in the string table at `index` to the strings there. */
function stringTable(
  sections: readonly Pick<ElfSection, "type" | "bytes">[],
  index: number,
  what: string,
): (offset: number) => string {
  const table = sections[index];
  if (table?.type !== SHT_STRTAB) throw malformed(what, `section ${index} is not a string table`);
  const { bytes } = table;
  if (bytes.length === 0 || bytes[0] !== 0 || bytes.at(-1) !== 0) {
    throw malformed(what, `the string table in section ${index} does not begin and end with NUL`);
  }
  let total = 0;
  return (offset) => {
    // The last byte is NUL, so that every offset inside finds an end.
    if (offset >= bytes.length) throw malformed(what, "a name is not inside its string table");
    const end = bytes.indexOf(0, offset);
    if (end - offset > MAX_NAME_BYTES) throw malformed(what, `a name is longer than ${MAX_NAME_BYTES} bytes`);
    total += end - offset;
    if (total > MAX_NAMES_BYTES)
      throw malformed(what, `its names are more than ${MAX_NAMES_BYTES} bytes together`);
    return latin1(bytes.subarray(offset, end));
  };
}

/** An offset or a size: 64 bits that must fit a number without loss. */
function readSafe(view: DataView, at: number, what: string): number {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  if (!Number.isSafeInteger(value)) throw malformed(what, "an offset or a size is beyond 2^53");
  return value;
}

/** Byte by byte, unlike UTF-8, which would make different broken names equal. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

function align4(offset: number): number {
  return Math.ceil(offset / 4) * 4;
}
