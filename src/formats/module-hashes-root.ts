/**
 * The root of its modules' tree that a kernel holds: section `.module_hashes` of the ELF file `vmlinux`, a number of levels
 * in the byte order of the target and a SHA-256. Source: the kernel series "module: Introduce hash-based integrity
 * checking", version 5, and the System V gABI, chapter 4. Kernels of all architectures are read, in both classes and orders.
 */
import { malformed } from "./elf.ts";

export type ModuleHashes =
  | { readonly kind: "root"; readonly levels: number; readonly hash: Uint8Array }
  /** The kernel has no such section: it knows no proofs. */
  | { readonly kind: "none" }
  /** Its sections are not to be seen: an Image of arm64 is no ELF file, and some are without section headers. */
  | { readonly kind: "noSections" };

const NAME = ".module_hashes";
const HASH_BYTES = 32;
const ROOT_BYTES = 4 + HASH_BYTES;
/** Positions of modules have 32 bits. */
const MOST_LEVELS = 32;
const SHT_PROGBITS = 1;
const SHT_STRTAB = 3;
const SHN_LORESERVE = 0xff00;

/** Where things stand in headers of each class: 32 and 64 bits. */
const CLASSES = {
  1: { header: 52, table: 32, entrySize: 46, count: 48, names: 50, entry: 40, offset: 16, size: 20, word: 4 },
  2: { header: 64, table: 40, entrySize: 58, count: 60, names: 62, entry: 64, offset: 24, size: 32, word: 8 },
} as const;

interface Section {
  readonly nameOffset: number;
  readonly type: number;
  readonly bytes: Uint8Array;
}

/**
 * What an unpacked kernel (`unpackKernel` of vmlinuz.ts) says. `what` names the file in errors.
 * @throws FarmError MODULE_MALFORMED, and nothing else, whatever the bytes are
 */
export function readModuleHashes(kernel: Uint8Array, what: string): ModuleHashes {
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  if (kernel.length < 52 || view.getUint32(0, false) !== 0x7f454c46) return { kind: "noSections" };
  const layout = CLASSES[kernel[4] as 1 | 2] as (typeof CLASSES)[1 | 2] | undefined;
  const order = kernel[5];
  if (layout === undefined || (order !== 1 && order !== 2) || kernel.length < layout.header)
    throw malformed(what, "it is no ELF file of a known class and byte order");
  const isLittle = order === 1;
  const found = sectionsOf(kernel, view, layout, isLittle, what);
  if (found === undefined) return { kind: "noSections" };
  const names = found[view.getUint16(layout.names, isLittle)];
  if (names?.type !== SHT_STRTAB) throw malformed(what, "its sections have no names");
  const [section, another] = found.filter(({ nameOffset }) => isNamed(names.bytes, nameOffset));
  if (section === undefined) return { kind: "none" };
  if (another !== undefined) throw malformed(what, `it has more than one section ${NAME}`);
  return rootIn(section, isLittle, what);
}

/** Undefined where there is no table of them. */
function sectionsOf(
  kernel: Uint8Array,
  view: DataView,
  layout: (typeof CLASSES)[1 | 2],
  isLittle: boolean,
  what: string,
): Section[] | undefined {
  const word = (at: number): number => {
    if (layout.word === 4) return view.getUint32(at, isLittle);
    const value = view.getBigUint64(at, isLittle);
    if (value > BigInt(kernel.length)) throw malformed(what, "its sections are not inside the file");
    return Number(value);
  };
  const [table, count] = [word(layout.table), view.getUint16(layout.count, isLittle)];
  if (table === 0 || count === 0) return undefined;
  if (count >= SHN_LORESERVE || view.getUint16(layout.entrySize, isLittle) !== layout.entry)
    throw malformed(what, "its section headers have a wrong size or number");
  if (table + count * layout.entry > kernel.length)
    throw malformed(what, "its section headers are not inside the file");
  return Array.from({ length: count }, (_, index) => {
    const at = table + index * layout.entry;
    const type = view.getUint32(at + 4, isLittle);
    const isRead = type === SHT_PROGBITS || type === SHT_STRTAB;
    const [start, size] = isRead ? [word(at + layout.offset), word(at + layout.size)] : [0, 0];
    if (start + size > kernel.length) throw malformed(what, `section ${index} is not inside the file`);
    return {
      nameOffset: view.getUint32(at, isLittle),
      type,
      bytes: kernel.subarray(start, start + size),
    };
  });
}

function isNamed(names: Uint8Array, at: number): boolean {
  return Buffer.from(names.subarray(at, at + NAME.length + 1)).toString("latin1") === `${NAME}\0`;
}

function rootIn({ type, bytes }: Section, isLittle: boolean, what: string): ModuleHashes {
  if (type !== SHT_PROGBITS || bytes.length !== ROOT_BYTES)
    throw malformed(what, `its section ${NAME} is not ${ROOT_BYTES} bytes long`);
  const levels = new DataView(bytes.buffer, bytes.byteOffset, ROOT_BYTES).getUint32(0, isLittle);
  if (levels > MOST_LEVELS) throw malformed(what, `its tree of modules has ${levels} levels`);
  return { kind: "root", levels, hash: bytes.subarray(4) };
}
