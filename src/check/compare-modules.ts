/**
 * Two builds of one module, compared section by section: what differs, how, and whether the code does. Bytes are
 * hostile; nothing here takes longer than their length allows.
 */
import { FarmError } from "../base/error.ts";
import { type Elf, readElf, SHF_ALLOC } from "../formats/elf.ts";
import { likelyCauses, type SectionDifference } from "./difference-causes.ts";

export interface ModuleComparison {
  readonly name: string;
  readonly isEqual: boolean;
  /** All that the kernel loads is equal, but for the build id. */
  readonly isCodeEqual: boolean;
  readonly differences: readonly SectionDifference[];
  /** Most likely first; empty when equal. */
  readonly causes: readonly string[];
}

const SHOWN_STRINGS = 6;
const SHOWN_STRING_LENGTH = 120;
const BUILD_ID = ".note.gnu.build-id";

/** `name` is the module's; `places` are words that tell the two builds apart: directories, users, hosts. */
export function compareModules(
  name: string,
  first: Uint8Array,
  second: Uint8Array,
  places: readonly (readonly [what: string, first: string, second: string])[] = [],
): ModuleComparison {
  if (Buffer.compare(first, second) === 0)
    return { name, isEqual: true, isCodeEqual: true, differences: [], causes: [] };
  const sections = [sectionsOf(first, name), sectionsOf(second, name)] as const;
  const names = [...new Set([...sections[0].keys(), ...sections[1].keys()])];
  const differences = names.flatMap((section) => {
    const found = compareSection(section, sections[0].get(section), sections[1].get(section));
    return found === undefined ? [] : [found];
  });
  // Only what lies between the sections, or what their headers say of them, differs.
  if (differences.length === 0) differences.push(differenceOf("(layout)", first, second));
  const isLoaded = (section: string) =>
    section !== BUILD_ID &&
    (sections[0].get(section)?.isLoaded ?? sections[1].get(section)?.isLoaded ?? true);
  return {
    name,
    isEqual: false,
    isCodeEqual: differences.every(({ section }) => !isLoaded(section)),
    differences,
    causes: likelyCauses(differences, places),
  };
}

interface ComparedSection {
  readonly bytes: Uint8Array;
  /** Whether it, or what it relocates, is in the kernel's memory later. */
  readonly isLoaded: boolean;
}

/** By name, and by number where names repeat. What is no ELF is one section. */
function sectionsOf(bytes: Uint8Array, what: string): ReadonlyMap<string, ComparedSection> {
  const elf = tryRead(bytes, what);
  if (elf === undefined) return new Map([["(whole file)", { bytes, isLoaded: true }]]);
  const sections = new Map<string, ComparedSection>();
  const headers = bytes.subarray(0, 64);
  sections.set("(ELF header)", { bytes: headers, isLoaded: false });
  for (const section of elf.sections.slice(1)) {
    let name = section.name;
    for (let copy = 2; sections.has(name); copy++) name = `${section.name}#${copy}`;
    const target = elf.sections[section.info];
    const isRelocation = section.type === 4 || section.type === 9;
    const flags = isRelocation && target !== undefined ? target.flags : section.flags;
    sections.set(name, { bytes: section.bytes, isLoaded: (flags & SHF_ALLOC) !== 0 });
  }
  const ends = elf.sections.map(({ offset, bytes: content }) => offset + content.length);
  const end = ends.reduce((most, one) => Math.max(most, one), headersEnd(headers));
  sections.set("(after the sections)", { bytes: bytes.subarray(end), isLoaded: false });
  return sections;
}

/** Where the table of section headers ends; it was read, so it is inside the file. */
function headersEnd(header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  return Number(view.getBigUint64(40, true)) + view.getUint16(60, true) * 64;
}

function tryRead(bytes: Uint8Array, what: string): Elf | undefined {
  try {
    return readElf(bytes, what);
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED") return undefined;
    throw thrown;
  }
}

function compareSection(
  section: string,
  first: ComparedSection | undefined,
  second: ComparedSection | undefined,
): SectionDifference | undefined {
  const [a, b] = [first?.bytes ?? new Uint8Array(), second?.bytes ?? new Uint8Array()];
  const sizes = [a.length, b.length] as const;
  if (first === undefined || second === undefined) {
    if (a.length + b.length === 0 && section.startsWith("(")) return undefined;
    const kind = first === undefined ? "onlySecond" : "onlyFirst";
    return { section, kind, sizes, strings: { first: [], second: [] } };
  }
  if (Buffer.compare(a, b) === 0) return undefined;
  return differenceOf(section, a, b);
}

function differenceOf(section: string, a: Uint8Array, b: Uint8Array): SectionDifference {
  const sizes = [a.length, b.length] as const;
  const strings = differentStrings(a, b);
  if (a.length !== b.length) return { section, kind: "size", sizes, strings };
  let [firstAt, differingBytes] = [-1, 0];
  for (let at = 0; at < a.length; at++) {
    if (a[at] === b[at]) continue;
    if (firstAt < 0) firstAt = at;
    differingBytes++;
  }
  const isOrder = strings.first.length + strings.second.length === 0 && isText(a) && isText(b);
  return { section, kind: isOrder ? "order" : "bytes", sizes, firstAt, differingBytes, strings };
}

/** A table of strings: order is all that can differ when both hold the same. */
function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0 || (byte >= 0x20 && byte < 0x7f));
}

function differentStrings(a: Uint8Array, b: Uint8Array): SectionDifference["strings"] {
  const [first, second] = [countStrings(a), countStrings(b)];
  return { first: onlyIn(first, second), second: onlyIn(second, first) };
}

function onlyIn(here: ReadonlyMap<string, number>, there: ReadonlyMap<string, number>): string[] {
  const found: string[] = [];
  for (const [text, count] of here) {
    if (count <= (there.get(text) ?? 0)) continue;
    found.push(text.length > SHOWN_STRING_LENGTH ? `${text.slice(0, SHOWN_STRING_LENGTH)}…` : text);
    if (found.length === SHOWN_STRINGS) break;
  }
  return found;
}

/** Runs of four printable characters and more, as strings(1) finds them. */
function countStrings(bytes: Uint8Array): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  let start = 0;
  for (let at = 0; at <= bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte >= 0x20 && byte < 0x7f) continue;
    if (at - start >= 4) {
      const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, at - start).toString("latin1");
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    start = at + 1;
  }
  return counts;
}
