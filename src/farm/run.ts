/**
 * The night: catalog → matrix → what is missing → build, load, publish. Every step compares what is wanted
 * with what is there, so it may be stopped anywhere and run again.
 */
import PQueue from "p-queue";
import { evict } from "../base/cache.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import { NOTHING_CHANGED, type Progress } from "../base/progress.ts";
import { formatSize } from "../base/size.ts";
import { planRecipe, rootRequest } from "../build/build.ts";
import type { LoadedDriver } from "../build/driver.ts";
import { type Recipe, recipeKey } from "../build/recipe.ts";
import { learnCompiler } from "../build/toolchains/compiler.ts";
import type { SourceProblem } from "../catalog/update.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { type Element, elementKey, elementName } from "../matrix/element.ts";
import { excludeElements } from "../matrix/exclude.ts";
import { generateMatrix } from "../matrix/generate.ts";
import type { AttemptNote } from "../registry/documents.ts";
import { readPublished, settle } from "../registry/generations.ts";
import type { Outcome } from "../registry/publish.ts";
import { listAll, type Standing } from "../registry/standing.ts";
import { refreshView, viewPath } from "../registry/view.ts";
import { type Drivers, loadDrivers } from "./drivers.ts";
import { type ElementContext, failedOutcome, type Lesson, tryElement, type Work } from "./element.ts";
import { type Gate, openGate } from "./gate.ts";
import { Ledger } from "./ledger.ts";
import { LoadQueue } from "./load-test.ts";
import { askSourcesOf, type Farm, openBuild, updateFarmCatalog } from "./open.ts";

export interface RunOptions {
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  /** Try again what failed by its own fault or could not be fetched. */
  readonly retry?: boolean;
  /** Build this matrix instead of what the configuration selects from the catalog. */
  readonly matrix?: readonly Element[];
  /** Steps of the night to leave out: what is built is then a candidate at most. */
  readonly without?: readonly ("catalog" | "load")[];
}

export interface RunRow {
  readonly element: Element;
  readonly note: AttemptNote;
  /** Whether this run did it, or found it done. */
  readonly isNew: boolean;
  /** Of what came of it; absent where nothing did. */
  readonly standing?: Standing;
  /** Where it is in the store's view; absent for what is not stable. */
  readonly path?: string;
}

export interface RunReport {
  /** One per wanted element, in the matrix's order. */
  readonly rows: readonly RunRow[];
  readonly problems: readonly SourceProblem[];
  /** Kernels whose packages the mirror lists and does not have. */
  readonly unfetchable: number;
  readonly generation: number;
  readonly kernels: number;
}

/** Runs the farm once. @throws FarmError INTERRUPTED after everything that was finished is published */
export async function runFarm(farm: Farm, options: RunOptions): Promise<RunReport> {
  const unlock = await farm.store.lock();
  try {
    await settle(farm.store);
    const ledger = new Ledger(farm.store, await readPublished(farm.store, "candidate"), options.now);
    if (options.retry) ledger.forgetLessons();
    const { progress, signal } = options;
    const drivers = await loadDrivers(farm, (text) => progress.say(text), signal);
    const gate = await openGate(farm, () => ledger.published, options.now);
    const night = new Night(farm, options, ledger, drivers, gate);
    const report = await night.run();
    await keepCacheWithin(farm, options.progress);
    return report;
  } finally {
    await unlock();
  }
}

/** After the work: nothing of the cache is used by this process any more. */
async function keepCacheWithin({ config, cache, scratch }: Farm, progress: Progress): Promise<void> {
  if (config.cacheLimitBytes === undefined) return;
  const eviction = await evict(cache, config.cacheLimitBytes, scratch);
  if (eviction.kind === "busy") progress.say("cache: in use by another process, which keeps its limit later");
  else if (eviction.evicted.length > 0) {
    const { evicted, freedBytes, keptBytes } = eviction;
    progress.say(
      `cache: ${evicted.length} entries removed, ${formatSize(freedBytes)} freed, ${formatSize(keptBytes)} left`,
    );
  }
}

/** One run: which elements are wanted, and the way of each through the farm. */
class Night {
  readonly #farm: Farm;
  readonly #options: RunOptions;
  readonly #ledger: Ledger;
  readonly #drivers: Drivers;
  readonly #gate: Gate;
  readonly #processors: PQueue;
  readonly #images: PQueue;
  /** Elements under way: enough that somebody can compute while others fetch. */
  readonly #elements: PQueue;
  #problems: readonly SourceProblem[] = [];
  readonly #started = new Set<string>();
  readonly #done = new Map<string, { readonly element: Element; readonly isNew: boolean }>();

  constructor(farm: Farm, options: RunOptions, ledger: Ledger, drivers: Drivers, gate: Gate) {
    this.#gate = gate;
    this.#farm = farm;
    this.#options = options;
    this.#ledger = ledger;
    this.#drivers = drivers;
    this.#processors = new PQueue({ concurrency: farm.config.jobs });
    this.#images = new PQueue({ concurrency: farm.config.jobs });
    this.#elements = new PQueue({ concurrency: farm.config.jobs * 4 });
  }

  async run(): Promise<RunReport> {
    const { progress, signal, without } = this.#options;
    if (!without?.includes("catalog")) await this.#updateCatalog();
    const context = this.#elementContext();
    try {
      this.#startWanted(context);
      await this.#elements.onIdle();
    } finally {
      await this.#ledger.publish();
    }
    if (signal.aborted) {
      const done = [...this.#done.values()].filter(({ isNew }) => isNew).length;
      throw new FarmError("INTERRUPTED", {
        detail: `stopped; what ${done} elements of this run came to is kept`,
      });
    }
    const rewritten = await refreshView(this.#farm.store, this.#ledger.published);
    if (rewritten > 0) progress.say(`view: ${rewritten} artifacts written`);
    for (const strange of this.#gate.strangeNames()) progress.say(`policy: ${strange}`);
    return await this.#report();
  }

  async #updateCatalog(): Promise<void> {
    const { progress, now, signal } = this.#options;
    const { sources } = this.#farm;
    const previous = this.#ledger.catalog;
    const answers = await askSourcesOf(this.#farm, previous, signal);
    const { catalog, problems, warnings } = updateFarmCatalog(previous, answers, { now: now() });
    this.#ledger.catalog = catalog;
    this.#problems = problems;
    progress.say(`catalog: ${catalog.kernels.length} kernels from ${sources.length} suites`);
    for (const { source, detail } of [...problems, ...warnings]) progress.say(`catalog: ${source} ${detail}`);
  }

  #wanted(): readonly Element[] {
    const { matrix, now } = this.#options;
    if (matrix !== undefined) return matrix;
    const { select, exclude } = this.#farm.config;
    const drivers = [...this.#drivers.loaded, ...this.#drivers.absent].map(wantedDriver(this.#farm));
    const all = generateMatrix(this.#ledger.catalog, drivers, select);
    return excludeElements(all, exclude, now()).elements;
  }

  /** Starts every wanted element that is not under way; asked again when a lesson changes what is wanted. */
  #startWanted(context: ElementContext): void {
    for (const element of this.#wanted()) {
      const key = elementKey(element);
      if (this.#started.has(key) || this.#ledger.isOutOfReach(element)) continue;
      this.#started.add(key);
      this.#options.progress.element(elementName(element), "waiting");
      void this.#elements.add(() => this.#work(element, context)).catch(() => {});
    }
  }

  async #work(element: Element, context: ElementContext): Promise<void> {
    const { signal, progress } = this.#options;
    if (signal.aborted) return;
    const name = elementName(element);
    try {
      const work = await this.#plan(element, context);
      if (this.#isDone(work.element)) {
        this.#done.set(elementKey(element), { element: work.element, isNew: false });
        progress.element(name, "published", NOTHING_CHANGED);
        return;
      }
      const { outcome, lesson } = await tryElement(work, context);
      this.#finish(outcome, lesson, context);
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED" || signal.aborted) return;
      // Its headers were sought to learn its compiler; other things may lack for this builder only.
      const isGone = error.code === "NOT_FETCHABLE" && this.#compilerOf(element) === undefined;
      progress.element(name, isGone ? "unfetchable" : "failed", error.message);
      const outcome = await failedOutcome(element, undefined, error, context);
      this.#finish(outcome, isGone ? "notFetchable" : undefined, context);
    }
    await this.#ledger.publishSometimes();
  }

  #finish(outcome: Outcome, lesson: Lesson | undefined, context: ElementContext): void {
    this.#done.set(elementKey(outcome.element), { element: outcome.element, isNew: true });
    this.#ledger.record(outcome);
    if (lesson === undefined) return;
    this.#ledger.learn(outcome.element, lesson);
    this.#startWanted(context);
  }

  /** Published or failed with this very recipe, and nothing left to find out. */
  #isDone(planned: Element): boolean {
    const { retry, without } = this.#options;
    if (!this.#ledger.isSettled(planned)) return false;
    const note = this.#ledger.noteOf(elementKey(planned));
    const isRefused = note?.load?.verdict.verdict === "pass" && (note.refusals ?? []).length > 0;
    if (note?.failure !== undefined || note?.load?.verdict.verdict === "fail" || isRefused) return !retry;
    const isUntested = note?.load?.verdict.verdict === "unknown" && !without?.includes("load");
    return !isUntested || this.#ledger.kernelOf(planned)?.notLoadableSince !== undefined;
  }

  async #plan(element: Element, context: ElementContext): Promise<Work> {
    const isIts = ({ name, version }: Pick<LoadedDriver, "name" | "version">) =>
      name === element.driver && version === element.driverversion;
    const absent = this.#drivers.absent.find(isIts);
    if (absent !== undefined) throw absent.error;
    const driver = this.#drivers.loaded.find(isIts);
    if (driver === undefined) {
      throw new FarmError("CONFIG_INVALID", {
        detail: `the configuration has no driver ${element.driver} ${element.driverversion}`,
      });
    }
    const known = await this.#withCompiler(element, context);
    const recipe = await this.#planRecipe(known, driver, context);
    return { element: { ...known, recipe: recipeKey(recipe) }, driver, recipe };
  }

  #compilerOf(element: Element): Compiler | undefined {
    return element.compiler ?? this.#ledger.kernelOf(element)?.compiler;
  }

  /** What no index says is read from the kernel's own headers, once. */
  async #withCompiler(element: Element, { build, progress, signal }: ElementContext): Promise<Element> {
    const known = this.#compilerOf(element);
    if (known !== undefined) return { ...element, compiler: known };
    progress.element(elementName(element), "fetching", "headers, to learn the compiler");
    const compiler = await learnCompiler(element, build.inputs, signal);
    this.#ledger.learnCompiler(element, compiler);
    return { ...element, compiler };
  }

  /** The recipe needs the toolchain root; making one keeps a processor busy, finding one does not. */
  async #planRecipe(element: Element, driver: LoadedDriver, context: ElementContext): Promise<Recipe> {
    const { build, progress, processors, signal } = context;
    const plan = () => planRecipe(element, driver, build, signal);
    const wanted = rootRequest(element, driver);
    if (await build.toolchains.isReady(wanted)) return plan();
    // Nothing to do needs no root: what one would hold is known from whoever made it.
    const remembered = await build.toolchains.remembered(wanted);
    if (remembered !== undefined) {
      const recipe = await planRecipe(element, driver, build, signal, remembered);
      if (this.#isDone({ ...element, recipe: recipeKey(recipe) })) return recipe;
    }
    const { family, version } = wanted.compiler;
    const words = [`${wanted.release} with ${family}-${version}`, ...driver.build.packages];
    progress.element(elementName(element), "toolchain", words.join(", "));
    if ((await build.toolchains.making(wanted)) !== undefined) return plan();
    return processors.add(plan, { signal, priority: 2 });
  }

  #elementContext(): ElementContext {
    const { scratch, cache, store } = this.#farm;
    const say = (text: string) => this.#options.progress.say(text);
    const build = openBuild(this.#farm, this.#ledger.catalog, say, this.#ledger);
    const { progress, now, signal, without, retry } = this.#options;
    const { guests, sources } = this.#ledger.catalog;
    const isLoaded = !without?.includes("load");
    const boot = { inputs: build.inputs, scratch, cache };
    return {
      build,
      boot,
      loads: new LoadQueue(this.#processors, boot, signal),
      store,
      progress,
      processors: this.#processors,
      images: this.#images,
      guests,
      sources,
      gate: this.#gate,
      isLoaded,
      now,
      signal,
      retry: retry ?? false,
    };
  }

  async #report(): Promise<RunReport> {
    const { published, catalog } = this.#ledger;
    const key = (driver: string, output: string, recipe = "") => `${driver} ${output} ${recipe}`;
    const artifacts = new Map(
      listAll(published.indices).map((listed) => {
        const { driver, output, recipe } = listed.entry;
        return [key(driver, output, recipe), listed];
      }),
    );
    const rows: RunRow[] = [];
    for (const wanted of this.#wanted()) {
      const done = this.#done.get(elementKey(wanted));
      const note = this.#ledger.noteOf(elementKey(wanted));
      if (done === undefined || note === undefined) continue;
      const { driver, output, recipe } = done.element;
      const listed = artifacts.get(key(driver, output, recipe));
      const standing = listed === undefined ? undefined : await this.#gate.standing(listed);
      rows.push({
        ...done,
        note,
        ...(standing === undefined ? {} : { standing }),
        ...(standing?.word === "stable" ? { path: viewPath(wanted) } : {}),
      });
    }
    return {
      rows,
      problems: this.#problems,
      unfetchable: catalog.kernels.filter((kernel) => kernel.notFetchableSince !== undefined).length,
      generation: published.head?.number ?? 0,
      kernels: catalog.kernels.length,
    };
  }
}

function wantedDriver(farm: Farm) {
  return ({ name, version }: Pick<LoadedDriver, "name" | "version">) => ({
    name,
    version,
    series: farm.config.drivers.find((driver) => driver.name === name && driver.versions.includes(version))
      ?.series,
  });
}
