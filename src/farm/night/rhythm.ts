/**
 * When which sources are asked. Pure: the time is passed in, and it waits for nothing. What is listed together is asked
 * together: the suites of one release make kernels only with each other.
 */
import { smallest } from "../../base/extremes.ts";

export interface Asked {
  /** What is asked together. */
  readonly group: string;
  readonly everyMs: number;
}

export class Rhythm {
  readonly #everyMs = new Map<string, number>();
  readonly #asked = new Map<string, number>();

  constructor(all: readonly Asked[]) {
    for (const { group, everyMs } of all)
      this.#everyMs.set(group, Math.min(everyMs, this.#everyMs.get(group) ?? Number.POSITIVE_INFINITY));
  }

  /** Groups whose time has come; they count as asked now. */
  take(nowMs: number): ReadonlySet<string> {
    const due = [...this.#everyMs.keys()].filter((group) => this.#dueMs(group) <= nowMs);
    for (const group of due) this.#asked.set(group, nowMs);
    return new Set(due);
  }

  /** How long until the next one is due; infinite if there is none. */
  waitMs(nowMs: number): number {
    const waits = [...this.#everyMs.keys()].map((group) => Math.max(0, this.#dueMs(group) - nowMs));
    return smallest(waits);
  }

  #dueMs(group: string): number {
    const asked = this.#asked.get(group);
    return asked === undefined ? Number.NEGATIVE_INFINITY : asked + (this.#everyMs.get(group) ?? 0);
  }
}
