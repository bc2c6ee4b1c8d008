/**
 * Hand-overs as an executor: nothing is built here. What workers made lies in the cache by now, and is found there.
 */
import type { Executor, LoadResult, LoadWork, Watch } from "./executor.ts";

export class HandOverExecutor implements Executor {
  readonly name = "handOvers";
  readonly #here: Pick<Executor, "load">;

  /** `here` tests what was handed over without a test. */
  constructor(here: Pick<Executor, "load">) {
    this.#here = here;
  }

  build(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  load(work: LoadWork, watch: Watch): Promise<LoadResult | undefined> {
    return this.#here.load(work, watch);
  }
}
