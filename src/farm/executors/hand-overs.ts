/**
 * Hand-overs as an executor: nothing is built here. What workers made lies in the cache by now, and is found there; what
 * failed for no proven reason does not, so that it is ordered again.
 */
import type { Attempt } from "../../builder/attempt.ts";
import { recipeKey } from "../../builder/recipe.ts";
import type { Executor, LoadResult, LoadWork, Watch, Work } from "./executor.ts";

export class HandOverExecutor implements Executor {
  readonly name = "handOvers";
  readonly #here: Pick<Executor, "load">;
  readonly #unproven: ReadonlyMap<string, Attempt>;

  /** `here` tests what was handed over without a test; `unproven` are the tries to be counted, by their recipes' keys. */
  constructor(here: Pick<Executor, "load">, unproven: ReadonlyMap<string, Attempt> = new Map()) {
    this.#here = here;
    this.#unproven = unproven;
  }

  build({ recipe }: Pick<Work, "recipe">): Promise<Attempt | undefined> {
    return Promise.resolve(this.#unproven.get(recipeKey(recipe)));
  }

  load(work: LoadWork, watch: Watch): Promise<LoadResult | undefined> {
    return this.#here.load(work, watch);
  }
}
