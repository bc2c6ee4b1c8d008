/** The plain files of a tar archive, one after the other, as it comes by. */
import { malformedTar } from "./tar.ts";
import { type TarEntry, TarScan } from "./tar-entries.ts";

export interface FileInTar {
  readonly path: string;
  readonly size: number;
  /** To be read before the next file is asked for; what is left of it is passed over. */
  readonly pieces: AsyncIterable<Buffer>;
}

/** @throws FarmError PACKAGE_MALFORMED for an archive that is damaged, or holds anything but plain files */
export async function* filesInTar(bytes: AsyncIterable<Buffer>): AsyncGenerator<FileInTar> {
  const parts = partsOf(bytes);
  try {
    let next = await parts.next();
    while (!next.done) {
      const entry = next.value;
      if (Buffer.isBuffer(entry)) throw malformedTar("content comes before its header");
      if (entry.kind !== "file") throw malformedTar(`it holds a ${entry.kind}`);
      next = await parts.next();
      const pieces = (async function* () {
        for (; !next.done && Buffer.isBuffer(next.value); next = await parts.next()) yield next.value;
      })();
      yield { path: entry.name.toString(), size: entry.size, pieces };
      for await (const _ of pieces);
    }
  } finally {
    await parts.return(undefined);
  }
}

async function* partsOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<TarEntry | Buffer> {
  const scan = new TarScan();
  for await (const piece of bytes) yield* scan.parts(piece);
  scan.end();
}
