/** A source tree as a tar archive, the same bytes for the same tree; and back. */
import { mkdir } from "node:fs/promises";
import { Readable } from "node:stream";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { readFileIn } from "../base/strange-tree.ts";
import type { TarEntry } from "../formats/tar-entries.ts";
import { TAR_END, tarFilling, tarHeaders } from "../formats/tar-write.ts";
import { unpackTar } from "./origins/unpack-tar.ts";
import { readSourceTree, type SourceTree } from "./source-tree.ts";

const MODES = { file: 0o644, executable: 0o755, link: 0o777 } as const;

/** @throws FarmError SOURCE_CHANGED */
export function archiveOfSource({ directory, files }: SourceTree): Buffer {
  const pieces = files.flatMap(({ path, kind, content, sizeBytes }) => {
    const isLink = kind === "link";
    const entry: TarEntry = {
      kind: isLink ? "symlink" : "file",
      name: Buffer.from(path),
      linkName: Buffer.from(isLink ? content : ""),
      mode: MODES[kind],
      size: sizeBytes,
      mtime: 0,
    };
    if (isLink) return [tarHeaders(entry)];
    // One byte more than there were shows that it grew.
    const bytes = readFileIn(directory, path, sizeBytes + 1);
    if (bytes === undefined || sha256(bytes) !== `sha256:${content}`)
      throw new FarmError("SOURCE_CHANGED", {
        detail: `the source changed while it was read: ${directory}/${path}`,
        at: { path },
      });
    return [tarHeaders(entry), bytes, tarFilling(sizeBytes)];
  });
  return Buffer.concat([...pieces, TAR_END]);
}

/** @throws FarmError ORDER_INVALID unless the archive holds the tree of that digest */
export async function sourceOfArchive(
  archive: Buffer,
  tree: Digest,
  directory: string,
  signal?: AbortSignal,
): Promise<SourceTree> {
  await mkdir(directory, { recursive: true });
  await unpackTar(() => Readable.from([archive]), "the source of an order", directory, signal);
  const source = await readSourceTree(directory);
  if (source.digest === tree) return source;
  throw new FarmError("ORDER_INVALID", {
    detail: `the source of an order is ${source.digest}, but the order says ${tree}`,
  });
}
