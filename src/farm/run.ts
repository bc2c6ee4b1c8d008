/**
 * The night: catalog → matrix → what is missing → build, load, publish. Every step compares what is wanted
 * with what is there, so it may be stopped anywhere and run again.
 */

import PQueue from "p-queue";
import { evict, sharedCache } from "../base/cache.ts";
import { FarmError, ownError, toFarmError, traceOf } from "../base/error.ts";
import { NOTHING_CHANGED, type Progress } from "../base/progress.ts";
import { formatSize } from "../base/size.ts";
import { rootRequest } from "../builder/build.ts";
import type { LoadedDriver, Need, NeededDriver } from "../builder/driver.ts";
import { recipeKey } from "../builder/recipe.ts";
import type { Recipe } from "../builder/records.ts";
import { type Catalog, vouchedBy } from "../catalog/catalog.ts";
import { failureOf, type SourceProblem } from "../catalog/update.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { type Element, elementKey, elementName } from "../matrix/element.ts";
import { excludeElements } from "../matrix/exclude.ts";
import { generateMatrix } from "../matrix/generate.ts";
import { readPublished } from "../registry/generations.ts";
import type { Outcome } from "../registry/publish.ts";
import { damageError, repairArtifacts } from "../registry/repair.ts";
import { listAll } from "../registry/standing.ts";
import { viewPath } from "../registry/view.ts";
import { type Drivers, loadDrivers } from "./drivers.ts";
import { type ElementContext, failedOutcome, type Lesson, tryElement, type Work } from "./element.ts";
import { type Gate, openGate } from "./gate.ts";
import { Ledger } from "./ledger.ts";
import { LoadQueue } from "./load-test.ts";
import { thisPerson } from "./moves.ts";
import { hasWaited, identityOf, neededFor, versionOf } from "./needs.ts";
import { askSourcesOf, type Farm, type FarmAnswers, openBuild, updateFarmCatalog } from "./open.ts";
import { withoutPlaces } from "./places.ts";
import { artifactKey, type Done, type RunReport, reportRun } from "./report.ts";
import { Started } from "./started.ts";

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

/**
 * Runs the farm once. What goes wrong with a source, a driver or an element is reported, and all others go on; only
 * configuration and store end a run.
 * @throws FarmError INTERRUPTED after everything that was finished is published; NOT_PUBLISHED
 */
export async function runFarm(farm: Farm, options: RunOptions): Promise<RunReport> {
  const { progress, signal, now, without, retry } = options;
  await farm.store.prepare();
  const published = await readPublished(farm.store);
  const author = { who: thisPerson(), what: "run", now };
  const ledger = new Ledger(farm.store, published, author, withoutPlaces(farm));
  if (retry) ledger.forgetLessons();
  const answers = without?.includes("catalog")
    ? undefined
    : await askSourcesOf(farm, published.catalog, signal);
  const drivers = await loadDrivers(farm, (text) => progress.say(text), signal);
  const gate = await openGate(farm, () => ledger.published, now);
  return new Night(farm, options, ledger, drivers, gate).run(answers);
}

/** After the work: nothing of the cache is used by this process any more. */
async function keepCacheWithin({ config, cache, scratch }: Farm, progress: Progress): Promise<void> {
  if (config.cacheLimitBytes === undefined) return;
  const eviction = await evict(cache, config.cacheLimitBytes, scratch);
  if (eviction.kind === "busy") progress.say("cache: in use by another process, which keeps its limit later");
  else if (eviction.kind === "shared") throw sharedCache(cache, eviction.stranger);
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
  readonly #problems: SourceProblem[] = [];
  #wantedLast: readonly Element[] = [];
  #excluded: RunReport["excluded"] = [];
  readonly #started = new Started();
  /** Where a driver version is wanted for a kernel, for those that need it. */
  #wantedBy = new Map<string, Element>();
  readonly #done = new Map<string, Done>();
  /** Artifacts with files of which the store has no good copy: they are made again, as far as they are wanted. */
  #damaged: ReadonlySet<string> = new Set();

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

  async run(answers: FarmAnswers | undefined): Promise<RunReport> {
    const { progress, signal } = this.#options;
    if (answers !== undefined) this.#updateCatalog(answers);
    await this.#alone("store", async () => {
      await this.#repair();
    });
    const context = this.#elementContext();
    this.#startWanted(context);
    await this.#started.allEnded();
    await this.#ledger.publish();
    if (signal.aborted) {
      const done = [...this.#done.values()].filter(({ isNew }) => isNew).length;
      throw new FarmError("INTERRUPTED", {
        detail: `stopped; what ${done} elements of this run came to is kept`,
      });
    }
    await this.#alone("store", async () => {
      if (this.#damaged.size === 0) return;
      for (const { listed, damage } of await this.#repair())
        this.#tell(viewPath(listed.entry), damageError(this.#farm.store, damage));
    });
    await this.#alone("policy", async () => {
      for (const strange of this.#gate.strangeNames()) progress.say(`policy: ${strange}`);
    });
    const report = await reportRun({
      wanted: this.#wantedLast,
      excluded: this.#excluded,
      done: this.#done,
      ledger: this.#ledger,
      gate: this.#gate,
      damaged: this.#damaged,
      problems: this.#problems,
      tell: (subject, error) => this.#tell(subject, error),
    });
    await this.#alone("cache", () => keepCacheWithin(this.#farm, progress));
    return report;
  }

  /** What nodes get is what is looked at: what the store lost is written again, and what it cannot give is made again. */
  async #repair(): Promise<Awaited<ReturnType<typeof repairArtifacts>>["lost"]> {
    const { repaired, lost } = await repairArtifacts(
      this.#farm.store,
      listAll(this.#ledger.published.indices),
    );
    if (repaired > 0)
      this.#options.progress.say(`store: ${repaired} damaged or missing files of artifacts restored`);
    this.#damaged = new Set(lost.map(({ listed }) => artifactKey(listed.entry)));
    return lost;
  }

  /** Does what the elements do not depend on: a fault of it is reported, and ends nothing. */
  async #alone(subject: string, work: () => Promise<void>): Promise<void> {
    await work().catch((thrown) => this.#tell(subject, toFarmError(thrown)));
  }

  #tell(subject: string, error: FarmError): void {
    this.#sayTrace(error);
    this.#problems.push(failureOf(subject, error));
  }

  #sayTrace(error: FarmError | undefined): void {
    const trace = error === undefined ? "" : traceOf(error);
    if (trace !== "") this.#options.progress.say(trace);
  }

  #updateCatalog({ repositories, lists }: FarmAnswers): void {
    const { progress, now } = this.#options;
    const failures = [
      ...repositories.map(({ answer }) => (answer.kind === "failed" ? answer.error : undefined)),
      ...lists.map(({ read }) => (read instanceof FarmError ? read : undefined)),
    ];
    for (const failure of failures) this.#sayTrace(failure);
    try {
      const lay = (previous: Catalog) => updateFarmCatalog(previous, { repositories, lists }, { now: now() });
      const update = lay(this.#ledger.catalog);
      this.#ledger.layCatalog(update.catalog, (previous) => lay(previous).catalog);
      for (const problem of update.problems) this.#problems.push(problem);
      const { length } = update.catalog.kernels;
      progress.say(`catalog: ${length} kernels from ${this.#farm.sources.length} suites`);
      for (const { source, detail } of [...update.problems, ...update.warnings])
        progress.say(`catalog: ${source} ${detail}`);
    } catch (thrown) {
      // The night goes on with the kernels that are known.
      this.#tell("catalog", toFarmError(thrown));
    }
  }

  #wanted(): readonly Element[] {
    const { matrix, now } = this.#options;
    if (matrix !== undefined) return matrix;
    const { select, exclude } = this.#farm.config;
    const drivers = [...this.#drivers.loaded, ...this.#drivers.absent].map(wantedDriver(this.#farm));
    const all = generateMatrix(this.#ledger.catalog, drivers, select);
    const { elements, excluded } = excludeElements(all, exclude, now());
    const byReason = Map.groupBy(excluded, ({ reason }) => reason);
    this.#excluded = [...byReason].map(([reason, { length }]) => ({ reason, count: length }));
    return elements;
  }

  /** Starts every wanted element that is not under way; asked again when a lesson changes what is wanted. */
  #startWanted(context: ElementContext): void {
    this.#wantedLast = this.#wanted();
    this.#wantedBy = new Map(
      this.#wantedLast.map((element) => [identityOf(element, versionOf(element)), element]),
    );
    const isVouched = vouchedBy(context.sources);
    // What only a list names may be slow without end: it must not hold every slot before the others begin.
    const priority = (element: Element) => Number(isVouched(element));
    const depth = (element: Element) => this.#needsOf(element).length;
    // Who is needed is started first, so that the others have something to wait for.
    const ordered = this.#wantedLast.toSorted((a, b) => depth(a) - depth(b) || priority(b) - priority(a));
    for (const element of ordered) {
      if (this.#started.has(element) || this.#ledger.isOutOfReach(element)) continue;
      this.#options.progress.element(elementName(element), "waiting");
      const awaited = this.#needsOf(element).flatMap(
        (need) => this.#wantedBy.get(identityOf(element, need)) ?? [],
      );
      // Whoever waits for another element holds no place among those under way.
      this.#started.start(element, awaited, () =>
        this.#elements.add(() => this.#work(element, context), { priority: priority(element) }),
      );
    }
  }

  #needsOf(element: Element): readonly Need[] {
    return this.#driverOf(element)?.needs ?? [];
  }

  #driverOf({ driver, driverversion }: Element): LoadedDriver | undefined {
    return this.#drivers.loaded.find(({ name, version }) => name === driver && version === driverversion);
  }

  /** Whatever becomes of an element is reported; nothing that is thrown on its way leaves here. */
  async #work(element: Element, context: ElementContext): Promise<void> {
    const { signal, progress } = this.#options;
    if (signal.aborted) return;
    try {
      await this.#tryOne(element, context);
      const fault = await this.#ledger.publishSometimes();
      if (fault !== undefined)
        progress.say(`${this.#farm.store.place}: not written, tried again later: ${fault.message}`);
    } catch (thrown) {
      if (!signal.aborted) this.#tell(elementName(element), toFarmError(thrown));
    }
  }

  async #tryOne(element: Element, context: ElementContext): Promise<void> {
    let work: Work | undefined;
    try {
      work = await this.#plan(element, context);
      if (this.#isDone(work.element, work.driver.needed)) {
        this.#done.set(elementKey(element), { element: work.element, isNew: false });
        this.#options.progress.element(elementName(element), "published", NOTHING_CHANGED);
        return;
      }
      const { outcome, lesson } = await tryElement(work, context);
      this.#finish(outcome, lesson, context);
    } catch (thrown) {
      const error = ownError(thrown, this.#options.signal);
      // Only the headers were fetched while planning, to learn the compiler; anything else may be missing for this builder alone.
      const isGone =
        error.code === "NOT_FETCHABLE" && (work !== undefined || this.#compilerOf(element) === undefined);
      this.#options.progress.element(elementName(element), isGone ? "unfetchable" : "failed", error.message);
      const outcome = await failedOutcome(
        { element: work?.element ?? element, recipe: work?.recipe },
        error,
        context,
      );
      this.#finish(outcome, isGone ? "notFetchable" : undefined, context);
    }
  }

  #finish(outcome: Outcome, lesson: Lesson | undefined, context: ElementContext): void {
    this.#ledger.record(outcome);
    this.#done.set(elementKey(outcome.element), { element: outcome.element, isNew: true });
    if (lesson === undefined) return;
    this.#ledger.learn(outcome.element, lesson);
    this.#startWanted(context);
  }

  /** Published or failed with this very recipe, and nothing left to find out. */
  #isDone(planned: Element, needed: readonly NeededDriver[] = []): boolean {
    const { retry, without } = this.#options;
    if (!this.#ledger.isSettled(planned) || this.#damaged.has(artifactKey(planned))) return false;
    const note = this.#ledger.noteOf(elementKey(planned));
    if (note !== undefined && hasWaited(note, needed)) return false;
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
    const configured = this.#driverOf(element);
    if (configured === undefined) {
      throw new FarmError("CONFIG_INVALID", {
        detail: `the configuration has no driver ${element.driver} ${element.driverversion}`,
      });
    }
    const needed = await this.#neededFor(element, configured);
    const driver = { ...configured, ...(needed.length === 0 ? {} : { needed }) };
    const known = await this.#withCompiler(element, context);
    const recipe = await this.#planRecipe(known, driver, context);
    return { element: { ...known, recipe: recipeKey(recipe) }, driver, recipe };
  }

  #neededFor(element: Element, driver: LoadedDriver): Promise<NeededDriver[]> {
    return neededFor(element, driver, this.#drivers.loaded, this.#farm.store, (need) =>
      this.#ledger.knownOf(element, need, this.#wantedBy.get(identityOf(element, need))),
    );
  }

  #compilerOf(element: Element): Compiler | undefined {
    return element.compiler ?? this.#ledger.kernelOf(element)?.compiler;
  }

  /** What no index says is read from the kernel's own headers, once. */
  async #withCompiler(element: Element, { build, progress, signal }: ElementContext): Promise<Element> {
    const known = this.#compilerOf(element);
    if (known !== undefined) return { ...element, compiler: known };
    progress.element(elementName(element), "fetching", "headers, to learn the compiler");
    const compiler = await this.#farm.steps.learnCompiler(element, build.inputs, signal);
    this.#ledger.learnCompiler(element, compiler);
    return { ...element, compiler };
  }

  /** The recipe needs the toolchain root; making one keeps a processor busy, finding one does not. */
  async #planRecipe(element: Element, driver: LoadedDriver, context: ElementContext): Promise<Recipe> {
    const { build, progress, processors, signal } = context;
    const { planRecipe } = this.#farm.steps;
    const plan = () => planRecipe(element, driver, build, signal);
    const wanted = rootRequest(element, driver);
    if (await build.toolchains.isReady(wanted)) return plan();
    // Nothing to do needs no root: what one would hold is known from whoever made it.
    const remembered = await build.toolchains.remembered(wanted);
    if (remembered !== undefined) {
      const recipe = await planRecipe(element, driver, build, signal, remembered);
      if (this.#isDone({ ...element, recipe: recipeKey(recipe) }, driver.needed)) return recipe;
    }
    const { family, version } = wanted.compiler;
    const { packages, depends = [] } = driver.build;
    const words = [`${wanted.release} with ${family}-${version}`, ...packages, ...depends];
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
      steps: this.#farm.steps,
      shown: withoutPlaces(this.#farm),
      isLoaded,
      now,
      signal,
      retry: retry ?? false,
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
