/**
 * Planning an element: which driver, which compiler, which recipe. What no document says is learned here, and kept.
 */
import type PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import type { Progress } from "../base/progress.ts";
import { findAttempt } from "../builder/attempt.ts";
import { rootRequest } from "../builder/build.ts";
import type { LoadedDriver, NeededDriver } from "../builder/driver.ts";
import { recipeKey } from "../builder/recipe.ts";
import type { Recipe } from "../builder/records.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { type Element, named } from "../matrix/element.ts";
import type { Drivers } from "./drivers.ts";
import type { Work } from "./executors/executor.ts";
import { RANKS, ROOTS } from "./executors/priority.ts";
import type { Ledger } from "./ledger.ts";
import { identityOf, neededFor } from "./needs.ts";
import type { Farm, FarmBuild } from "./open.ts";

export interface PlanContext {
  readonly farm: Farm;
  readonly ledger: Ledger;
  readonly drivers: Drivers;
  readonly build: FarmBuild;
  readonly processors: PQueue;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Whether other machines build: what they did not build in a root that is known is theirs to plan. */
  readonly isElsewhere: boolean;
  /** Where a driver version is wanted for a kernel, by `identityOf`. */
  readonly wantedBy: (identity: string) => Element | undefined;
  /** Whether there is nothing left to do for an element with its recipe: then its root need not be made. */
  readonly rankOf: (element: Element) => number;
  readonly isDone: (planned: Element, needed: readonly NeededDriver[]) => boolean;
  /** Whether what failed is built again. */
  readonly isRetry: boolean;
}

export class Planner {
  readonly #context: PlanContext;

  constructor(context: PlanContext) {
    this.#context = context;
  }

  /** The driver version that an element is of, as far as its source could be had. */
  driverOf({ driver, driverversion }: Element): LoadedDriver | undefined {
    const { loaded } = this.#context.drivers;
    return loaded.find(({ name, version }) => name === driver && version === driverversion);
  }

  compilerOf(element: Element): Compiler | undefined {
    const { ledger } = this.#context;
    return (
      element.compiler ?? ledger.kernelOf(element)?.compiler ?? ledger.factsOf(element).headers?.compiler
    );
  }

  /**
   * Undefined if it takes a toolchain root that only another machine may know.
   * @throws FarmError for whatever keeps this element from being built
   */
  async plan(element: Element): Promise<Work | undefined> {
    const absent = this.#context.drivers.absent.find(
      ({ name, version }) => name === element.driver && version === element.driverversion,
    );
    if (absent !== undefined) throw absent.error;
    const configured = this.driverOf(element);
    if (configured === undefined) {
      throw new FarmError("CONFIG_INVALID", {
        detail: `the configuration has no driver ${element.driver} ${element.driverversion}`,
      });
    }
    const needed = await this.#neededFor(element, configured);
    const driver = { ...configured, ...(needed.length === 0 ? {} : { needed }) };
    const { rankOf } = this.#context;
    const known = await this.#withCompiler(element);
    const recipe = await this.#recipe(known, driver);
    if (recipe === undefined) return undefined;
    return { element: { ...known, recipe: recipeKey(recipe) }, driver, recipe, rank: rankOf(element) };
  }

  #neededFor(element: Element, driver: LoadedDriver): Promise<NeededDriver[]> {
    const { drivers, farm, ledger, wantedBy } = this.#context;
    return neededFor(element, driver, drivers.loaded, farm.store, (need) =>
      ledger.knownOf(element, need, wantedBy(identityOf(element, need))),
    );
  }

  /** What no index says is read from the kernel's own headers, once. */
  async #withCompiler(element: Element): Promise<Element> {
    const { farm, ledger, build, progress, signal } = this.#context;
    const known = this.compilerOf(element);
    if (known !== undefined) return { ...element, compiler: known };
    progress.element(named(element), "fetching", "headers, to learn the compiler");
    const compiler = await farm.steps.learnCompiler(element, build.inputs, signal);
    ledger.learnCompiler(element, compiler);
    return { ...element, compiler };
  }

  async #recipe(element: Element, driver: LoadedDriver): Promise<Recipe | undefined> {
    const { farm, build, progress, processors, signal, isDone, isElsewhere, isRetry, rankOf } = this.#context;
    const { planRecipe } = farm.steps;
    const plan = () => planRecipe(element, driver, build, signal);
    const wanted = rootRequest(element, driver);
    if (await build.toolchains.isReady(wanted)) return plan();
    // An element with nothing to do needs no root: the machine that built it recorded what it contains.
    const remembered = await build.toolchains.remembered(wanted);
    if (remembered !== undefined) {
      const recipe = await planRecipe(element, driver, build, signal, remembered);
      if (isElsewhere || isDone({ ...element, recipe: recipeKey(recipe) }, driver.needed ?? []))
        return recipe;
      // Nor does one that was built already, here or by a worker.
      if (!isRetry && (await findAttempt(recipe, farm.cache)) !== undefined) return recipe;
    }
    if (isElsewhere) return undefined;
    const { family, version } = wanted.compiler;
    const { packages, depends = [] } = driver.build;
    const words = [`${wanted.release} with ${family}-${version}`, ...packages, ...depends];
    progress.element(named(element), "toolchain", words.join(", "));
    if ((await build.toolchains.making(wanted)) !== undefined) return plan();
    return processors.add(plan, { signal, priority: ROOTS + rankOf(element) * RANKS });
  }
}
