/** What a stream said, kept until it ends. */

const AT_FIRST = 4096;

/** Bytes in one piece: a program that writes them one by one would have us keep an object for each. */
export class KeptBytes {
  readonly #limit: number;
  #bytes = Buffer.alloc(0);
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes what is within the limit. */
  add(part: Buffer): void {
    const needed = this.#length + part.length;
    if (needed > this.#bytes.length) {
      const larger = Buffer.alloc(Math.min(this.#limit, Math.max(needed, 2 * this.#bytes.length, AT_FIRST)));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    this.#length += part.copy(this.#bytes, this.#length);
  }

  text(): string {
    return this.#bytes.toString("utf8", 0, this.#length);
  }
}
