/**
 * What readers of package streams share: files found in a package, and bytes in portions.
 */
import { isUtf8 } from "node:buffer";
import type { Readable } from "node:stream";
import { FarmError } from "../base/error.ts";

export interface PackageFile {
  /** Path inside the package, without a leading `../` or `/`. */
  readonly path: string;
  readonly content: Buffer;
}

/** What a package may unpack to; kernels with all that belongs to them have a quarter of that. */
export const UNPACKED_LIMIT_BYTES = 4 * 1024 ** 3;
/** What is kept of one package, all in memory: the largest boot images have 60 MiB, the libraries of a guest 20. */
const KEPT_LIMIT = { bytes: 256 * 1024 * 1024, files: 10_000 } as const;

/** Makes of a file that was wanted what is kept of it. */
export type Keeping = (file: PackageFile) => PackageFile;

/** The files that are kept of one package, within one budget for all of them. */
export class KeptFiles {
  readonly files: PackageFile[] = [];
  readonly #keeping: Keeping;
  #bytes = 0;

  constructor(keeping: Keeping = (file) => file) {
    this.#keeping = keeping;
  }

  /** Reads the next bytes as a file. @throws FarmError PACKAGE_MALFORMED before more is read than may be kept */
  async take(path: string, size: number, reader: ByteReader): Promise<void> {
    if (this.#bytes + size > KEPT_LIMIT.bytes)
      throw malformed(`what is wanted of it is larger than ${KEPT_LIMIT.bytes} bytes`);
    if (this.files.length >= KEPT_LIMIT.files)
      throw malformed(`it has more than ${KEPT_LIMIT.files} files of a kind that it has a few of`);
    const kept = this.#keeping({ path, content: await reader.take(size) });
    this.#bytes += kept.content.length;
    this.files.push(kept);
  }
}

/** A path of a package as text; undefined if it is not UTF-8 or has control characters. */
export function packagePath(name: Buffer): string | undefined {
  const path = name.toString("utf8").replace(/^(?:\.?\/)+/, "");
  return isUtf8(name) && !/\p{Cc}/u.test(path) ? path : undefined;
}

export function malformed(fact: string): FarmError {
  return new FarmError("PACKAGE_MALFORMED", { detail: `a package cannot be read: ${fact}` });
}

/** Reads a stream in portions, and leaves it open when reading stops. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #limitBytes: number;
  #rest: Buffer = Buffer.alloc(0);
  #seen = 0;

  constructor(chunks: AsyncIterator<Buffer>, limitBytes: number) {
    this.#chunks = chunks;
    this.#limitBytes = limitBytes;
  }

  /** `limitBytes`: how much may come at all. */
  static of(body: Readable, limitBytes = Number.POSITIVE_INFINITY): ByteReader {
    return new ByteReader(body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>, limitBytes);
  }

  /** Lets go of the stream, so that another reader can continue. */
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
    for (let next = await this.#next(); next !== undefined; next = await this.#next()) yield next;
  }

  async skip(size: number): Promise<void> {
    for await (const _ of this.pass(size));
  }

  /** The next `size` bytes as they come. */
  async *pass(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0; ) {
      if (this.#rest.length === 0) {
        const next = await this.#next();
        if (next === undefined) throw malformed("it ends in the middle");
        this.#rest = next;
      }
      const part = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }

  async #next(): Promise<Buffer | undefined> {
    const next = await this.#chunks.next();
    if (next.done) return undefined;
    this.#seen += next.value.length;
    if (this.#seen > this.#limitBytes) throw malformed(`it unpacks to more than ${this.#limitBytes} bytes`);
    return next.value;
  }
}
