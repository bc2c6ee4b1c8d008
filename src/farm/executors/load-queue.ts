/**
 * Load tests of one driver that wait for one boot share it: whichever gets a processor first takes the others along.
 * Another driver's have a boot of their own, because what runs in a kernel can report anything of it.
 */
import type PQueue from "p-queue";
import { digestOf } from "../../base/json.ts";
import type { LoadReport, LoadRequest, LoadSet } from "../../check/load.ts";
import type { LoadWork } from "./executor.ts";
import { LOADS, RANKS } from "./priority.ts";

/** Boots once; one report for each set. */
type Boot = (request: LoadRequest) => Promise<readonly LoadReport[]>;

export class LoadQueue {
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #processors: PQueue;
  readonly #boot: Boot;
  readonly #signal: AbortSignal;

  constructor(processors: PQueue, boot: Boot, signal: AbortSignal) {
    this.#processors = processors;
    this.#boot = boot;
    this.#signal = signal;
  }

  async load({ element, guest, set, rank }: LoadWork, onBoot: () => void): Promise<LoadReport> {
    const key = bootOf({ element, guest, set });
    const { promise, resolve, reject } = Promise.withResolvers<LoadReport>();
    this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), { set, onBoot, resolve, reject }]);
    const job = this.#processors.add(() => this.#bootFor(key, { kernel: element, guest }), {
      signal: this.#signal,
      priority: LOADS + rank * RANKS,
    });
    job.catch(reject);
    return promise;
  }

  async #bootFor(key: string, machine: Omit<LoadRequest, "sets">): Promise<void> {
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    if (waiting.length === 0) return;
    for (const { onBoot } of waiting) onBoot();
    try {
      const sets = waiting.map(({ set }) => set);
      const reports = await this.#boot({ ...machine, sets });
      for (const [index, { resolve }] of waiting.entries()) resolve(reports[index] as LoadReport);
    } catch (thrown) {
      for (const { reject } of waiting) reject(thrown);
    }
  }
}

/** All that a boot is made of, apart from the sets that share it: packages by their digests, not a kernel by its name. */
function bootOf({ element, guest, set }: Pick<LoadWork, "element" | "guest" | "set">): string {
  const { kversion, architecture, packages } = element;
  return digestOf([set.driver, kversion, architecture, packages.image, packages.modules, guest]);
}

interface Waiting {
  readonly set: LoadSet;
  readonly onBoot: () => void;
  readonly resolve: (report: LoadReport) => void;
  readonly reject: (reason: unknown) => void;
}
