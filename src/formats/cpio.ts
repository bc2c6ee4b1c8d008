/**
 * cpio archives of the kind "newc". Written: from them the kernel fills its initramfs, and the same entries give the
 * same bytes. Read: the headers of rpm payloads. Source: the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst; rpm's lib/rpmcpio.c for its own short headers.
 */
import { FarmError } from "../base/error.ts";

export interface CpioEntry {
  /** Relative, without `.` or `..`: `lib/modules/dummy.ko`. */
  readonly path: string;
  /** File type and permissions, as stat(2) has them: 0o100644 is a file, 0o120777 a link. */
  readonly mode: number;
  /** What is in a file, or where a symbolic link leads. */
  readonly content?: Uint8Array | string;
  /** Which device a device node stands for. */
  readonly rdev?: { readonly major: number; readonly minor: number };
}

const TYPE_MASK = 0o170000;
const DIRECTORY = 0o040000;
const WITH_CONTENT: readonly number[] = [0o100000, 0o120000];
const DEVICES: readonly number[] = [0o020000, 0o060000];
const FIFO_AND_SOCKET: readonly number[] = [0o010000, 0o140000];
const TRAILER = "TRAILER!!!";
/** cpio(1) reads whole blocks. */
const BLOCK_BYTES = 512;

/**
 * An archive of the entries in their order, each parent directory once before what is inside it.
 * @throws FarmError BUG when an entry makes no sense: our own code names them
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  const modes = new Map<string, number>();
  const add = (entry: CpioEntry) => {
    if (modes.has(entry.path)) throw senseless(entry, "is given twice, or after what is inside it");
    modes.set(entry.path, entry.mode);
    parts.push(...record(entry, modes.size));
  };
  for (const entry of entries) {
    check(entry);
    for (const parent of parentsOf(entry.path)) {
      const mode = modes.get(parent);
      if (mode === undefined) add({ path: parent, mode: DIRECTORY | 0o755 });
      else if (typeOf(mode) !== DIRECTORY)
        throw senseless(entry, `is in ${parent}, which is not a directory`);
    }
    add(entry);
  }
  parts.push(...record({ path: TRAILER, mode: 0 }, 0));
  const archive = Buffer.concat(parts);
  return Buffer.concat([archive, zeros(archive.length, BLOCK_BYTES)]);
}

/** Header and name, content, each filled up to a multiple of four. */
function record({ path, mode, content, rdev }: CpioEntry, inode: number): Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const data = Buffer.from(content ?? "");
  const links = typeOf(mode) === DIRECTORY ? 2 : 1;
  const [owner, group, modified, major, minor, checksum] = [0, 0, 0, 0, 0, 0];
  const fields = [inode, mode, owner, group, links, modified, data.length, major, minor];
  fields.push(rdev?.major ?? 0, rdev?.minor ?? 0, name.length, checksum);
  const header = Buffer.from(`070701${fields.map(hexadecimal).join("")}`);
  return [header, name, zeros(header.length + name.length, 4), data, zeros(data.length, 4)];
}

function check(entry: CpioEntry): void {
  const { path, mode, content, rdev } = entry;
  const segments = path.split("/");
  if (path.includes("\0") || path === TRAILER || segments.some((name) => ["", ".", ".."].includes(name))) {
    throw senseless(entry, "is not a path of an archive");
  }
  const type = typeOf(mode);
  if (![DIRECTORY, ...WITH_CONTENT, ...DEVICES, ...FIFO_AND_SOCKET].includes(type) || mode > 0o177777) {
    throw senseless(entry, `has the mode ${mode.toString(8)}, which is not a file type`);
  }
  if (content !== undefined && !WITH_CONTENT.includes(type)) throw senseless(entry, "cannot have content");
  if ((rdev !== undefined) !== DEVICES.includes(type)) {
    throw senseless(entry, "must have a device number, or must not");
  }
}

function parentsOf(path: string): string[] {
  const segments = path.split("/");
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join("/"));
}

function typeOf(mode: number): number {
  return mode & TYPE_MASK;
}

function hexadecimal(value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw new FarmError("BUG", { detail: `${value} does not fit a field of a cpio archive` });
  }
  return value.toString(16).toUpperCase().padStart(8, "0");
}

function zeros(length: number, multiple: number): Buffer {
  return Buffer.alloc((multiple - (length % multiple)) % multiple);
}

function senseless(entry: CpioEntry, fact: string): FarmError {
  return new FarmError("BUG", { detail: `the archive's entry ${JSON.stringify(entry.path)} ${fact}` });
}

export const CPIO_MAGIC_BYTES = 6;
/** What follows the magic. */
export const CPIO_HEADER_BYTES = 104;
/** What follows the magic of a header that only tells the number of its file. */
export const CPIO_SHORT_HEADER_BYTES = 8;

export type CpioMagic = "whole" | "short";

/** Which kind of header a magic begins. @throws FarmError PACKAGE_MALFORMED */
export function cpioMagic(magic: Buffer): CpioMagic {
  const text = magic.toString("latin1");
  if (text === "070701" || text === "070702") return "whole";
  if (text === "07070X") return "short";
  throw damaged("an entry does not begin like one");
}

export interface CpioHeader {
  readonly mode: number;
  readonly size: number;
  /** Length of the name that follows, its zero included. */
  readonly nameBytes: number;
}

/** @throws FarmError PACKAGE_MALFORMED */
export function parseCpioHeader(header: Buffer): CpioHeader {
  const field = (index: number) => hexadecimalAt(header, index * 8);
  const [mode, size, nameBytes] = [field(1), field(6), field(11)];
  if (nameBytes < 1 || nameBytes > NAME_LIMIT_BYTES)
    throw damaged("the name of an entry has a senseless length");
  return { mode, size, nameBytes };
}

/** The number of a file in its package's header. @throws FarmError PACKAGE_MALFORMED */
export function parseCpioShortHeader(header: Buffer): number {
  return hexadecimalAt(header, 0);
}

/** How many bytes fill something up to a multiple of four. */
export function cpioPadding(length: number): number {
  return (4 - (length % 4)) % 4;
}

export function isCpioTrailer(name: string): boolean {
  return name === TRAILER;
}

const NAME_LIMIT_BYTES = 4096;

function hexadecimalAt(header: Buffer, at: number): number {
  const text = header.toString("latin1", at, at + 8);
  if (!/^[0-9a-fA-F]{8}$/.test(text)) throw damaged("a number of an entry is none");
  return Number.parseInt(text, 16);
}

function damaged(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `a cpio archive is damaged: ${fact}` });
}
