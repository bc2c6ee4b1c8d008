/**
 * Load tests of one driver that wait for one kernel share its boot: whichever gets a processor first takes the others
 * along. Another driver's have a boot of their own, because what runs in a kernel can report anything of it.
 */
import type PQueue from "p-queue";
import type { BootContext } from "../../check/guest/boot-image.ts";
import { type LoadReport, type LoadSet, loadModules } from "../../check/load.ts";
import { kernelName, type Package } from "../../kernel/kernel.ts";
import type { Element } from "../../matrix/element.ts";
import type { LoadWork } from "./executor.ts";
import { LOADS, RANKS } from "./priority.ts";

export class LoadQueue {
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #processors: PQueue;
  readonly #boot: BootContext;
  readonly #signal: AbortSignal;

  constructor(processors: PQueue, boot: BootContext, signal: AbortSignal) {
    this.#processors = processors;
    this.#boot = boot;
    this.#signal = signal;
  }

  async load({ element, guest, set, rank }: LoadWork, onBoot: () => void): Promise<LoadReport> {
    const key = `${set.driver} ${kernelName(element)}`;
    const { promise, resolve, reject } = Promise.withResolvers<LoadReport>();
    this.#waiting.set(key, [...(this.#waiting.get(key) ?? []), { set, onBoot, resolve, reject }]);
    const job = this.#processors.add(() => this.#bootFor(key, element, guest), {
      signal: this.#signal,
      priority: LOADS + rank * RANKS,
    });
    job.catch(reject);
    return promise;
  }

  async #bootFor(key: string, kernel: Element, guest: readonly Package[]): Promise<void> {
    const waiting = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    if (waiting.length === 0) return;
    for (const { onBoot } of waiting) onBoot();
    try {
      const sets = waiting.map(({ set }) => set);
      const reports = await loadModules({ kernel, guest, sets }, this.#boot, this.#signal);
      for (const [index, { resolve }] of waiting.entries()) resolve(reports[index] as LoadReport);
    } catch (thrown) {
      for (const { reject } of waiting) reject(thrown);
    }
  }
}

interface Waiting {
  readonly set: LoadSet;
  readonly onBoot: () => void;
  readonly resolve: (report: LoadReport) => void;
  readonly reject: (reason: unknown) => void;
}
