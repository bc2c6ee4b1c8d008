/**
 * Planning an element: which driver, which compiler, which recipe. What no document says is learned here, and kept.
 */
import type PQueue from "p-queue";
import { FarmError } from "../../base/error.ts";
import { findAttempt } from "../../builder/attempt.ts";
import { rootRequest } from "../../builder/build.ts";
import type { LoadedDriver, NeededDriver } from "../../builder/driver.ts";
import { recipeKey } from "../../builder/recipe.ts";
import type { Recipe } from "../../builder/records.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import { type Element, named } from "../../matrix/element.ts";
import type { Drivers } from "../drivers.ts";
import type { Work } from "../executors/executor.ts";
import { RANKS, ROOTS } from "../executors/priority.ts";
import { identityOf, neededFor } from "../needs.ts";
import type { Farm, FarmBuild } from "../open.ts";
import type { Demand } from "./demand.ts";
import { type DoneContext, isDone } from "./is-done.ts";
import type { RunOptions } from "./run-options.ts";

interface PlanContext extends DoneContext {
  readonly farm: Farm;
  readonly drivers: Drivers;
  readonly build: FarmBuild;
  readonly processors: PQueue;
  readonly options: RunOptions;
  /** Whether other machines build: what they did not build in a root that is known is theirs to plan. */
  readonly isElsewhere: boolean;
  readonly demand: Demand;
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
    const known = await this.#withCompiler(element);
    const recipe = await this.#recipe(known, driver);
    if (recipe === undefined) return undefined;
    return {
      element: { ...known, recipe: recipeKey(recipe) },
      driver,
      recipe,
      rank: this.#context.demand.rankOf(element),
    };
  }

  #neededFor(element: Element, driver: LoadedDriver): Promise<NeededDriver[]> {
    const { drivers, farm, ledger, demand } = this.#context;
    return neededFor(element, driver, drivers.loaded, farm.store, (need) =>
      ledger.knownOf(element, need, demand.byIdentity(identityOf(element, need))),
    );
  }

  /** What no index says is read from the kernel's own headers, once. */
  async #withCompiler(element: Element): Promise<Element> {
    const { farm, ledger, build } = this.#context;
    const { progress, signal } = this.#context.options;
    const known = this.compilerOf(element);
    if (known !== undefined) return { ...element, compiler: known };
    progress.element(named(element), "fetching", "headers, to learn the compiler");
    const compiler = await farm.steps.learnCompiler(element, build.inputs, signal);
    ledger.learnCompiler(element, compiler);
    return { ...element, compiler };
  }

  async #recipe(element: Element, driver: LoadedDriver): Promise<Recipe | undefined> {
    const { farm, build, processors, demand, isElsewhere } = this.#context;
    const { progress, signal, retry, dry } = this.#context.options;
    const { planRecipe } = farm.steps;
    const plan = () => planRecipe(element, driver, build, signal);
    const wanted = rootRequest(element, driver);
    if (await build.toolchains.isReady(wanted)) return plan();
    // An element with nothing to do needs no root: the machine that built it recorded what it contains.
    const remembered = await build.toolchains.remembered(wanted);
    if (remembered !== undefined) {
      const recipe = await planRecipe(element, driver, build, signal, remembered);
      const planned = { ...element, recipe: recipeKey(recipe) };
      const isNotMade = isElsewhere || dry !== undefined;
      if (isNotMade || isDone(planned, driver.needed ?? [], this.#context)) return recipe;
      // Nor does one that was built already, here or by a worker.
      if (!retry && (await findAttempt(recipe, farm.cache)) !== undefined) return recipe;
    }
    dry?.withoutRoot(element);
    if (isElsewhere || dry !== undefined) return undefined;
    const { family, version } = wanted.compiler;
    const { packages, depends = [] } = driver.build;
    const words = [`${wanted.release} with ${family}-${version}`, ...packages, ...depends];
    progress.element(named(element), "toolchain", words.join(", "));
    if ((await build.toolchains.making(wanted)) !== undefined) return plan();
    return processors.add(plan, { signal, priority: ROOTS + demand.rankOf(element) * RANKS });
  }
}
