/**
 * Elements that a night has started, each behind those that it waits for.
 */
import { type Element, elementKey } from "../../matrix/element.ts";

export class Started {
  readonly #ends = new Map<string, Promise<void>>();

  has(element: Element): boolean {
    return this.#ends.has(elementKey(element));
  }

  /** Begins `work` once all that were started of `awaited` have ended, whatever they came to. It must not fail. */
  start(element: Element, awaited: readonly Element[], work: () => Promise<void>): void {
    const ends = awaited.flatMap((one) => this.#ends.get(elementKey(one)) ?? []);
    const end = ends.length === 0 ? work() : Promise.all(ends).then(work);
    this.#ends.set(elementKey(element), end);
  }

  /** Also of what was started meanwhile. */
  async allEnded(): Promise<void> {
    for (let count = -1; count < this.#ends.size; ) {
      count = this.#ends.size;
      await Promise.all(this.#ends.values());
    }
  }
}
