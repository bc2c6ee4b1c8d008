/**
 * Headers of tar archives, as Debian packages hold them: POSIX ustar and pax, and GNU's long names. Source: POSIX's
 * pax(1), "Extended Header"; GNU tar's manual, "Basic Tar Format". Bytes are hostile: what one reader could take for
 * another thing than the next reader does is refused.
 */
import { FarmError } from "../base/error.ts";

export const TAR_BLOCK_BYTES = 512;
/** The longest path of a system, and what else stands in an extended header, is a few kilobytes. */
const EXTENDED_LIMIT_BYTES = 64 * 1024;

type TarKind =
  | "file"
  /** Directories, links, devices: nothing follows their header. */
  | "bare"
  /** What follows is about the next entry (pax, GNU). */
  | "extended"
  | "longName"
  | "longLink"
  /** What follows is about all that come after it. */
  | "global";

export interface TarHeader {
  readonly kind: TarKind;
  /** As bytes: what they are in UTF-8, if anything, is the reader's to ask. */
  readonly name: Buffer;
  readonly size: number;
}

const KINDS: ReadonlyMap<string, TarKind> = new Map([
  ...["0", "\0", "7"].map((type) => [type, "file"] as const),
  ...["1", "2", "3", "4", "5", "6"].map((type) => [type, "bare"] as const),
  ["x", "extended"],
  ["g", "global"],
  ["L", "longName"],
  ["K", "longLink"],
]);

/** undefined for the block of zeros that ends an archive. @throws FarmError PACKAGE_MALFORMED */
export function parseTarHeader(block: Buffer): TarHeader | undefined {
  if (block.length !== TAR_BLOCK_BYTES) throw malformed("a header is cut off");
  if (block.every((byte) => byte === 0)) return undefined;
  if (numberAt(block, 148, 8) !== checksumOf(block)) throw malformed("the checksum of a header does not fit");
  const type = String.fromCharCode(block[156] as number);
  const kind = KINDS.get(type);
  if (kind === undefined) throw malformed(`an entry is of the unknown type ${JSON.stringify(type)}`);
  const size = numberAt(block, 124, 12);
  if (kind === "bare" && size !== 0) throw malformed("an entry that is no file has content");
  if (kind !== "file" && size > EXTENDED_LIMIT_BYTES) throw malformed("an entry's name has no end");
  const [name, prefix] = [textOf(block.subarray(0, 100)), textOf(block.subarray(345, 500))];
  const hasPrefix = block.toString("latin1", 257, 263) === "ustar\0" && prefix.length > 0;
  return { kind, size, name: hasPrefix ? Buffer.concat([prefix, Buffer.from("/"), name]) : name };
}

/** How many bytes fill what an entry has up to whole blocks. */
export function tarPadding(size: number): number {
  return (TAR_BLOCK_BYTES - (size % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** What a pax header says of the next entry, as far as it matters here. @throws FarmError PACKAGE_MALFORMED */
export function parseExtended(content: Buffer): { readonly name?: Buffer; readonly size?: number } {
  const found: { name?: Buffer; size?: number } = {};
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(" ", at);
    const digits = content.toString("latin1", at, Math.min(space, at + 8));
    const end = at + Number(digits);
    const equals = content.indexOf("=", space);
    const isWhole = /^[1-9]\d{0,6}$/.test(digits) && space > at && equals > space && equals < end;
    if (!isWhole || end > content.length || content[end - 1] !== 0x0a)
      throw malformed("an extended header cannot be read");
    const [key, value] = [
      content.toString("latin1", space + 1, equals),
      content.subarray(equals + 1, end - 1),
    ];
    if (key === "path") found.name = value;
    if (key === "size") found.size = decimal(value.toString("latin1"));
    if (key.startsWith("GNU.sparse.")) throw malformed("a file in it has holes, which no package's has");
    at = end;
  }
  return found;
}

/** A text up to the zero that ends it, if there is one. */
export function textOf(field: Buffer): Buffer {
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

function decimal(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw malformed("a size is none");
  return Number(text);
}

/** Octal digits, or bytes where the first bit says so. */
function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] as number;
  if (first >= 0x80) {
    const value = BigInt(`0x${block.toString("hex", at + 1, at + length)}`);
    if (first !== 0x80 || value > BigInt(Number.MAX_SAFE_INTEGER))
      throw malformed("a number is beyond measure");
    return Number(value);
  }
  const text = block
    .toString("latin1", at, at + length)
    .replace(/[\0 ]+$/, "")
    .trimStart();
  if (!/^[0-7]*$/.test(text)) throw malformed("a number of a header is none");
  return text === "" ? 0 : Number.parseInt(text, 8);
}

/** The sum of the header's bytes, with spaces in place of itself. */
function checksumOf(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < TAR_BLOCK_BYTES; at++) if (at < 148 || at >= 156) sum += block[at] as number;
  return sum;
}

function malformed(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `a package cannot be read: its archive: ${fact}` });
}
