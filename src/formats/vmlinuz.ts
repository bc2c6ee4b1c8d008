/**
 * Reads what a boot image tells of its kernel: the words it greets with and the certificates it trusts modules by.
 * Source: the kernel's Documentation/arch/x86/boot.rst and arch/arm64/booting.rst, its EFI zboot header
 * (drivers/firmware/efi/libstub/zboot-header.S), and certs/system_certificates.S for the list's layout.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import type { UnpackWhole } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import { DER } from "./der.ts";
import { type ModuleHashes, readModuleHashes } from "./module-hashes-root.ts";

export interface Vmlinuz {
  /** `Linux version 6.1.0-56-amd64 (…) (gcc-12 …) #1 SMP …`, without its line end. */
  readonly banner: string;
  /** DER of each certificate built into it; the kernel's own key for its modules comes first, if it has one. */
  readonly certificates: readonly Uint8Array[];
  /** Whether the first of them is the key that signed its own modules. */
  readonly hasModuleKey: boolean;
  /** Whether it holds a root of its modules, by which it knows those that were built with it. */
  readonly moduleHashes: ModuleHashes;
}

/** Three times what Debian's largest has. */
const MAX_KERNEL_BYTES = 256 * 1024 * 1024;
const MAX_BANNER_BYTES = 1024;

/**
 * `what` names the file in errors; `unpack` is for xz and lz4, which Node cannot undo itself.
 * @throws FarmError MODULE_MALFORMED for what is no boot image of a kernel; what `unpack` throws without its programs
 */
export async function readVmlinuz(bytes: Uint8Array, what: string, unpack: UnpackWhole): Promise<Vmlinuz> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kernel = await unpackKernel(file, what, unpack);
  const banner = bannerOf(kernel);
  if (banner === undefined) throw bad(what, "it greets with no kernel's words");
  return { banner, ...findCertificates(kernel, what), moduleHashes: readModuleHashes(kernel, what) };
}

/**
 * The words alone. On x86 they also stand outside of what is compressed, at an offset that the header has, without their
 * beginning. Undefined for what has none, or cannot be unpacked.
 */
export async function readBanner(
  bytes: Uint8Array,
  what: string,
  unpack: UnpackWhole,
): Promise<string | undefined> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length >= 0x250 && file.toString("latin1", 0x202, 0x206) === "HdrS") {
    const at = file.readUInt16LE(0x20e) + 0x200;
    const [words = ""] = file.toString("latin1", at, at + MAX_BANNER_BYTES).split("\0", 1);
    return `Linux version ${words}`;
  }
  try {
    return bannerOf(await unpackKernel(file, what, unpack));
  } catch (thrown) {
    if (!(thrown instanceof FarmError)) throw thrown;
    return bannerOf(file);
  }
}

/**
 * The kernel proper: what a boot loader would let loose. On x86 it is the ELF file `vmlinux`, which is taken as it is too.
 * @throws FarmError MODULE_MALFORMED; what `unpack` throws without its programs
 */
export async function unpackKernel(file: Buffer, what: string, unpack: UnpackWhole): Promise<Buffer> {
  if (file.toString("latin1", 0, 4) === "\x7fELF") return file;
  if (file.length >= 0x250 && file.toString("latin1", 0x202, 0x206) === "HdrS") {
    const start = (file.readUInt8(0x1f1) + 1) * 512 + file.readUInt32LE(0x248);
    return decompress(partOf(file, start, file.readUInt32LE(0x24c), what), what, unpack);
  }
  if (file.length >= 0x40 && file.toString("latin1", 4, 8) === "zimg")
    return decompress(partOf(file, file.readUInt32LE(8), file.readUInt32LE(12), what), what, unpack);
  // On arm64 the image may be compressed as a whole, or not at all.
  if (file.length >= 0x40 && file.toString("latin1", 0x38, 0x3c) === "ARM\x64") return file;
  return decompress(file, what, unpack);
}

function partOf(file: Buffer, start: number, length: number, what: string): Buffer {
  if (length < 8 || start + length > file.length) throw bad(what, "its kernel is not inside the file");
  return file.subarray(start, start + length);
}

/** Behind all but gzip stands the kernel's size, in four bytes that are not the compressor's. */
async function decompress(payload: Buffer, what: string, unpack: UnpackWhole): Promise<Buffer> {
  const [magic, rest] = [payload.toString("hex", 0, 6), payload.subarray(0, -4)];
  try {
    if (magic.startsWith("1f8b08")) return gunzipSync(payload, { maxOutputLength: MAX_KERNEL_BYTES });
    if (magic.startsWith("28b52ffd")) return zstdDecompressSync(rest, { maxOutputLength: MAX_KERNEL_BYTES });
    if (magic === "fd377a585a00") return await unpack(rest, "xz", MAX_KERNEL_BYTES);
    if (magic.startsWith("02214c18")) return await unpack(rest, "lz4", MAX_KERNEL_BYTES);
  } catch (cause) {
    throw cause instanceof FarmError ? cause : bad(what, "its kernel cannot be decompressed", cause);
  }
  throw bad(what, "it is not a boot image, or its kernel is compressed in an unsupported format");
}

/** Kernels have two at most. */
const MOST_BANNERS = 16;

/**
 * Kernels since 6.1 also hold the draft that they were linked with first (init/version.c), in which the build has no number
 * yet: `# SMP …`. It is never printed.
 */
function bannerOf(kernel: Buffer): string | undefined {
  const found: string[] = [];
  // A format of the same beginning stands nearby: `Linux version %s (…)`.
  for (let at = kernel.indexOf("Linux version "); at !== -1; at = kernel.indexOf("Linux version ", at + 1)) {
    if (!isDigit(kernel[at + 14])) continue;
    const line = /^Linux version \d[^\n\0]*/.exec(kernel.toString("latin1", at, at + MAX_BANNER_BYTES))?.[0];
    if (line !== undefined) found.push(line);
    if (found.length === MOST_BANNERS) break;
  }
  return found.find((line) => !line.includes(") # ")) ?? found[0];
}

/** `uname -v`, which stands behind who compiled it with what; undefined where the words could be cut in two ways. */
export function versionInBanner(banner: string): string | undefined {
  const places = [...banner.matchAll(/\) (?=#\d)/g)];
  const [place] = places;
  return place === undefined || places.length > 1 ? undefined : banner.slice(place.index + 2);
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** A DER sequence of more than 255 bytes that begins with another one: how every certificate begins. */
const CERTIFICATE = Buffer.from([DER.sequence, 0x82]);
const LEAST_CERTIFICATE_BYTES = 256;
/** What `.align 8` is to the assembler of x86_64, and to that of arm64. */
const ALIGNMENTS = [8, 256];
/** Places where one could begin: Debian's kernels have some thousand, and fewer than ten certificates. */
const MOST_PLACES = 100_000;
const MOST_CERTIFICATES = 1000;

/**
 * The built-in certificates: one behind the other, then, each aligned, the length of all and that of the kernel's own.
 * The image has no names of them left; that all these numbers fit tells the list from anything else. Each place is
 * looked at once: where a run of certificates that begins there ends, the place behind the first of them knows.
 */
function findCertificates(kernel: Buffer, what: string): Pick<Vmlinuz, "certificates" | "hasModuleKey"> {
  const places = placesOf(kernel, what);
  const ends = new Map<number, number>();
  for (const { at, end } of places.toReversed()) ends.set(at, ends.get(end) ?? end);
  const lists = places.flatMap(({ at }) => {
    const end = ends.get(at) as number;
    const own = ALIGNMENTS.map((alignment) => ownLength(kernel, at, end, alignment));
    const found = own.find((length) => length !== undefined);
    return found === undefined ? [] : [{ at, end, own: found }];
  });
  for (const { at, end, own } of lists) {
    const certificates = certificatesOf(kernel, at, end);
    if (certificates === undefined) continue;
    const isOwn = own === certificates[0]?.length;
    if (isOwn || own === 0) return { certificates, hasModuleKey: isOwn };
  }
  return { certificates: [], hasModuleKey: false };
}

interface Span {
  readonly at: number;
  readonly end: number;
}

/** Where something stands that could be a certificate. @throws FarmError MODULE_MALFORMED for endlessly many */
function placesOf(kernel: Buffer, what: string): Span[] {
  const places: Span[] = [];
  let looks = 0;
  for (let at = kernel.indexOf(CERTIFICATE); at !== -1; at = kernel.indexOf(CERTIFICATE, at + 1)) {
    if (++looks > MOST_PLACES) throw bad(what, "it has more of what looks like certificates than any");
    if (at + 6 > kernel.length || kernel[at + 4] !== DER.sequence) continue;
    const length = kernel.readUInt16BE(at + 2);
    const end = at + 4 + length;
    if (length < LEAST_CERTIFICATE_BYTES || end > kernel.length) continue;
    places.push({ at, end });
  }
  return places;
}

/** The length that stands behind a list as its first certificate's; undefined where the list's own does not fit. */
function ownLength(kernel: Buffer, at: number, end: number, alignment: number): number | undefined {
  const sizes = aligned(end, alignment);
  if (at % alignment !== 0 || numberAt(kernel, sizes) !== BigInt(end - at)) return undefined;
  const own = numberAt(kernel, aligned(sizes + 8, alignment));
  return own === undefined || own > BigInt(end - at) ? undefined : Number(own);
}

function certificatesOf(kernel: Buffer, from: number, end: number): Buffer[] | undefined {
  const certificates: Buffer[] = [];
  for (let at = from; at < end; at += certificates.at(-1)?.length ?? 0) {
    if (certificates.length >= MOST_CERTIFICATES) return undefined;
    certificates.push(kernel.subarray(at, at + 4 + kernel.readUInt16BE(at + 2)));
  }
  return certificates;
}

function aligned(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}

function numberAt(kernel: Buffer, at: number): bigint | undefined {
  return at + 8 > kernel.length ? undefined : kernel.readBigUInt64LE(at);
}

function bad(what: string, fact: string, cause?: unknown): FarmError {
  return new FarmError("MODULE_MALFORMED", { detail: `${what}: ${fact}`, at: { file: what }, cause });
}
