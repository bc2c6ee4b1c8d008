/** The digest of a file that may be larger than memory, as it is read or as it is written. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import type { Digest } from "./json.ts";

/** Rejects with the system's own error where the file cannot be read. */
export async function fileDigest(file: string): Promise<Digest> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return `sha256:${hash.digest("hex")}`;
}

/** Writes a new file of what comes by, and answers its digest. Rejects where something is at that path already. */
export async function writeHashed(pieces: AsyncIterable<Buffer>, file: string): Promise<Digest> {
  const hash = createHash("sha256");
  await pipeline(
    pieces,
    async function* (some: AsyncIterable<Buffer>) {
      for await (const piece of some) {
        hash.update(piece);
        yield piece;
      }
    },
    createWriteStream(file, { flags: "wx", mode: 0o600 }),
  );
  return `sha256:${hash.digest("hex")}`;
}
