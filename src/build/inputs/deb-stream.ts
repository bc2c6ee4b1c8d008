/**
 * Single files out of a Debian package while it is being fetched, without keeping the package.
 */
import { Readable } from "node:stream";
import { extract, type Header } from "tar-stream";
import { type Compression, startDecompressor } from "../../base/decompress.ts";
import { FarmError } from "../../base/error.ts";
import { AR_HEADER_BYTES, AR_MAGIC, parseArHeader } from "../../formats/ar.ts";
import { ByteReader, FILE_LIMIT_BYTES, malformed, type PackageFile } from "./byte-reader.ts";

/** The member with a package's files → its compression. */
const DATA_MEMBERS: ReadonlyMap<string, Compression> = new Map([
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
): Promise<PackageFile[]> {
  const reader = ByteReader.of(body);
  try {
    return await readMembers(reader, isWanted, isEnough);
  } finally {
    await reader.close();
  }
}

async function readMembers(
  reader: ByteReader,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
): Promise<PackageFile[]> {
  if ((await reader.take(AR_MAGIC.length)).toString("latin1") !== AR_MAGIC)
    throw malformed("it is not an archive");
  for (;;) {
    const member = parseArHeader(await reader.take(AR_HEADER_BYTES));
    const compression = DATA_MEMBERS.get(member.name);
    if (compression !== undefined) return readTar(reader.pass(member.size), compression, isWanted, isEnough);
    await reader.skip(member.size + (member.size % 2));
  }
}

async function readTar(
  packed: AsyncGenerator<Buffer>,
  compression: Compression,
  isWanted: (path: string) => boolean,
  isEnough: (found: readonly PackageFile[]) => boolean,
): Promise<PackageFile[]> {
  const decompressor = startDecompressor(compression);
  const source = Readable.from(packed);
  const faults: unknown[] = [];
  source.on("error", (fault) => {
    faults.push(fault);
    decompressor.stop();
  });
  source.pipe(decompressor.stdin);
  const tar = extract();
  decompressor.stdout.on("error", (fault) => tar.destroy(fault)).pipe(tar);
  const found: PackageFile[] = [];
  try {
    for await (const entry of tar) {
      const path = pathOf(entry.header);
      if (entry.header.type !== "file" || !isWanted(path)) {
        entry.resume();
        continue;
      }
      found.push({ path, content: await contentOf(entry) });
      if (isEnough(found)) return found;
    }
    if (faults.length === 0 && (await decompressor.exit) !== 0) throw malformed("it cannot be decompressed");
  } catch (cause) {
    if (cause instanceof FarmError) throw cause;
    throw malformed(`its archive is damaged (${cause instanceof Error ? cause.message : String(cause)})`);
  } finally {
    source.destroy();
    decompressor.stop();
  }
  if (faults.length > 0) throw faults[0];
  return found;
}

function pathOf(header: Header): string {
  return header.name.replace(/^\.?\//, "");
}

async function contentOf(entry: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of entry as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > FILE_LIMIT_BYTES) throw malformed(`a file in it is larger than ${FILE_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
