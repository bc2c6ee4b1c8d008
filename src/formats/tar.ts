/**
 * Headers of tar archives, as packages and archives of sources hold them: POSIX ustar and pax, and GNU's long names.
 * Source: POSIX's pax(1), "Extended Header"; GNU tar's manual, "Basic Tar Format". Bytes are hostile: what one reader
 * could take for another thing than the next reader does is refused.
 */
import { FarmError } from "../base/error.ts";

export const TAR_BLOCK_BYTES = 512;
/** The longest path of a system, and what else stands in an extended header, is a few kilobytes. */
const EXTENDED_LIMIT_BYTES = 64 * 1024;

/** What an archive can hold. Nothing follows the header of what is no file. */
export type EntryKind =
  | "file"
  | "directory"
  | "link"
  | "symlink"
  | "character-device"
  | "block-device"
  | "fifo";

/** What follows a header of the others is about the next entry (pax, GNU); that of "global" is about all to come. */
type TarKind = EntryKind | "extended" | "longName" | "longLink" | "global";

export interface TarHeader<Kind extends TarKind = TarKind> {
  readonly kind: Kind;
  /** As bytes: what they are in UTF-8, if anything, is the reader's to ask. */
  readonly name: Buffer;
  /** Where a link leads. */
  readonly linkName: Buffer;
  readonly mode: number;
  readonly size: number;
  /** In seconds; 0 for one that is before 1970, or none. */
  readonly mtime: number;
}

const KINDS: ReadonlyMap<string, TarKind> = new Map([
  ...["0", "\0", "7"].map((type) => [type, "file"] as const),
  ["1", "link"],
  ["2", "symlink"],
  ["3", "character-device"],
  ["4", "block-device"],
  ["5", "directory"],
  ["6", "fifo"],
  ["x", "extended"],
  ["g", "global"],
  ["L", "longName"],
  ["K", "longLink"],
]);
const ABOUT_OTHERS: readonly TarKind[] = ["extended", "longName", "longLink", "global"];

/** Whether a header is of an entry, and not about one. */
export function isEntry(header: TarHeader): header is TarHeader<EntryKind> {
  return !ABOUT_OTHERS.includes(header.kind);
}

/** undefined for the block of zeros that ends an archive. @throws FarmError PACKAGE_MALFORMED */
export function parseTarHeader(block: Buffer): TarHeader | undefined {
  if (block.length !== TAR_BLOCK_BYTES) throw malformedTar("a header is cut off");
  if (block.every((byte) => byte === 0)) return undefined;
  // Never as bytes, whatever its first bit says: other readers would go on to look for a header in the content.
  const isWhole = octal(block.toString("latin1", 148, 156)) === checksumOf(block);
  if (!isWhole) throw malformedTar("the checksum of a header does not fit");
  const type = String.fromCharCode(block[156] as number);
  const kind = KINDS.get(type);
  if (kind === undefined) throw malformedTar(`an entry is of the unknown type ${JSON.stringify(type)}`);
  const size = numberAt(block, 124, 12);
  const mode = isBlank(block.subarray(100, 108)) ? 0 : numberAt(block, 100, 8);
  const hasContent = kind === "file" || ABOUT_OTHERS.includes(kind);
  if (!hasContent && size !== 0) throw malformedTar("an entry that is no file has content");
  if (kind !== "file" && size > EXTENDED_LIMIT_BYTES) throw malformedTar("an entry's name has no end");
  const [name, prefix] = [textOf(block.subarray(0, 100)), textOf(block.subarray(345, 500))];
  const hasPrefix = block.toString("latin1", 257, 263) === "ustar\0" && prefix.length > 0;
  return {
    ...{ kind, size, mode, mtime: timeAt(block), linkName: textOf(block.subarray(157, 257)) },
    name: hasPrefix ? Buffer.concat([prefix, Buffer.from("/"), name]) : name,
  };
}

/** How many bytes fill what an entry has up to whole blocks. */
export function tarPadding(size: number): number {
  return (TAR_BLOCK_BYTES - (size % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** What is said of an entry by what comes before it. */
export interface Said {
  name?: Buffer;
  linkName?: Buffer;
  size?: number;
}

/** What a pax header says of the next entry, as far as it matters here; the last word counts. @throws FarmError PACKAGE_MALFORMED */
export function parseExtended(content: Buffer): Said {
  const found: Said = {};
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(" ", at);
    const digits = content.toString("latin1", at, Math.min(space, at + 8));
    const end = at + Number(digits);
    const equals = content.indexOf("=", space);
    const isWhole = /^[1-9]\d{0,6}$/.test(digits) && space > at && equals > space && equals < end;
    if (!isWhole || end > content.length || content[end - 1] !== 0x0a)
      throw malformedTar("an extended header cannot be read");
    const key = content.toString("latin1", space + 1, equals);
    addSaid(found, key, content.subarray(equals + 1, end - 1));
    at = end;
  }
  return found;
}

function addSaid(found: Said, key: string, value: Buffer): void {
  if (key.startsWith("GNU."))
    throw malformedTar("a file in it is sparse or continued from another archive, which no package needs");
  const field = key === "path" ? "name" : key === "linkpath" ? "linkName" : key === "size" ? key : undefined;
  if (field === undefined) return;
  if (field === "size") found.size = decimal(value.toString("latin1"));
  else if (value.length === 0 || value.includes(0)) throw malformedTar(`an extended header has no ${key}`);
  else found[field] = value;
}

/** A text up to the zero that ends it, if there is one. */
export function textOf(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

function decimal(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw malformedTar("a size is none");
  return Number(text);
}

/** Octal digits, or bytes where the first bit says so. */
function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] as number;
  if (first < 0x80) return octal(block.toString("latin1", at, at + length));
  const value = BigInt(`0x${block.toString("hex", at + 1, at + length)}`);
  if (first !== 0x80 || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw malformedTar("a number is beyond measure");
  return Number(value);
}

function timeAt(block: Buffer): number {
  const digits = /^ *([0-7]+)[\0 ]*$/.exec(block.toString("latin1", 136, 148))?.[1];
  return digits === undefined ? 0 : Math.min(Number.parseInt(digits, 8), 8 ** 11 - 1);
}

/** A field without digits is no zero to every reader. */
function octal(field: string): number {
  const digits = /^ *([0-7]+)[\0 ]*$/.exec(field)?.[1];
  if (digits === undefined) throw malformedTar("a number of a header is none");
  return Number.parseInt(digits, 8);
}

function isBlank(field: Buffer): boolean {
  return field.every((byte) => byte === 0 || byte === 0x20);
}

/** The sum of the header's bytes, with spaces in place of itself. */
function checksumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < TAR_BLOCK_BYTES; at++) if (at < 148 || at >= 156) sum += block[at] as number;
  return sum;
}

/** Of an archive that cannot be read, or not by everybody in the same way. */
export function malformedTar(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `a tar archive cannot be read: ${fact}` });
}
