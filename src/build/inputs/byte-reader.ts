/**
 * What readers of package streams share: files found in a package, and bytes in portions.
 */
import type { Readable } from "node:stream";
import { FarmError } from "../../base/error.ts";

export interface PackageFile {
  /** Path inside the package, without a leading `../` or `/`. */
  readonly path: string;
  readonly content: Buffer;
}

export const FILE_LIMIT_BYTES = 512 * 1024 * 1024;

export function malformed(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `a package cannot be read: ${fact}` });
}

/** Reads a stream in portions, and leaves it open when reading stops. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks;
  }

  static of(body: Readable): ByteReader {
    return new ByteReader(body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>);
  }

  /** Lets go of the stream, so that somebody else can read on. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async take(size: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of this.pass(size)) parts.push(part);
    return Buffer.concat(parts);
  }

  /** Whatever is left, as it comes. */
  async *passAll(): AsyncGenerator<Buffer> {
    if (this.#rest.length > 0) yield this.#rest;
    this.#rest = Buffer.alloc(0);
    for (let next = await this.#chunks.next(); !next.done; next = await this.#chunks.next()) yield next.value;
  }

  async skip(size: number): Promise<void> {
    for await (const _ of this.pass(size));
  }

  /** The next `size` bytes as they come. */
  async *pass(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0; ) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done) throw malformed("it ends in the middle");
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }
}
