/**
 * The ledger of a run: what is published, what this run adds to it, and what it learned about kernels. What a
 * run came to stays here until the store has it: a write that fails is tried again, and what others published
 * meanwhile stays.
 */

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { counted } from "../../base/counted.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import { canonicalJson } from "../../base/json.ts";
import type { Need } from "../../builder/driver.ts";
import type { InstalledPackage } from "../../builder/records.ts";
import type { Catalog, CatalogKernel } from "../../catalog/catalog.ts";
import {
  factsByKernel,
  factsOf,
  fetchingFacts,
  headersFacts,
  idOf,
  type KernelFacts,
  type KnownFacts,
  type Learned,
  type PackagedKernel,
  withAllLearned,
  withLearned,
  withoutFetching,
} from "../../kernel/facts.ts";
import { type Compiler, type KernelId, kernelName } from "../../kernel/kernel.ts";
import { changeReasons } from "../../matrix/diff.ts";
import { Element, elementKey, elementName } from "../../matrix/element.ts";
import { putBlob } from "../../registry/blobs.ts";
import { type Author, commit } from "../../registry/commit.ts";
import { AttemptNote, Decision, IndexEntry, type Published } from "../../registry/documents.ts";
import { nextState, type Outcome } from "../../registry/publish.ts";
import { ENTRY_LIMIT_BYTES, requireKeepable } from "../../registry/readable.ts";
import type { Store } from "../../registry/stores/store.ts";
import { identityOf, type Known, versionOf } from "../needs.ts";
import type { Lesson } from "./element.ts";
import { boundedOutcome } from "./outcome-size.ts";

/** Publishing costs a generation: what finishes in between goes into the next. */
const PUBLISH_INTERVAL_MS = 15_000;
/** How long to wait before each further try, once nothing else is left to do. */
const RETRY_DELAYS_MS: readonly number[] = [1_000, 5_000, 15_000, 45_000];
const NAMED_OUTCOMES = 20;
/** A build that failed for no proven reason is left alone after so many tries. */
export const MOST_TRIES = 3;

/** When a ledger writes; the usual times suit a night. */
export interface LedgerTimes {
  readonly intervalMs: number;
  readonly retryDelaysMs: readonly number[];
}

export class Ledger {
  readonly #store: Store;
  readonly #author: Author;
  readonly #shown: (text: string) => string;
  readonly #times: LedgerTimes;
  #published: Published;
  /** Until it was held against the store once: a run without news ends without asking for news. */
  #isOpening = true;
  #settled: ReadonlyMap<string, Element>;
  #notes: ReadonlyMap<string, AttemptNote>;
  readonly #kernels = new Map<string, CatalogKernel>();
  #catalog: Omit<Catalog, "kernels">;
  /** What this run heard, laid over a catalog; done again where another one was published meanwhile. */
  #lay: (catalog: Catalog) => Catalog = (catalog) => catalog;
  #facts: Map<string, KernelFacts>;
  /** What was learned of kernels and is not in the store yet; it is laid over what is there by then. */
  readonly #learned = new Map<string, KernelFacts>();
  #isForgetting = false;
  /** Not yet in the store, oldest first. */
  readonly #pending: Outcome[] = [];
  /** What came out as it is published already: no news, so it waits for some. */
  #unchanged: Outcome[] = [];
  /** Published artifacts as they are with the signatures that they got since. */
  readonly #signed = new Set<IndexEntry>();
  readonly #roots = new Map<string, readonly InstalledPackage[]>();
  #publishing: Promise<void> = Promise.resolve();
  #lastTried = performance.now();

  constructor(
    store: Store,
    published: Published,
    author: Author,
    /** A text as it is published. */
    shown: (text: string) => string = (text) => text,
    times: LedgerTimes = { intervalMs: PUBLISH_INTERVAL_MS, retryDelaysMs: RETRY_DELAYS_MS },
  ) {
    this.#store = store;
    this.#author = author;
    this.#shown = shown;
    this.#times = times;
    this.#published = published;
    this.#settled = settledOf(published);
    this.#notes = notesOf(published);
    this.#catalog = published.catalog;
    this.#setCatalog(published.catalog);
    this.#facts = new Map(factsByKernel(published.facts));
  }

  get published(): Published {
    return this.#published;
  }

  get catalog(): Catalog {
    return { ...this.#catalog, kernels: [...this.#kernels.values()] };
  }

  /** What is known of kernels, with what this run learned. */
  get facts(): KnownFacts {
    return this.#facts;
  }

  factsOf(kernel: PackagedKernel): Learned {
    return factsOf(this.#facts, kernel);
  }

  /** Takes what this run heard: `laid` is what `lay` made of the catalog as it is here. */
  layCatalog(laid: Catalog, lay: (catalog: Catalog) => Catalog): void {
    const before = this.#lay;
    this.#lay = (catalog) => lay(before(catalog));
    this.#setCatalog(laid);
  }

  kernelOf(id: KernelId): CatalogKernel | undefined {
    return this.#kernels.get(kernelName(id));
  }

  /** What became of an element when it was last tried. */
  noteOf(key: string): AttemptNote | undefined {
    return this.#notes.get(key);
  }

  /** The same, published or not. */
  latestNoteOf(key: string): AttemptNote | undefined {
    const waiting = [...this.#unchanged, ...this.#pending];
    return waiting.findLast(({ note }) => note.element === key)?.note ?? this.noteOf(key);
  }

  /** What there is of a driver version for a kernel; `element` is where it is wanted. */
  knownOf(kernel: KernelId, need: Need, element: Element | undefined): Known {
    const identity = identityOf(kernel, need);
    const pending = this.#pending.findLast(
      ({ element: one }) => identityOf(one, versionOf(one)) === identity,
    );
    const index = this.#published.indices.find(
      (one) => one.distribution === kernel.distribution && one.architecture === kernel.architecture,
    );
    const isIts = (entry: IndexEntry) =>
      identityOf({ ...kernel, ...entry }, { name: entry.driver, version: entry.driverVersion }) === identity;
    const note = pending?.note ?? (element === undefined ? undefined : this.noteOf(elementKey(element)));
    if (pending?.artifact !== undefined) return { note, ...pending.artifact };
    // One that is stable has no candidate beside it, unless that is newer.
    const candidate = index?.candidate.find(isIts);
    return { note, entry: candidate ?? index?.stable.find(isIts), isStable: candidate === undefined };
  }

  /** An element as it was when it was published, or failed by its own fault. */
  settledAs(element: Element): Element | undefined {
    return this.#settled.get(elementKey(element));
  }

  /** Whether an element of that key was published, or failed by its own fault, with whatever recipe. */
  hasSettled(key: string): boolean {
    return this.#settled.has(key);
  }

  /** Published, or failed by its own fault, with this very recipe. */
  isSettled(planned: Element): boolean {
    const before = this.#settled.get(elementKey(planned));
    return before !== undefined && changeReasons(before, planned).length === 0;
  }

  /** Known not to be on the mirror, and not built before: there is nothing to try. */
  isOutOfReach(element: Element): boolean {
    const { fetching } = this.factsOf(element);
    return fetching?.notFetchableSince !== undefined && !this.#settled.has(elementKey(element));
  }

  /**
   * Returns whether it is news: what came out byte for byte as it is published is none, and makes no generation; it is
   * written with the next one, unless `isDue` says that it must be written now.
   * @throws FarmError for what could not be read back: it would keep everything else from being published
   */
  record(found: Outcome, isDue = false): boolean {
    const bounded = boundedOutcome(found);
    const outcome = { ...bounded, note: mapTexts(bounded.note, this.#shown) };
    requireReadBack(outcome);
    const { element: key } = outcome.note;
    this.#unchanged = this.#unchanged.filter(({ note }) => note.element !== key);
    const isNews =
      isDue || this.#pending.some(({ note }) => note.element === key) || !this.#isPublished(outcome);
    (isNews ? this.#pending : this.#unchanged).push(withTries(outcome, this.noteOf(key)));
    return isNews;
  }

  /** Whether nodes get these very bytes as stable already, for the same reasons. */
  #isPublished({ element, note, artifact, isSettled }: Outcome): boolean {
    const key = elementKey(element);
    const before = this.noteOf(key);
    if (artifact?.isStable !== true || !isSettled || !this.#settled.has(key)) return false;
    if (before === undefined || before.failure !== undefined) return false;
    if (before.load?.verdict.verdict !== note.load?.verdict.verdict) return false;
    const { entry, isStable } = this.knownOf(element, versionOf(element), element);
    return isStable && entry !== undefined && givenBy(entry) === givenBy(artifact.entry);
  }

  /** Of an artifact that is published already. */
  recordSignatures(signed: IndexEntry): void {
    this.#signed.add(signed);
  }

  learn(element: Element, lesson: Lesson): void {
    this.learnFacts(fetchingFacts(element, lesson, this.#author.now().toISOString()));
  }

  learnCompiler(element: Element, compiler: Compiler): void {
    this.learnFacts(headersFacts(element, { compiler }));
  }

  /** Of kernels that no source lists nothing is kept. */
  learnFacts(learned: KernelFacts | undefined): void {
    if (learned === undefined || this.kernelOf(learned) === undefined) return;
    const name = kernelName(learned);
    for (const facts of [this.#learned, this.#facts])
      facts.set(name, withLearned(facts.get(name) ?? idOf(learned), learned));
  }

  /** What is installed in a toolchain root of that name, wherever it was made. */
  rootOf(name: string): readonly InstalledPackage[] | undefined {
    return this.#roots.get(name) ?? this.#published.roots[name];
  }

  learnRoot(name: string, packages: readonly InstalledPackage[]): void {
    this.#roots.set(name, packages);
  }

  /** Forgets what failed fetches taught, so that all is asked for again. */
  forgetLessons(): void {
    this.#isForgetting = true;
    this.#facts = new Map(factsByKernel(withoutFetching([...this.#facts.values()])));
  }

  /**
   * Publishes, if the last time is long enough ago. Why the store did not take it is returned: everything waits
   * for the next time then.
   */
  async publishSometimes(): Promise<FarmError | undefined> {
    const isWaiting = this.#pending.length > 0 || this.#learned.size > 0;
    if (!isWaiting || performance.now() - this.#lastTried < this.#times.intervalMs) return undefined;
    try {
      await this.#publishInTurn();
      return undefined;
    } catch (thrown) {
      return toFarmError(thrown);
    }
  }

  /**
   * Publishes all that waits, and tries again while the store fails.
   * @throws FarmError NOT_PUBLISHED with what is not; and what no waiting helps against: STORE_CORRUPT
   */
  async publish(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#publishInTurn();
      } catch (thrown) {
        const error = toFarmError(thrown);
        if (error.blame === "integrity") throw error;
        const delayMs = this.#times.retryDelaysMs[tries];
        if (delayMs === undefined) throw this.#notPublished(error, tries + 1);
        await sleep(delayMs);
      }
    }
  }

  /** One publication after the other. */
  #publishInTurn(): Promise<void> {
    const turn = this.#publishing.then(() => this.#publishPending());
    // Nothing is lost: who called hears of it, and what was to be written still waits.
    this.#publishing = turn.catch(() => {});
    return turn;
  }

  async #publishPending(): Promise<void> {
    this.#lastTried = performance.now();
    for (const [index, outcome] of this.#pending.entries())
      this.#pending[index] = await withLogs(outcome, this.#store);
    const outcomes = [...this.#pending];
    const unchanged = [...this.#unchanged];
    const number = this.#published.head?.number;
    const learned = new Map(this.#learned);
    const signed = [...this.#signed];
    const roots = Object.fromEntries([...this.#roots].map(([name, packages]) => [name, [...packages]]));
    const { state, show } = await commit(
      this.#store,
      (before) => {
        const facts = this.#factsOn(before, learned);
        const next = (some: readonly Outcome[]) =>
          nextState(before, this.#catalogOn(before), some, { roots, signed, facts });
        const result = undefined;
        if (unchanged.length === 0) return { state: next(outcomes), result };
        return { state: next(outcomes), beside: next([...unchanged, ...outcomes]), result };
      },
      this.#author,
      { state: this.#published, isNewest: this.#isOpening },
    );
    this.#isOpening = false;
    // What was learned meanwhile is another object. Published once, it is the store's, and others may take its place there.
    for (const [name, facts] of learned) if (this.#learned.get(name) === facts) this.#learned.delete(name);
    for (const entry of signed) this.#signed.delete(entry);
    this.#adopt(state);
    // What is recorded meanwhile stands behind these.
    this.#pending.splice(0, outcomes.length);
    if (state.head?.number !== number && unchanged.length > 0)
      this.#unchanged = this.#unchanged.filter((one) => !unchanged.includes(one));
    await show();
  }

  /** This run's catalog, as it follows from the one that is published. */
  #catalogOn(state: Published): Catalog {
    if (hasSameCatalog(state, this.#published)) return this.catalog;
    return this.#lay(state.catalog);
  }

  #factsOn(
    { facts }: Published,
    learned: ReadonlyMap<string, KernelFacts> = this.#learned,
  ): readonly KernelFacts[] {
    return withAllLearned(this.#isForgetting ? withoutFetching(facts) : facts, [...learned.values()]);
  }

  #setCatalog(catalog: Catalog): void {
    this.#catalog = catalog;
    this.#kernels.clear();
    for (const kernel of catalog.kernels) this.#kernels.set(kernelName(kernel), kernel);
  }

  #adopt(published: Published): void {
    this.#published = published;
    this.#settled = settledOf(published);
    this.#notes = notesOf(published);
    // It is in there.
    this.#lay = (catalog) => catalog;
    this.#isForgetting = false;
    this.#setCatalog(published.catalog);
    this.#facts = new Map(factsByKernel(this.#factsOn(published)));
  }

  #notPublished(cause: FarmError, tries: number): FarmError {
    const names = this.#pending.map(({ element }) => elementName(element));
    const more = names.length > NAMED_OUTCOMES ? `, and ${names.length - NAMED_OUTCOMES} more` : "";
    const are = names.length === 1 ? "is" : "are";
    const what =
      names.length === 0 ? "the state of this run is" : `${counted(names.length, "outcome")} ${are}`;
    return new FarmError("NOT_PUBLISHED", {
      detail: `${what} not published: ${this.#store.place} failed ${tries} times, at last with: ${cause.message} [${cause.code}]`,
      ...(names.length === 0
        ? {}
        : { at: { waiting: `${names.slice(0, NAMED_OUTCOMES).join(", ")}${more}` } }),
      cause,
    });
  }
}

function requireReadBack({ element, note, artifact, decision }: Outcome): void {
  const name = elementName(element);
  canonicalJson([element, note, artifact, decision].filter((part) => part !== undefined));
  requireKeepable(Element, element, `${name}: the element`);
  requireKeepable(AttemptNote, note, `${name}: what became of it`, ENTRY_LIMIT_BYTES);
  if (artifact !== undefined)
    requireKeepable(IndexEntry, artifact.entry, `${name}: the artifact`, ENTRY_LIMIT_BYTES);
  if (decision !== undefined)
    requireKeepable(Decision, decision, `${name}: the gate's decision`, ENTRY_LIMIT_BYTES);
}

function mapTexts<T>(value: T, change: (text: string) => string): T {
  if (typeof value === "string") return change(value) as T;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => mapTexts(one, change)) as T;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, mapTexts(one, change)])) as T;
}

/** The outcome with its logs stored, and named in its note. A file that is gone explains nothing any more. */
async function withLogs(outcome: Outcome, store: Store): Promise<Outcome> {
  const { logs = {}, note, ...rest } = outcome;
  const stored: Pick<AttemptNote, "log" | "console"> = {};
  for (const kind of ["log", "console"] as const) {
    const file = logs[kind];
    const bytes = file === undefined ? undefined : await readFile(file).catch(() => undefined);
    if (bytes !== undefined) stored[kind] = { digest: await putBlob(store, bytes), size: bytes.length };
  }
  return { ...rest, note: { ...note, ...stored } };
}

/** Whether two states have the very same catalog: what did not change is the same object. */
function hasSameCatalog(a: Published, b: Published): boolean {
  const [mine, other] = [a, b].map(({ catalog: { sources, guests, kernels } }) => [
    ...[...sources, "guests", ...guests, "kernels", ...kernels],
  ]) as [unknown[], unknown[]];
  return mine.length === other.length && mine.every((one, index) => one === other[index]);
}

/** Counts the tries of what failed for no proven reason, and settles it when there were enough. */
function withTries(outcome: Outcome, before: AttemptNote | undefined): Outcome {
  const { note } = outcome;
  if (note.failure?.blame !== "unknown") return outcome;
  const isAgain = before?.recipe === note.recipe && before?.failure?.blame === "unknown";
  const tries = (isAgain ? (before?.failure?.tries ?? 0) : 0) + 1;
  return {
    ...outcome,
    note: { ...note, failure: { ...note.failure, tries } },
    isSettled: tries >= MOST_TRIES,
  };
}

/** All that an artifact gives to nodes and says of itself, without what it was made by. */
function givenBy({ provenance, inputs, sbom, modules, ...entry }: IndexEntry): string {
  const { recipe: _, manifest: __, log: ___, ...rest } = entry;
  const bytes = modules.map((module) => ({ ...module, signatures: undefined }));
  return canonicalJson({
    ...rest,
    modules: bytes,
    isStated: provenance !== undefined,
    isKept: inputs !== undefined,
    // It names the recipe, as the manifest does.
    isBilled: sbom !== undefined,
  });
}

function settledOf({ matrix }: Published): ReadonlyMap<string, Element> {
  return new Map(matrix.map((element) => [elementKey(element), element]));
}

function notesOf({ attempts }: Published): ReadonlyMap<string, AttemptNote> {
  return new Map(attempts.map((note) => [note.element, note]));
}
