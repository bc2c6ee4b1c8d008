/**
 * Opens modules that are compressed on disk (`.ko.gz`, `.ko.xz`, `.ko.zst`). The kernel, kmod and command lines read
 * what follows the first stream each in their own way, so that one file could be several modules: only what is exactly
 * one stream, and nothing else, is opened. Sources: RFC 1952, RFC 8878, the .xz file format 1.2.1.
 */
import { crc32, inflateRawSync, zstdDecompressSync } from "node:zlib";
import type { UnpackWhole } from "../base/decompress.ts";
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

/**
 * Many files, as `openModule`; what is wrong with one stands in its place. Those in xz share a program: to start one
 * costs more than a module.
 * @throws what `unpack` throws without xz
 */
export async function openModules(
  files: readonly { readonly bytes: Buffer; readonly what: string }[],
  unpack: UnpackWhole,
): Promise<(Buffer | FarmError)[]> {
  const opened: (Buffer | FarmError | undefined)[] = files.map(() => undefined);
  let [batch, size] = [[], 0] as [{ readonly index: number; readonly plainBytes: number }[], number];
  const openBatch = async () => {
    const packed = batch.map(({ index }) => (files[index] as (typeof files)[number]).bytes);
    // If one is damaged, each is opened for itself.
    const plain = await unpack(Buffer.concat(packed), "xz", size).catch(() => Buffer.alloc(0));
    let at = plain.length === size ? 0 : Number.NaN;
    for (const { index, plainBytes } of batch) {
      const part = plain.subarray(at, at + plainBytes);
      if (!Number.isNaN(at) && packingOf(part) === undefined) opened[index] = part;
      at += plainBytes;
    }
    [batch, size] = [[], 0];
  };
  for (const [index, { bytes }] of files.entries()) {
    const stream = packingOf(bytes) === "xz" ? readXzFooter(bytes) : undefined;
    if (stream === undefined || stream.streamBytes !== bytes.length || stream.plainBytes > BATCH_BYTES)
      continue;
    batch.push({ index, plainBytes: stream.plainBytes });
    size += stream.plainBytes;
    if (size > BATCH_BYTES) await openBatch();
  }
  if (batch.length > 0) await openBatch();
  for (const [index, { bytes, what }] of files.entries()) {
    opened[index] ??= await openModule(bytes, what, unpack).catch((thrown) => {
      if (thrown instanceof FarmError && thrown.code === "MODULE_MALFORMED") return thrown;
      throw thrown;
    });
  }
  return opened as (Buffer | FarmError)[];
}

/** Nobody opens a second layer: it would hide what is in it. */
function openedOnce(plain: Buffer, what: string): Buffer {
  if (packingOf(plain) !== undefined) throw malformed(what, "it is compressed twice");
  return plain;
}

function openGzip(bytes: Buffer, what: string): Buffer {
  const [method, flags = 0] = [bytes[2], bytes[3]];
  // `gzip -n` writes neither name nor comment; whoever does keeps them short.
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
