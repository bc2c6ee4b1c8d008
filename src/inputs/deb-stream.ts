/**
 * Single files out of a Debian package while it is being fetched, without keeping the package.
 */
import { Readable } from "node:stream";
import { type Compression, startDecompressor } from "../base/decompress.ts";
import { FarmError } from "../base/error.ts";
import { AR_HEADER_BYTES, AR_MAGIC, parseArHeader } from "../formats/ar.ts";
import { isEntry, parseTarHeader, TAR_BLOCK_BYTES, tarPadding } from "../formats/tar.ts";
import { EntryParts, type TarEntry } from "../formats/tar-entries.ts";
import {
  ByteReader,
  type Keeping,
  KeptFiles,
  malformed,
  type PackageFile,
  packagePath,
  UNPACKED_LIMIT_BYTES,
} from "./byte-reader.ts";

/** The member with a package's files → its compression. */
const DATA_MEMBERS: ReadonlyMap<string, Compression | "none"> = new Map<string, Compression | "none">([
  ["data.tar.xz", "xz"],
  ["data.tar.zst", "zst"],
  ["data.tar.gz", "gz"],
  ["data.tar", "none"],
]);

/**
 * Reads the files of a package that `isWanted` names, until `isEnough` says so. The rest of `body` is left
 * unread, not closed: its digest may still be wanted.
 * @throws FarmError PACKAGE_MALFORMED
 */
export async function readDebFiles(
  body: Readable,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const reader = ByteReader.of(body);
  try {
    return await readMembers(reader, isWanted, isEnough, keeping);
  } finally {
    await reader.close();
  }
}

async function readMembers(
  reader: ByteReader,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  if ((await reader.take(AR_MAGIC.length)).toString("latin1") !== AR_MAGIC)
    throw malformed("it is not an archive");
  for (;;) {
    const member = parseArHeader(await reader.take(AR_HEADER_BYTES));
    const compression = DATA_MEMBERS.get(member.name);
    const packed = reader.pass(member.size);
    if (compression === "none") return readPlain(packed, isWanted, isEnough, keeping);
    if (compression !== undefined) return readTar(packed, compression, isWanted, isEnough, keeping);
    await reader.skip(member.size + (member.size % 2));
  }
}

async function readPlain(
  tar: AsyncGenerator<Buffer>,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const reader = new ByteReader(tar, UNPACKED_LIMIT_BYTES);
  const { files, isWhole } = await readEntries(reader, isWanted, isEnough, keeping);
  if (isWhole) for await (const _ of reader.passAll());
  return files;
}

async function readTar(
  packed: AsyncGenerator<Buffer>,
  compression: Compression,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<readonly PackageFile[]> {
  const decompressor = startDecompressor(compression);
  const source = Readable.from(packed);
  const faults: unknown[] = [];
  source.on("error", (fault) => {
    faults.push(fault);
    decompressor.stop();
  });
  source.pipe(decompressor.stdin);
  const reader = ByteReader.of(decompressor.stdout, UNPACKED_LIMIT_BYTES);
  try {
    const { files, isWhole } = await readEntries(reader, isWanted, isEnough, keeping);
    if (!isWhole) return files;
    for await (const _ of reader.passAll()); // Whether all is right, the compression says at its end.
    if (faults.length === 0 && (await decompressor.exit) !== 0) throw malformed("it cannot be decompressed");
    if (faults.length > 0) throw faults[0];
    return files;
  } catch (thrown) {
    throw faults[0] ?? (thrown instanceof FarmError ? thrown : malformed("its archive is damaged"));
  } finally {
    source.destroy();
    decompressor.stop();
  }
}

interface Entries {
  readonly files: readonly PackageFile[];
  /** Whether the archive was read to its end. */
  readonly isWhole: boolean;
}

async function readEntries(
  reader: ByteReader,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
  keeping?: Keeping,
): Promise<Entries> {
  const kept = new KeptFiles(keeping);
  for (;;) {
    const entry = await nextEntry(reader);
    if (entry === undefined) return { files: kept.files, isWhole: true };
    const path = packagePath(entry.name);
    if (entry.kind !== "file" || path === undefined || !isWanted(path)) await reader.skip(entry.size);
    else {
      await kept.take(path, entry.size, reader);
      if (isEnough(kept.files)) return { files: kept.files, isWhole: false };
    }
    await reader.skip(tarPadding(entry.size));
  }
}

/** The next entry up to its content, with what extended headers before it say of it. */
async function nextEntry(reader: ByteReader): Promise<TarEntry | undefined> {
  const parts = new EntryParts();
  for (;;) {
    const header = parseTarHeader(await reader.take(TAR_BLOCK_BYTES));
    if (header === undefined) return undefined;
    if (isEntry(header)) return parts.entry(header);
    parts.add(header, await reader.take(header.size));
    await reader.skip(tarPadding(header.size));
  }
}
