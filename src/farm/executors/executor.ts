/**
 * The family of executors: where elements are built and booted. What an executor is given stands for itself, so it may
 * be done here, on another machine, or later.
 */
import type { Stage } from "../../base/progress.ts";
import type { Attempt } from "../../builder/attempt.ts";
import type { LoadedDriver } from "../../builder/driver.ts";
import type { Recipe } from "../../builder/records.ts";
import type { LoadSet } from "../../check/load.ts";
import type { Verdict } from "../../check/verdict.ts";
import type { Package } from "../../kernel/kernel.ts";
import type { Element } from "../../matrix/element.ts";

/** A planned build: the element has its compiler and its recipe key. */
export interface Work {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly recipe: Recipe;
  /** The higher, the sooner; 0 if nothing is said. */
  readonly rank: number;
}

/** A planned load test. */
export interface LoadWork {
  readonly element: Element;
  /** Packages with a userland for the guest, the likeliest first. */
  readonly guest: readonly Package[];
  readonly set: LoadSet;
  readonly rank: number;
}

/** What a load test came to. */
export interface LoadResult {
  readonly verdict: Verdict;
  readonly bootMs?: number;
  /** What the kernel and the guest said. */
  readonly log?: string;
  /** The boot image is listed, but no place has it. */
  readonly isOutOfReach?: boolean;
}

/** How an executor reports where an element is, and hears that it is to stop. */
export interface Watch {
  readonly stage: (stage: Stage, detail?: string) => void;
  readonly signal: AbortSignal;
}

export interface Executor {
  readonly name: "local" | "orders" | "handOvers" | "none";
  /**
   * An attempt at a planned build, which lies in the cache under its recipe key from then on. Undefined if it is not
   * made in this process: another one makes it, and its result is taken over later.
   * @throws FarmError for what is neither the driver's fault nor the build's outcome
   */
  build(work: Work, watch: Watch): Promise<Attempt | undefined>;
  /** What the modules do in their kernel; undefined as for `build`. */
  load(work: LoadWork, watch: Watch): Promise<LoadResult | undefined>;
}
