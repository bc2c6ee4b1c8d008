/**
 * The coordinator: which elements are wanted, the way of each through the farm, and what came of it. Where an element is
 * built and booted is its executor's concern.
 */

import PQueue from "p-queue";
import { evict, sharedCache } from "../base/cache.ts";
import { FarmError, ownError, toFarmError, traceOf } from "../base/error.ts";
import { NOTHING_CHANGED, type Progress } from "../base/progress.ts";
import { formatSize } from "../base/size.ts";
import type { LoadedDriver, Need, NeededDriver } from "../builder/driver.ts";
import { type Catalog, inRepositories } from "../catalog/catalog.ts";
import { failureOf, type SourceProblem } from "../catalog/update.ts";
import { type Element, elementKey, elementName, named } from "../matrix/element.ts";
import type { Outcome } from "../registry/publish.ts";
import { damageError, repairArtifacts } from "../registry/repair.ts";
import { listAll } from "../registry/standing.ts";
import { viewPath } from "../registry/view-path.ts";
import type { Drivers } from "./drivers.ts";
import { type ElementContext, failedOutcome, type Lesson, tryElement } from "./element.ts";
import type { Work } from "./executors/executor.ts";
import { LocalExecutor } from "./executors/local.ts";
import type { Gate } from "./gate.ts";
import type { Ledger } from "./ledger.ts";
import { hasWaited, identityOf, versionOf } from "./needs.ts";
import { configuredSources, type Farm, type FarmAnswers, openBuild, updateFarmCatalog } from "./open.ts";
import { withoutPlaces } from "./places.ts";
import { Planner } from "./planner.ts";
import { artifactKey, type Done, type RunReport, reportRun } from "./report.ts";
import type { RunOptions } from "./run-options.ts";
import { ModuleSigning } from "./signing/modules.ts";
import type { Attestor } from "./signing/statements.ts";
import { Started } from "./started.ts";
import { unknownSelections, type Wanted, wantedElements } from "./wanted.ts";

interface Parts {
  readonly ledger: Ledger;
  readonly drivers: Drivers;
  readonly gate: Gate;
  readonly attestor: Attestor | undefined;
}

/** After the work: nothing of the cache is used by this process any more. */
async function keepCacheWithin({ config, cache, scratch }: Farm, progress: Progress): Promise<void> {
  if (config.cacheLimit === undefined) return;
  const eviction = await evict(cache, config.cacheLimit, scratch);
  if (eviction.kind === "busy") progress.say("cache: in use by another process, so it was not pruned");
  else if (eviction.kind === "shared") throw sharedCache(cache, eviction.stranger);
  else if (eviction.evicted.length > 0) {
    const { evicted, freedBytes, keptBytes } = eviction;
    progress.say(
      `cache: ${evicted.length} entries removed, ${formatSize(freedBytes)} freed, ${formatSize(keptBytes)} left`,
    );
  }
}

/** To be used in this order: `hear`, `begin`, `want`, `drained`, `end`; `hear` and `want` again at any time before the end. */
export class Coordinator {
  readonly ledger: Ledger;
  readonly #farm: Farm;
  readonly #options: RunOptions;
  readonly #drivers: Drivers;
  readonly #gate: Gate;
  readonly #attestor: Attestor | undefined;
  readonly #modules: ModuleSigning;
  readonly #processors: PQueue;
  /** Elements under way: enough that some can compute while others fetch. */
  readonly #elements: PQueue;
  #problems: SourceProblem[] = [];
  #wantedLast: readonly Element[] = [];
  #excluded: Wanted["excluded"] = [];
  #ofAll: number | undefined;
  #isEmpty = false;
  readonly #started = new Started();
  /** Where a driver version is wanted for a kernel, for those that need it. */
  #wantedBy = new Map<string, Element>();
  readonly #done = new Map<string, Done>();
  /** Keys of elements that another process builds or tests. */
  readonly #handedOut = new Set<string>();
  /** Artifacts with files of which the store has no good copy: they are made again, as far as they are wanted. */
  #damaged: ReadonlySet<string> = new Set();
  /** Why nothing can be published in this run. */
  #unwritable: FarmError | undefined;
  #work: { readonly planner: Planner; readonly context: ElementContext } | undefined;

  constructor(farm: Farm, options: RunOptions, { ledger, drivers, gate, attestor }: Parts) {
    this.ledger = ledger;
    this.#attestor = attestor;
    this.#gate = gate;
    this.#farm = farm;
    this.#modules = new ModuleSigning(farm.config, farm.signing, farm.store);
    this.#options = options;
    this.#drivers = drivers;
    this.#processors = new PQueue({ concurrency: farm.config.jobs });
    this.#elements = new PQueue({ concurrency: farm.config.jobs * 4 });
  }

  /** Lays what sources said over the catalog; a fault of theirs is reported, and ends nothing. */
  hear({ repositories, lists }: FarmAnswers): void {
    const { progress, now } = this.#options;
    const before = this.ledger.catalog.kernels.length;
    this.#forgetProblems([...repositories, ...lists].map(({ source }) => source.id));
    const failures = [
      ...repositories.map(({ answer }) => (answer.kind === "failed" ? answer.error : undefined)),
      ...lists.map(({ read }) => (read instanceof FarmError ? read : undefined)),
    ];
    for (const failure of failures) this.#sayTrace(failure);
    try {
      const lay = (previous: Catalog) =>
        updateFarmCatalog(previous, { repositories, lists }, { now: now(), facts: this.ledger.facts });
      const update = lay(this.ledger.catalog);
      this.ledger.layCatalog(update.catalog, (previous) => lay(previous).catalog);
      for (const problem of update.problems) this.#problems.push(problem);
      const { length } = update.catalog.kernels;
      if (this.#work === undefined || length !== before)
        progress.say(`catalog: ${length} kernels from ${this.#farm.sources.length} suites`);
      for (const { source, detail } of [...update.problems, ...update.warnings])
        progress.say(`catalog: ${source} ${detail}`);
    } catch (thrown) {
      // The run goes on with the kernels that are known.
      this.#tell("catalog", toFarmError(thrown));
    }
  }

  /** If sources are queried again, their new answers report what is wrong with them. */
  #forgetProblems(sources: readonly string[]): void {
    this.#problems = this.#problems.filter(({ source }) => !sources.includes(source));
  }

  /**
   * Looks at what nodes get: what the store lost is written again, and what it cannot give is made again. In a bucket, which
   * keeps what it has, only if asked to.
   * @throws FarmError CONFIG_INVALID for a selection with a word that names nothing
   */
  async begin(): Promise<void> {
    this.#refuseUnknownWords();
    const { isDry, retry } = this.#options;
    if (isDry !== true && (this.#farm.store.isNear || retry === true))
      await this.#alone("store", async () => {
        const lost = await this.#repair();
        await this.#alone("signatures", () => this.#signPublished(lost));
      });
    this.#work = this.#open();
  }

  /** Starts every wanted element that is not under way; to be asked again when what is wanted may have changed. */
  want(): void {
    this.#wantedLast = this.#wanted();
    this.#wantedBy = new Map(
      this.#wantedLast.map((element) => [identityOf(element, versionOf(element)), element]),
    );
    const isInRepository = inRepositories(this.ledger.catalog.sources);
    // What only a list names may be slow without end: it must not hold every slot before the others begin.
    const priority = (element: Element) => 2 * this.#rankOf(element) + Number(isInRepository(element));
    const depth = (element: Element) => this.#needsOf(element).length;
    // Who is needed is started first, so that the others have something to wait for.
    const ordered = this.#wantedLast.toSorted((a, b) => depth(a) - depth(b) || priority(b) - priority(a));
    for (const element of ordered) {
      if (this.#started.has(element) || this.ledger.isOutOfReach(element)) continue;
      if (this.#options.only?.has(elementKey(element)) === false) {
        this.#passOver(element);
        continue;
      }
      this.#options.progress.element(named(element), "waiting");
      const awaited = this.#needsOf(element).flatMap(
        (need) => this.#wantedBy.get(identityOf(element, need)) ?? [],
      );
      // An element that waits for another one takes no place among those under way.
      this.#started.start(element, awaited, () =>
        this.#elements.add(() => this.#goThrough(element), { priority: priority(element) }),
      );
    }
  }

  /** What the store says of an element is all that is known of one that is not planned. */
  #passOver(element: Element): void {
    const key = elementKey(element);
    const settled = this.ledger.settledAs(element);
    if (settled === undefined || this.#damaged.has(artifactKey(settled))) this.#handedOut.add(key);
    else this.#done.set(key, { element: settled, isNew: false });
  }

  /** Waits until nothing is under way, and publishes what came of it. @throws FarmError NOT_PUBLISHED, and what `prepare` of the store does */
  async drained(): Promise<void> {
    await this.#started.allEnded();
    if (this.#unwritable !== undefined) throw this.#unwritable;
    if (!this.#options.isDry) await this.ledger.publish();
  }

  /** @throws FarmError INTERRUPTED where it was stopped: everything that was finished is published */
  async end(): Promise<RunReport> {
    const { progress, signal } = this.#options;
    if (signal.aborted) {
      const done = [...this.#done.values()].filter(({ isNew }) => isNew).length;
      throw new FarmError("INTERRUPTED", {
        detail: `stopped; the results of ${done} elements of this run are kept`,
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
      ofAll: this.#ofAll,
      isEmpty: this.#isEmpty,
      done: this.#done,
      handedOut: this.#handedOut,
      ledger: this.ledger,
      gate: this.#gate,
      damaged: this.#damaged,
      problems: this.#problems,
      tell: (subject, error) => this.#tell(subject, error),
    });
    await this.#alone("cache", () => keepCacheWithin(this.#farm, progress));
    return report;
  }

  /** Gives what is stable the signatures that are wanted by now, and those that the store lost. */
  async #signPublished(lost: Awaited<ReturnType<typeof repairArtifacts>>["lost"]): Promise<void> {
    const lostDigests = new Set(lost.flatMap(({ damage }) => damage.map(({ digest }) => digest)));
    let count = 0;
    for (const { entry, channel } of listAll(this.ledger.published.indices)) {
      if (channel !== "stable") continue;
      const signed = await this.#modules.signed(entry, (digest) => lostDigests.has(digest));
      if (signed === entry) continue;
      this.ledger.recordSignatures(signed);
      count++;
    }
    if (count === 0) return;
    this.#options.progress.say(`signatures: ${count} published artifacts were signed anew`);
    if (lost.length > 0) await this.#repair();
  }

  /** A source that failed may be the one that knows the word. */
  #refuseUnknownWords(): void {
    if (this.#options.matrix !== undefined) return;
    const facts = unknownSelections(this.#farm.config.select, this.ledger.catalog);
    const detail = facts.join("; ");
    if (facts.length > 0 && this.#problems.length === 0) throw new FarmError("CONFIG_INVALID", { detail });
    if (facts.length > 0) this.#options.progress.say(detail);
  }

  async #repair(): Promise<Awaited<ReturnType<typeof repairArtifacts>>["lost"]> {
    const { repaired, lost } = await repairArtifacts(
      this.#farm.store,
      listAll(this.ledger.published.indices),
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

  #wanted(): readonly Element[] {
    const { matrix, now, narrowed, choose = (all) => all } = this.#options;
    if (matrix !== undefined) return matrix;
    const { select, exclude } = this.#farm.config;
    const drivers = [...this.#drivers.loaded, ...this.#drivers.absent].map(wantedDriver(this.#farm));
    const { ledger } = this;
    const asked = { select, exclude, narrowed, facts: ledger.facts, now: now() };
    const { elements, excluded, ofAll, isEmpty } = wantedElements(ledger.catalog, drivers, asked);
    this.#excluded = excluded;
    this.#ofAll = ofAll;
    this.#isEmpty = isEmpty;
    return choose(elements);
  }

  #rankOf(element: Element): number {
    return this.#options.rank?.(element) ?? 0;
  }

  #needsOf(element: Element): readonly Need[] {
    return this.#driverOf(element)?.needs ?? [];
  }

  #driverOf({ driver, driverversion }: Element): LoadedDriver | undefined {
    return this.#drivers.loaded.find(({ name, version }) => name === driver && version === driverversion);
  }

  /** Whatever becomes of an element is reported; nothing that is thrown on its way leaves here. */
  async #goThrough(element: Element): Promise<void> {
    const { signal, progress } = this.#options;
    if (signal.aborted) return;
    try {
      await this.#tryOne(element);
      if (this.#options.isDry) return;
      const fault = await this.ledger.publishSometimes();
      if (fault !== undefined)
        progress.say(`${this.#farm.store.place}: not written, will be tried again: ${fault.message}`);
    } catch (thrown) {
      if (!signal.aborted) this.#tell(elementName(element), toFarmError(thrown));
    }
  }

  async #tryOne(element: Element): Promise<void> {
    const { planner, context } = this.#begun;
    let work: Work | undefined;
    try {
      if (this.#isHeldUp(element)) {
        this.#handedOut.add(elementKey(element));
        return;
      }
      work = await planner.plan(element);
      if (work === undefined) {
        this.#handedOut.add(elementKey(element));
        return;
      }
      if (this.#isDone(work.element, work.driver.needed)) {
        this.#done.set(elementKey(element), { element: work.element, isNew: false });
        this.#options.progress.element(named(element), "published", NOTHING_CHANGED);
        return;
      }
      if (!(await this.#isWorthwhile())) return;
      const result = await tryElement(work, context);
      if (result === undefined) {
        this.#handedOut.add(elementKey(element));
        return;
      }
      this.#finish(result.outcome, result.lesson);
    } catch (thrown) {
      const error = ownError(thrown, this.#options.signal);
      // Only the headers were fetched while planning, to learn the compiler; anything else may be missing for this builder alone.
      const isGone =
        error.code === "NOT_FETCHABLE" && (work !== undefined || planner.compilerOf(element) === undefined);
      this.#options.progress.element(named(element), isGone ? "unfetchable" : "failed", error.message);
      const outcome = await failedOutcome(
        { element: work?.element ?? element, recipe: work?.recipe },
        error,
        context,
      );
      this.#finish(outcome, isGone ? "notFetchable" : undefined);
    }
  }

  /** Nothing is built for a store that does not take it. */
  async #isWorthwhile(): Promise<boolean> {
    await this.#farm.store.prepare().catch((thrown) => {
      this.#unwritable ??= toFarmError(thrown);
    });
    return this.#unwritable === undefined;
  }

  /** Whether a driver that it needs is still with another process. */
  #isHeldUp(element: Element): boolean {
    return this.#needsOf(element).some((need) => {
      const needed = this.#wantedBy.get(identityOf(element, need));
      return needed !== undefined && this.#handedOut.has(elementKey(needed));
    });
  }

  #finish(outcome: Outcome, lesson: Lesson | undefined): void {
    this.ledger.record(outcome);
    this.#done.set(elementKey(outcome.element), { element: outcome.element, isNew: true });
    if (lesson === undefined) return;
    this.ledger.learn(outcome.element, lesson);
    this.want();
  }

  /** Published or failed with this very recipe, and nothing left to find out. */
  #isDone(planned: Element, needed: readonly NeededDriver[] = []): boolean {
    const { retry, without, fresh } = this.#options;
    if (planned.recipe !== undefined && fresh?.has(planned.recipe)) return false;
    if (!this.ledger.isSettled(planned) || this.#damaged.has(artifactKey(planned))) return false;
    const note = this.ledger.noteOf(elementKey(planned));
    if (note !== undefined && hasWaited(note, needed)) return false;
    if (this.#attestor !== undefined && this.#isUnstated(planned)) return false;
    const isRefused = note?.load?.verdict.verdict === "pass" && (note.refusals ?? []).length > 0;
    if (note?.failure !== undefined || note?.load?.verdict.verdict === "fail" || isRefused) return !retry;
    const isUntested = note?.load?.verdict.verdict === "unknown" && !without?.includes("load");
    return !isUntested || this.ledger.factsOf(planned).fetching?.notLoadableSince !== undefined;
  }

  /** Whether it was built, by an earlier version or a farm without keys, and nothing states how. */
  #isUnstated(planned: Element): boolean {
    const { entry } = this.ledger.knownOf(planned, versionOf(planned), planned);
    return entry !== undefined && entry.recipe === planned.recipe && entry.provenance === undefined;
  }

  get #begun() {
    if (this.#work === undefined) throw new Error("the coordinator has not begun");
    return this.#work;
  }

  #open() {
    const { scratch, cache, store, steps } = this.#farm;
    const { progress, now, signal, without, retry, executor } = this.#options;
    const build = openBuild(this.#farm, this.ledger.catalog, (text) => progress.say(text), this.ledger);
    const { guests, sources } = this.ledger.catalog;
    const boot = { inputs: build.inputs, scratch, cache };
    const processors = this.#processors;
    const mirrors = Object.fromEntries(sources.map(({ id, url }) => [id, url]));
    const { builder: architecture, emulated } = this.#farm;
    const machine = { architecture, emulated };
    const isLoaded = !without?.includes("load");
    const noteOf = (key: string) => this.ledger.noteOf(key);
    const shared = { steps, build, boot, processors, isLoaded, signal, mirrors, machine, noteOf, guests };
    const made = executor?.(shared) ?? new LocalExecutor(shared);
    // What workers found out counts, whether or not kernels are booted here.
    const isElsewhere = made.name === "handOvers";
    const planner = new Planner({
      farm: this.#farm,
      ledger: this.ledger,
      drivers: this.#drivers,
      ...{ build, processors, progress, signal, isElsewhere },
      wantedBy: (identity) => this.#wantedBy.get(identity),
      rankOf: (element) => this.#rankOf(element),
      isDone: (planned, needed) => this.#isDone(planned, needed),
      isRetry: retry ?? false,
    });
    const context: ElementContext = {
      ...{ build, scratch, cache, store, progress, guests, steps, now, signal },
      sources: configuredSources(this.#farm, this.ledger.catalog),
      listed: (kernel) => this.ledger.kernelOf(kernel)?.packages,
      isLoaded: isLoaded || isElsewhere,
      executor: made,
      gate: this.#gate,
      attestor: this.#attestor,
      toolchains: this.#farm.config.toolchains,
      modules: this.#modules,
      shown: withoutPlaces(this.#farm),
      learn: (facts) => this.ledger.learnFacts(facts),
      retry: retry ?? false,
    };
    return { planner, context };
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
