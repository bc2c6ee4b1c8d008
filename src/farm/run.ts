/**
 * The night: catalog → matrix → what is missing → build, load, publish. Every step compares what is wanted
 * with what is there, so it may be stopped anywhere and run again.
 */
import PQueue from "p-queue";
import { FarmError, toFarmError } from "../base/error.ts";
import { NOTHING_CHANGED, type Progress } from "../base/progress.ts";
import type { BuildContext, LoadedDriver } from "../build/build.ts";
import { planRecipe } from "../build/build.ts";
import { Inputs } from "../build/inputs.ts";
import { recipeKey } from "../build/recipe.ts";
import { Toolchains } from "../build/toolchain.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { type SourceProblem, updateCatalog } from "../catalog/update.ts";
import { kernelName } from "../kernel/kernel.ts";
import { changeReasons } from "../matrix/diff.ts";
import { type Element, elementKey, elementName } from "../matrix/element.ts";
import { excludeElements } from "../matrix/exclude.ts";
import { generateMatrix } from "../matrix/generate.ts";
import type { AttemptNote, Published } from "../registry/documents.ts";
import { readPublished, settle, writePublished } from "../registry/generations.ts";
import { nextState, type Outcome, saysTheSame } from "../registry/publish.ts";
import { refreshView, viewPath } from "../registry/view.ts";
import { type ElementContext, type Lesson, tryElement } from "./element.ts";
import { type Farm, loadDrivers } from "./open.ts";

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

/** Publishing costs a generation: what finishes in between goes into the next. */
const PUBLISH_INTERVAL_MS = 15_000;

/** Runs the farm once. @throws FarmError INTERRUPTED after everything that was finished is published */
export async function runFarm(farm: Farm, options: RunOptions): Promise<RunReport> {
  const unlock = await farm.store.lock();
  try {
    await settle(farm.store);
    const state = await readPublished(farm.store, "candidate");
    const night = new Night(farm, options, state, await loadDrivers(farm.config));
    return await night.run();
  } finally {
    await unlock();
  }
}

/** One run's state: what is published, what is learned on the way. */
class Night {
  readonly #farm: Farm;
  readonly #options: RunOptions;
  readonly #drivers: readonly LoadedDriver[];
  readonly #processors: PQueue;
  readonly #images: PQueue;
  /** Elements under way: enough that somebody can compute while others fetch. */
  readonly #elements: PQueue;
  #published: Published;
  #catalog: Catalog;
  #problems: readonly SourceProblem[] = [];
  #pending: Outcome[] = [];
  #publishing: Promise<void> = Promise.resolve();
  #lastPublished = performance.now();
  readonly #started = new Set<string>();
  readonly #done = new Map<string, { outcome?: Outcome; element: Element }>();

  constructor(farm: Farm, options: RunOptions, published: Published, drivers: readonly LoadedDriver[]) {
    this.#farm = farm;
    this.#options = options;
    this.#published = published;
    this.#catalog = options.retry ? forgetLessons(published.catalog) : published.catalog;
    this.#drivers = drivers;
    this.#processors = new PQueue({ concurrency: farm.config.jobs });
    this.#images = new PQueue({ concurrency: farm.config.jobs });
    this.#elements = new PQueue({ concurrency: farm.config.jobs * 4 });
  }

  async run(): Promise<RunReport> {
    const { progress, signal } = this.#options;
    if (!this.#options.without?.includes("catalog")) await this.#updateCatalog();
    const context = this.#elementContext();
    try {
      this.#startWanted(context);
      await this.#elements.onIdle();
    } finally {
      await this.#publish();
    }
    if (signal.aborted)
      throw new FarmError("INTERRUPTED", {
        detail: `stopped; ${this.#newlyDone()} elements of this run are published`,
      });
    const rewritten = await refreshView(this.#farm.store, this.#published);
    if (rewritten > 0) progress.say(`view: ${rewritten} artifacts written`);
    return this.#report();
  }

  async #updateCatalog(): Promise<void> {
    const { progress, now, signal } = this.#options;
    const { http, scratch, cache, sources } = this.#farm;
    const { catalog, problems } = await updateCatalog(
      this.#catalog,
      sources,
      { http, scratch, cache, signal },
      { now: now() },
    );
    this.#catalog = catalog;
    this.#problems = problems;
    progress.say(`catalog: ${catalog.kernels.length} kernels from ${sources.length} suites`);
    for (const { source, detail } of problems) progress.say(`catalog: ${source} ${detail}`);
  }

  #wanted(): readonly Element[] {
    const { matrix, now } = this.#options;
    if (matrix !== undefined) return matrix;
    const { select, exclude } = this.#farm.config;
    const all = generateMatrix(this.#catalog, this.#drivers.map(wantedDriver(this.#farm)), select);
    return excludeElements(all, exclude, now()).elements;
  }

  /** Starts every wanted element that is not under way; asked again when a lesson changes what is wanted. */
  #startWanted(context: ElementContext): void {
    for (const element of this.#wanted()) {
      const key = elementKey(element);
      if (this.#started.has(key) || this.#isOutOfReach(element)) continue;
      this.#started.add(key);
      this.#options.progress.element(elementName(element), "waiting");
      void this.#elements.add(() => this.#work(element, context)).catch(() => {});
    }
  }

  async #work(element: Element, context: ElementContext): Promise<void> {
    const { signal, progress } = this.#options;
    if (signal.aborted) return;
    const driver = this.#drivers.find(
      ({ name, version }) => name === element.driver && version === element.driverversion,
    );
    const key = elementKey(element);
    try {
      if (driver === undefined) {
        throw new FarmError("CONFIG_INVALID", {
          detail: `the configuration has no driver ${element.driver} ${element.driverversion}`,
        });
      }
      const recipe = await this.#plan(element, driver, context);
      const planned = { ...element, recipe: recipeKey(recipe) };
      if (this.#isDone(planned)) {
        this.#done.set(key, { element: planned });
        progress.element(elementName(element), "published", NOTHING_CHANGED);
        return;
      }
      const { outcome, lesson } = await tryElement({ element: planned, driver, recipe }, context);
      this.#done.set(key, { element: planned, outcome });
      this.#pending.push(outcome);
      if (lesson !== undefined) this.#learn(planned, lesson, context);
      await this.#publishSometimes();
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED" || signal.aborted) return;
      progress.element(elementName(element), "failed", error.message);
      const failure = { code: error.code, blame: error.blame, cause: error.message, line: "" };
      const note = { element: key, at: this.#options.now().toISOString(), compiler: "unknown", failure };
      const outcome = { element, note, isSettled: false };
      this.#done.set(key, { element, outcome });
      this.#pending.push(outcome);
    }
  }

  /** Published or failed with this very recipe, and nothing left to find out. */
  #isDone(planned: Element): boolean {
    const { retry, without } = this.#options;
    const key = elementKey(planned);
    const before = this.#published.matrix.find((old) => elementKey(old) === key);
    if (before === undefined || changeReasons(before, planned).length > 0) return false;
    const note = this.#published.attempts.find((attempt) => attempt.element === key);
    if (note?.failure !== undefined || note?.load?.verdict.verdict === "fail") return !retry;
    const isUntested = note?.load?.verdict.verdict === "unknown" && !without?.includes("load");
    return !isUntested || this.#kernelOf(planned)?.notLoadableSince !== undefined;
  }

  #kernelOf(element: Element): CatalogKernel | undefined {
    const name = kernelName(element);
    return this.#catalog.kernels.find((known) => kernelName(known) === name);
  }

  /** The recipe needs the toolchain root; making one keeps a processor busy, finding one does not. */
  async #plan(element: Element, driver: LoadedDriver, context: ElementContext) {
    const { build, progress, processors, signal } = context;
    const plan = () => planRecipe(element, driver, build, signal);
    if (
      element.compiler === undefined ||
      (await build.toolchains.isReady(element.distribution, element.compiler))
    )
      return plan();
    progress.element(
      elementName(element),
      "toolchain",
      `${element.distribution} with ${element.compiler.family}-${element.compiler.version}`,
    );
    const making = build.toolchains.making(element.distribution, element.compiler);
    if (making !== undefined) {
      await making;
      return plan();
    }
    return processors.add(plan, { signal, priority: 2 });
  }

  #learn(element: Element, lesson: Lesson, context: ElementContext): void {
    const since = this.#options.now().toISOString();
    const name = kernelName(element);
    this.#catalog = {
      ...this.#catalog,
      kernels: this.#catalog.kernels.map((kernel) => {
        if (kernelName(kernel) !== name) return kernel;
        return lesson === "notFetchable"
          ? { ...kernel, notFetchableSince: kernel.notFetchableSince ?? since }
          : { ...kernel, notLoadableSince: kernel.notLoadableSince ?? since };
      }),
    };
    this.#startWanted(context);
  }

  /** Known not to be on the mirror, and not built before: there is nothing to try. */
  #isOutOfReach(element: Element): boolean {
    if (this.#kernelOf(element)?.notFetchableSince === undefined) return false;
    const key = elementKey(element);
    return !this.#published.matrix.some((old) => elementKey(old) === key);
  }

  async #publishSometimes(): Promise<void> {
    if (performance.now() - this.#lastPublished > PUBLISH_INTERVAL_MS) await this.#publish();
  }

  /** One after the other, and only if there is something to say. */
  async #publish(): Promise<void> {
    this.#publishing = this.#publishing.then(async () => {
      const outcomes = this.#pending;
      this.#pending = [];
      const next = nextState(this.#published, this.#catalog, outcomes);
      this.#lastPublished = performance.now();
      if (saysTheSame(this.#published, next)) return;
      this.#published = await writePublished(this.#farm.store, next, this.#options.now());
      await refreshView(this.#farm.store, this.#published);
    });
    await this.#publishing;
  }

  #elementContext(): ElementContext {
    const { http, scratch, cache, images, builder, sandbox, store } = this.#farm;
    const mirrors = new Map(this.#catalog.sources.map(({ id, url }) => [id, url]));
    const inputs = new Inputs({ http, scratch, cache, mirrors });
    const toolchains = new Toolchains({ cache, scratch, images, builder, mirrors: this.#farm.mirrors });
    const build: BuildContext = { inputs, toolchains, sandbox, scratch, cache, images, builder };
    const { progress, now, signal, without, retry } = this.#options;
    const guests = this.#catalog.guests;
    const isLoaded = !without?.includes("load");
    return {
      build,
      boot: { http, inputs, scratch, cache },
      store,
      progress,
      processors: this.#processors,
      images: this.#images,
      guests,
      isLoaded,
      now,
      signal,
      retry: retry ?? false,
    };
  }

  #newlyDone(): number {
    return [...this.#done.values()].filter(({ outcome }) => outcome?.artifact !== undefined).length;
  }

  #report(): RunReport {
    const notes = new Map(this.#published.attempts.map((note) => [note.element, note]));
    const stable = new Set(this.#published.indices.flatMap((index) => index.stable.map(viewPath)));
    const rows = this.#wanted().flatMap((wanted): RunRow[] => {
      const key = elementKey(wanted);
      const done = this.#done.get(key);
      const note = notes.get(key);
      if (done === undefined || note === undefined) return [];
      const path = viewPath(wanted);
      return [
        {
          element: done.element,
          note,
          isNew: done.outcome !== undefined,
          ...(stable.has(path) ? { path } : {}),
        },
      ];
    });
    return {
      rows,
      problems: this.#problems,
      unfetchable: this.#catalog.kernels.filter((kernel) => kernel.notFetchableSince !== undefined).length,
      generation: this.#published.head?.number ?? 0,
      kernels: this.#catalog.kernels.length,
    };
  }
}

function wantedDriver(farm: Farm) {
  return ({ name, version }: LoadedDriver) => ({
    name,
    version,
    series: farm.config.drivers.find((driver) => driver.name === name && driver.versions.includes(version))
      ?.series,
  });
}

function forgetLessons(catalog: Catalog): Catalog {
  const kernels = catalog.kernels.map(({ notFetchableSince: _a, notLoadableSince: _b, ...kernel }) => kernel);
  return { ...catalog, kernels };
}
