/** A source tree as a tar archive, the same bytes for the same tree; and back. */
import { createReadStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { readFileIn } from "../base/strange-tree.ts";
import type { TarEntry } from "../formats/tar-entries.ts";
import { TAR_END, tarFilling, tarHeaders } from "../formats/tar-write.ts";
import { UNPACKED_LIMIT_BYTES, unpackTar } from "./origins/unpack-tar.ts";
import { readSourceTree, type SourceTree } from "./source-tree.ts";

const MODES = { file: 0o644, executable: 0o755, link: 0o777 } as const;

/**
 * The archive in pieces, no more than one file at a time.
 * @throws FarmError SOURCE_CHANGED; DRIVER_INVALID for a tree that nobody could unpack again
 */
export async function* archiveOfSource({ directory, files }: SourceTree): AsyncGenerator<Buffer> {
  const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (total > UNPACKED_LIMIT_BYTES)
    throw new FarmError("DRIVER_INVALID", {
      detail: `the source ${directory} has ${total} bytes; a worker takes at most ${UNPACKED_LIMIT_BYTES}`,
      hint: "Remove what is not part of the driver, or name it in the driver's `ignore`.",
    });
  for (const { path, kind, content, sizeBytes } of files) {
    const isLink = kind === "link";
    const entry: TarEntry = {
      kind: isLink ? "symlink" : "file",
      name: Buffer.from(path),
      linkName: Buffer.from(isLink ? content : ""),
      mode: MODES[kind],
      size: sizeBytes,
      mtime: 0,
    };
    yield tarHeaders(entry);
    if (isLink) continue;
    // One byte more than there were shows that it grew.
    const bytes = readFileIn(directory, path, sizeBytes + 1);
    if (bytes === undefined || sha256(bytes) !== `sha256:${content}`)
      throw new FarmError("SOURCE_CHANGED", {
        detail: `the source changed while it was read: ${directory}/${path}`,
        at: { path },
      });
    yield bytes;
    yield tarFilling(sizeBytes);
  }
  yield TAR_END;
}

/** Who names an archive of a source. */
interface SourceGiver {
  readonly what: "order" | "registry";
  readonly code: "ORDER_INVALID" | "STORE_CORRUPT";
}

/** @throws FarmError of the giver's code unless the archive, a file, holds the tree of that digest */
export async function sourceOfArchive(
  archive: string,
  tree: Digest,
  directory: string,
  { what, code }: SourceGiver,
  signal?: AbortSignal,
): Promise<SourceTree> {
  await mkdir(directory, { recursive: true });
  await unpackTar(() => createReadStream(archive), `the source of the ${what}`, directory, signal);
  const source = await readSourceTree(directory);
  if (source.digest === tree) return source;
  throw new FarmError(code, {
    detail: `the source of the ${what} is ${source.digest}, but the ${what} says ${tree}`,
  });
}
