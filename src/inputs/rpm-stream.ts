/**
 * Single files out of an rpm package while it is being fetched, without keeping the package.
 */
import { Readable } from "node:stream";
import { type Compression, startDecompressor } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import {
  CPIO_HEADER_BYTES,
  CPIO_MAGIC_BYTES,
  CPIO_SHORT_HEADER_BYTES,
  cpioMagic,
  cpioPadding,
  isCpioTrailer,
  parseCpioHeader,
  parseCpioShortHeader,
} from "../formats/cpio.ts";
import {
  checkRpmLead,
  RPM_HEADER_INTRO_BYTES,
  RPM_LEAD_BYTES,
  type RpmFile,
  type RpmHeader,
  readRpmHeader,
  rpmHeaderBytes,
} from "../formats/rpm.ts";
import {
  ByteReader,
  type Keeping,
  KeptFiles,
  malformed,
  type PackageFile,
  packagePath,
  UNPACKED_LIMIT_BYTES,
} from "./byte-reader.ts";

/** What a header calls the payload's compression. What is not compressed at all says gzip too. */
const COMPRESSORS: ReadonlyMap<string, Compression> = new Map([
  ["gzip", "gz"],
  ["xz", "xz"],
  ["lzma", "lzma"],
  ["zstd", "zst"],
]);

const FILE_TYPE = { mask: 0o170000, plain: 0o100000, link: 0o120000 } as const;

/**
 * Reads the files of a package that `isWanted` names, until `isEnough` says so. The rest of `body` is left
 * unread, not closed: its digest may still be wanted.
 * @throws FarmError PACKAGE_MALFORMED
 */
export async function readRpmFiles(
  body: Readable,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const reader = ByteReader.of(body);
  try {
    const header = await readFront(reader);
    return await readPayload(reader, header, isWanted, isEnough, keeping);
  } finally {
    await reader.close();
  }
}

/** Lead, signatures, and the header that tells of the payload. */
async function readFront(reader: ByteReader): Promise<RpmHeader> {
  checkRpmLead(await reader.take(RPM_LEAD_BYTES));
  const signatures = rpmHeaderBytes(await reader.take(RPM_HEADER_INTRO_BYTES));
  await reader.skip(signatures.bytes + ((8 - (signatures.bytes % 8)) % 8));
  const { entries, bytes } = rpmHeaderBytes(await reader.take(RPM_HEADER_INTRO_BYTES));
  return readRpmHeader(entries, await reader.take(bytes));
}

async function readPayload(
  reader: ByteReader,
  { compressor, files }: RpmHeader,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const compression = COMPRESSORS.get(compressor);
  if (compression === undefined)
    throw malformed(`the compression ${JSON.stringify(compressor.slice(0, 40))} is not supported`);
  const decompressor = startDecompressor(compression);
  const source = Readable.from(reader.passAll());
  const faults: unknown[] = [];
  source.on("error", (fault) => {
    faults.push(fault);
    decompressor.stop();
  });
  source.pipe(decompressor.stdin);
  try {
    return await readEntries(
      ByteReader.of(decompressor.stdout, UNPACKED_LIMIT_BYTES),
      files,
      isWanted,
      isEnough,
      keeping,
    );
  } catch (thrown) {
    throw faults[0] ?? (thrown instanceof FarmError ? thrown : malformed("its payload is damaged"));
  } finally {
    source.destroy();
    decompressor.stop();
  }
}

async function readEntries(
  reader: ByteReader,
  files: readonly RpmFile[],
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const kept = new KeptFiles(keeping);
  const seen = new Set<number>();
  for (let entries = 0; ; entries++) {
    // Each file of the header is there once, at most.
    if (entries > files.length) throw malformed("its payload has more files than its header");
    const entry = await nextEntry(reader, files, seen);
    if (entry === undefined) return kept.files;
    const path = packagePath(entry.name);
    const isPlain = (entry.mode & FILE_TYPE.mask) === FILE_TYPE.plain;
    if (!isPlain || path === undefined || !isWanted(path)) await reader.skip(entry.size);
    else {
      await kept.take(path, entry.size, reader);
      if (isEnough(kept.files)) return kept.files;
    }
    await reader.skip(cpioPadding(entry.size));
  }
}

interface PayloadEntry {
  readonly name: Buffer;
  readonly mode: number;
  readonly size: number;
}

/** The next file of the payload, up to its content; undefined at the end. */
async function nextEntry(
  reader: ByteReader,
  files: readonly RpmFile[],
  seen: Set<number>,
): Promise<PayloadEntry | undefined> {
  if (cpioMagic(await reader.take(CPIO_MAGIC_BYTES)) === "short") {
    const number = parseCpioShortHeader(await reader.take(CPIO_SHORT_HEADER_BYTES));
    await reader.skip(cpioPadding(CPIO_MAGIC_BYTES + CPIO_SHORT_HEADER_BYTES));
    const file = files[number];
    if (file === undefined) throw malformed("its payload has a file that its header does not know");
    if (seen.has(number)) throw malformed("its payload has a file twice");
    seen.add(number);
    return { name: Buffer.from(file.path), mode: file.mode, size: contentSize(file) };
  }
  const { mode, size, nameBytes } = parseCpioHeader(await reader.take(CPIO_HEADER_BYTES));
  const name = (await reader.take(nameBytes)).subarray(0, nameBytes - 1);
  await reader.skip(cpioPadding(CPIO_MAGIC_BYTES + CPIO_HEADER_BYTES + nameBytes));
  return isCpioTrailer(name.toString("latin1")) ? undefined : { name, mode, size };
}

function contentSize({ mode, size, hasContent }: RpmFile): number {
  const type = mode & FILE_TYPE.mask;
  if (type === FILE_TYPE.link) return size;
  return type === FILE_TYPE.plain && hasContent ? size : 0;
}
