/**
 * Opens modules that are compressed on disk (`.ko.gz`, `.ko.xz`, `.ko.zst`). The kernel, kmod and command lines read
 * what follows the first stream each in their own way, so that one file could be several modules: only what is exactly
 * one stream, and nothing else, is opened. Sources: RFC 1952, RFC 8878, the .xz file format 1.2.1.
 */
import { crc32, inflateRawSync, zstdDecompressSync } from "node:zlib";
import type { Unpack, UnpackWhole } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import { malformed } from "./elf.ts";

/** A dozen times the largest module of Debian; bombs unpack to more. */
const LIMIT_BYTES = 128 * 1024 * 1024;

/** How a file is compressed, by its first bytes: the ending that it should have. */
export function packingOf(bytes: Buffer): Packing | undefined {
  const magic = bytes.toString("hex", 0, 6);
  if (magic.startsWith("1f8b")) return "gz";
  if (magic.startsWith("28b52ffd")) return "zst";
  return magic === "fd377a585a00" ? "xz" : undefined;
}

export type Packing = "gz" | "zst" | "xz";

export interface Packed {
  readonly packing: Packing;
  readonly bytes: Buffer;
}

/**
 * The module's bytes; a file that begins like none of the three is returned as it is. `what` names it in errors;
 * `unpack` is for xz, which Node cannot undo itself.
 * @throws FarmError MODULE_MALFORMED; what `unpack` throws without xz
 */
export async function openModule(bytes: Buffer, what: string, unpack: UnpackWhole): Promise<Buffer> {
  const packing = packingOf(bytes);
  if (packing === undefined) return bytes;
  try {
    switch (packing) {
      case "gz":
        return openedOnce(openGzip(bytes, what), what);
      case "zst":
        return openedOnce(openZstd(bytes, what), what);
      case "xz":
        return openedOnce(await openXz(bytes, what, unpack), what);
    }
  } catch (thrown) {
    if (thrown instanceof FarmError) throw thrown;
    const isTooMuch = thrown instanceof RangeError;
    throw malformed(
      what,
      isTooMuch ? `it unpacks to more than ${LIMIT_BYTES} bytes` : "it cannot be decompressed",
    );
  }
}

/** More than that in one go would only take memory. */
const BATCH_BYTES = 64 * 1024 * 1024;

export interface PackedFile {
  readonly bytes: Buffer;
  /** Names it in errors. */
  readonly what: string;
}

/** One of many files: its place among them, and its bytes or what is wrong with it. */
export type OpenedModule = readonly [index: number, plain: Buffer | FarmError];

/**
 * Many files, as `openModule`, in no particular order, each good until the next is asked for; what is wrong with one stands
 * in its place. Bytes that are not in xz are not looked at any more once the next file is taken. Those in xz share a program: to start one costs more than a module. However many there are, and whatever
 * they unpack to, no more of it is held at one time than one module or one batch.
 * @throws what `unpack` throws without xz
 */
export async function* openedModules(
  files: Iterable<PackedFile>,
  unpack: Unpack,
): AsyncGenerator<OpenedModule, void, undefined> {
  let [batch, size]: [InBatch[], number] = [[], 0];
  let next = 0;
  for (const file of files) {
    const index = next++;
    const stream = packingOf(file.bytes) === "xz" ? readXzFooter(file.bytes) : undefined;
    if (stream === undefined || stream.streamBytes !== file.bytes.length || stream.plainBytes > BATCH_BYTES) {
      yield [index, await openedOrFault(file, unpack.whole)];
      continue;
    }
    if (size + stream.plainBytes > BATCH_BYTES) {
      yield* openBatch(batch, unpack);
      [batch, size] = [[], 0];
    }
    batch.push({ index, file, plainBytes: stream.plainBytes });
    size += stream.plainBytes;
  }
  if (batch.length > 0) yield* openBatch(batch, unpack);
}

/** All of them at once, for callers that know that there is little. */
export async function openModules(
  files: readonly PackedFile[],
  unpack: Unpack,
): Promise<(Buffer | FarmError)[]> {
  const opened: (Buffer | FarmError)[] = [];
  for await (const [index, plain] of openedModules(files, unpack))
    opened[index] = plain instanceof FarmError ? plain : Buffer.from(plain);
  return opened;
}

interface InBatch {
  readonly index: number;
  readonly file: PackedFile;
  readonly plainBytes: number;
}

async function* openBatch(
  batch: readonly InBatch[],
  unpack: Unpack,
): AsyncGenerator<OpenedModule, void, undefined> {
  const packed = Buffer.concat(batch.map(({ file }) => file.bytes));
  const parts = unpack.parts(
    packed,
    "xz",
    batch.map(({ plainBytes }) => plainBytes),
  );
  let opened = 0;
  try {
    for await (const part of parts) {
      const { index, file } = batch[opened++] as InBatch;
      yield [index, packingOf(part) === undefined ? part : await openedOrFault(file, unpack.whole)];
    }
  } catch (thrown) {
    if (thrown instanceof FarmError) throw thrown;
    // One is damaged: each is opened for itself.
    for (const { index, file } of batch.slice(opened)) yield [index, await openedOrFault(file, unpack.whole)];
  }
}

async function openedOrFault({ bytes, what }: PackedFile, unpack: UnpackWhole): Promise<Buffer | FarmError> {
  try {
    return await openModule(bytes, what, unpack);
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED") return thrown;
    throw thrown;
  }
}

/** A second layer is never opened: it would hide what is in it. */
function openedOnce(plain: Buffer, what: string): Buffer {
  if (packingOf(plain) !== undefined) throw malformed(what, "it is compressed twice");
  return plain;
}

function openGzip(bytes: Buffer, what: string): Buffer {
  const [method, flags = 0] = [bytes[2], bytes[3]];
  // `gzip -n` writes neither a name nor a comment; other programs keep them short.
  if (method !== 8 || (flags & 0xe0) !== 0) throw malformed(what, "it is no gzip file that we know");
  let start = 10;
  if ((flags & 4) !== 0) start += 2 + bytes.readUInt16LE(start);
  for (const flag of [8, 16]) if ((flags & flag) !== 0) start = bytes.indexOf(0, start) + 1 || bytes.length;
  if ((flags & 2) !== 0) start += 2;
  const options = { maxOutputLength: LIMIT_BYTES, info: true };
  // With `info` it also tells how far it read, which its type does not know.
  const { buffer, engine } = inflateRawSync(bytes.subarray(start), options) as unknown as {
    readonly buffer: Buffer;
    readonly engine: { readonly bytesWritten: number };
  };
  const end = start + engine.bytesWritten;
  if (end + 8 !== bytes.length) throw malformed(what, "it is not one gzip member and nothing else");
  if (bytes.readUInt32LE(end) !== crc32(buffer) || bytes.readUInt32LE(end + 4) !== buffer.length)
    throw malformed(what, "its gzip checksum does not fit");
  return buffer;
}

function openZstd(bytes: Buffer, what: string): Buffer {
  if (endOfZstdFrame(bytes, what) !== bytes.length)
    throw malformed(what, "it is not one zstd frame and nothing else");
  return zstdDecompressSync(bytes, { maxOutputLength: LIMIT_BYTES });
}

/** Where the first frame ends: header, blocks, checksum. */
function endOfZstdFrame(bytes: Buffer, what: string): number {
  const descriptor = bytes.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  // kmod opens no frame that does not say how much it holds.
  if (sizeBytes === 0) throw malformed(what, "its zstd frame does not say how long its content is");
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  let at = 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes;
  for (let isLast = false; !isLast; ) {
    const header = bytes.readUIntLE(at, 3);
    const kind = (header >> 1) & 3;
    isLast = (header & 1) === 1;
    // A block of one repeated byte has only that byte, whatever its size.
    at += 3 + (kind === 1 ? 1 : header >> 3);
  }
  return at + ((descriptor & 4) !== 0 ? 4 : 0);
}

async function openXz(bytes: Buffer, what: string, unpack: UnpackWhole): Promise<Buffer> {
  if (readXzFooter(bytes)?.streamBytes !== bytes.length)
    throw malformed(what, "it is not one xz stream and nothing else");
  return unpack(bytes, "xz", LIMIT_BYTES);
}

const XZ_HEADER_BYTES = 12;

interface XzStream {
  /** Header, blocks, index, footer. */
  readonly streamBytes: number;
  /** What it unpacks to. */
  readonly plainBytes: number;
}

/** What the footer at the end of the file, and the index before it, say of its stream; xz holds them to it. */
function readXzFooter(bytes: Buffer): XzStream | undefined {
  const footer = bytes.length - XZ_HEADER_BYTES;
  if (footer < XZ_HEADER_BYTES || bytes.toString("latin1", footer + 10) !== "YZ") return undefined;
  const indexBytes = (bytes.readUInt32LE(footer + 4) + 1) * 4;
  let at = footer - indexBytes;
  if (at < XZ_HEADER_BYTES || bytes[at] !== 0) return undefined;
  const number = () => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = bytes.readUInt8(++at);
      value += (byte & 0x7f) * factor;
      factor *= 128;
      if (byte < 0x80 || !Number.isSafeInteger(value)) return value;
    }
  };
  let [streamBytes, plainBytes] = [XZ_HEADER_BYTES + indexBytes + XZ_HEADER_BYTES, 0];
  for (let records = number(); records > 0 && at < footer; records--) {
    streamBytes += Math.ceil(number() / 4) * 4;
    plainBytes += number();
  }
  return { streamBytes, plainBytes };
}
