/**
 * Watching: the coordinator stays open, each source is asked in its own rhythm, and kernels that were not there before go
 * ahead of everything else.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError } from "../../base/error.ts";
import { kernelName } from "../../kernel/kernel.ts";
import { askSourcesOf, type Farm } from "../open.ts";
import type { Coordinator } from "./coordinator.ts";
import type { RunReport } from "./report.ts";
import { Rhythm } from "./rhythm.ts";
import { openCoordinator } from "./run.ts";
import type { RunOptions } from "./run-options.ts";

export interface WatchOptions extends Omit<RunOptions, "matrix" | "without" | "rank" | "fresh"> {
  /** After so long drivers and policy are read anew, and what failed for the machine's sake is tried again. */
  readonly sessionMs: number;
  /** Told what came of each session. */
  readonly onReport: (report: RunReport) => Promise<void>;
}

const DEFAULT_EVERY_MINUTES = 15;
const URGENT = 1;

/** Watches until it is stopped; what was finished by then is published. @throws FarmError for what ends a run */
export async function watchFarm(farm: Farm, options: WatchOptions): Promise<void> {
  const { signal } = options;
  const rhythm = new Rhythm(askedBy(farm));
  const known = new Set<string>();
  while (!signal.aborted) {
    const session = await openSession(farm, options, known);
    const report = await session.run(rhythm).catch((thrown: unknown) => {
      if (thrown instanceof FarmError && thrown.code === "INTERRUPTED") return undefined;
      throw thrown;
    });
    if (report !== undefined) await options.onReport(report);
  }
}

/** A list is asked by itself, a repository with all others of its release. */
function askedBy({ config }: Farm) {
  return config.sources.flatMap((source) => {
    const everyMs = (source.every ?? DEFAULT_EVERY_MINUTES) * 60_000;
    if (source.kind === "kernel-crawler") return [{ group: LISTS, everyMs }];
    const releases = source.kind === "apt" ? source.releases : [source.release];
    return releases.map((group) => ({ group, everyMs }));
  });
}

/** What no release can be called. */
const LISTS = "/lists";

async function openSession(farm: Farm, options: WatchOptions, known: Set<string>): Promise<Session> {
  const rank = (element: Parameters<typeof kernelName>[0]) => (known.has(kernelName(element)) ? 0 : URGENT);
  const coordinator = await openCoordinator(farm, { ...options, what: "watch", rank });
  return new Session(farm, options, coordinator, known);
}

class Session {
  readonly #farm: Farm;
  readonly #options: WatchOptions;
  readonly #coordinator: Coordinator;
  /** Kernels that were there when the session before ended, or this one began. */
  readonly #known: Set<string>;
  /** Settles when nothing is under way. */
  #drained: Promise<void> = Promise.resolve();
  /** Fires when what was done cannot be published. */
  readonly #broken = new AbortController();

  constructor(farm: Farm, options: WatchOptions, coordinator: Coordinator, known: Set<string>) {
    this.#farm = farm;
    this.#options = options;
    this.#coordinator = coordinator;
    this.#known = known;
  }

  async run(rhythm: Rhythm): Promise<RunReport> {
    const { signal, sessionMs, now } = this.#options;
    const ends = performance.now() + sessionMs;
    const isFirst = this.#known.size === 0;
    await this.#ask(rhythm);
    // At the beginning nothing is newer than the rest.
    if (isFirst) this.#learnKernels();
    await this.#coordinator.putInOrder();
    await this.#coordinator.begin();
    this.#want();
    const { progress } = this.#options;
    progress.say(
      `watching: the next source is asked in ${Math.ceil(rhythm.waitMs(now().getTime()) / 1000)} s`,
    );
    const stop = AbortSignal.any([signal, this.#broken.signal]);
    while (!stop.aborted && performance.now() < ends) {
      const waitMs = Math.min(rhythm.waitMs(now().getTime()), ends - performance.now());
      await pause(Math.max(0, waitMs), stop);
      if (stop.aborted || !(await this.#ask(rhythm))) continue;
      await this.#coordinator.putInOrder();
      this.#want();
    }
    await this.#drained;
    this.#learnKernels();
    return this.#coordinator.end();
  }

  /** Asks what is due; whether anything was. */
  async #ask(rhythm: Rhythm): Promise<boolean> {
    const { now, signal } = this.#options;
    const due = rhythm.take(now().getTime());
    if (due.size === 0) return false;
    const { sources, lists } = this.#farm;
    const asked = {
      ...this.#farm,
      sources: sources.filter(({ release }) => due.has(release)),
      lists: due.has(LISTS) ? lists : [],
    };
    this.#coordinator.hear(await askSourcesOf(asked, this.#coordinator.ledger.catalog, signal));
    return true;
  }

  #want(): void {
    this.#coordinator.want();
    const before = this.#drained;
    this.#drained = before.then(() => this.#coordinator.drained());
    // The session ends then, and throws it.
    this.#drained.catch(() => this.#broken.abort());
  }

  #learnKernels(): void {
    for (const kernel of this.#coordinator.ledger.catalog.kernels) this.#known.add(kernelName(kernel));
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.min(ms, 2 ** 31 - 1), undefined, { signal }).catch(() => {}); // Stopped: that is looked at next.
}
