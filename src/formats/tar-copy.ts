/**
 * A tar archive written anew from what our reader found in another: every header is ours, so whoever unpacks it sees the
 * very entries that were judged. docs/adr/0019 says why.
 */
import { TAR_BLOCK_BYTES, tarPadding } from "./tar.ts";
import { type TarEntry, TarScan } from "./tar-entries.ts";
import { tarHeaders } from "./tar-write.ts";

/** Copies an archive that comes in pieces, of whatever size; `isWanted` is asked of each entry before it is written. */
export class TarCopy {
  readonly #scan = new TarScan();
  readonly #isWanted: (entry: TarEntry) => boolean;
  #isWriting = false;
  /** Of the content of the entry that comes by now. */
  #left = 0;
  #padding = Buffer.alloc(0);

  constructor(isWanted: (entry: TarEntry) => boolean) {
    this.#isWanted = isWanted;
  }

  /** What this piece adds to the copy. @throws FarmError PACKAGE_MALFORMED, and what `isWanted` throws */
  push(piece: Buffer): Buffer {
    const written: Buffer[] = [];
    for (const part of this.#scan.parts(piece)) {
      if (Buffer.isBuffer(part)) {
        this.#left -= part.length;
        if (!this.#isWriting) continue;
        written.push(part);
        if (this.#left === 0) written.push(this.#padding);
        continue;
      }
      this.#isWriting = this.#isWanted(part);
      this.#left = part.size;
      this.#padding = Buffer.alloc(tarPadding(part.size));
      if (this.#isWriting) written.push(tarHeaders(part));
    }
    return Buffer.concat(written);
  }

  /** The end of the copy. @throws FarmError PACKAGE_MALFORMED when the archive ends in the middle */
  end(): Buffer {
    this.#scan.end();
    return Buffer.alloc(2 * TAR_BLOCK_BYTES);
  }
}
