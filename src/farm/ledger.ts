/**
 * The ledger of a run: what is published, what this run adds to it, and what it learned about kernels. What a
 * run came to stays here until the store has it: a write that fails is tried again.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { FarmError, toFarmError } from "../base/error.ts";
import { canonicalJson } from "../base/json.ts";
import type { Need } from "../builder/driver.ts";
import type { InstalledPackage } from "../builder/records.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { type Compiler, type KernelId, kernelName } from "../kernel/kernel.ts";
import { changeReasons } from "../matrix/diff.ts";
import { type Element, elementKey, elementName } from "../matrix/element.ts";
import type { AttemptNote, IndexEntry, Published } from "../registry/documents.ts";
import { readPublished, settle, writePublished } from "../registry/generations.ts";
import { nextState, type Outcome, saysTheSame } from "../registry/publish.ts";
import type { Store } from "../registry/stores/store.ts";
import { refreshView } from "../registry/view.ts";
import type { Lesson } from "./element.ts";
import { identityOf, type Known, versionOf } from "./needs.ts";
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
  readonly #now: () => Date;
  readonly #times: LedgerTimes;
  #published: Published;
  #settled: ReadonlyMap<string, Element>;
  #notes: ReadonlyMap<string, AttemptNote>;
  readonly #kernels = new Map<string, CatalogKernel>();
  #catalog: Omit<Catalog, "kernels">;
  /** Not yet in the store, oldest first. */
  readonly #pending: Outcome[] = [];
  readonly #roots = new Map<string, readonly InstalledPackage[]>();
  #publishing: Promise<void> = Promise.resolve();
  #lastTried = performance.now();
  /** Whether the last write failed: nothing is known then of how far it came. */
  #isInDoubt = false;

  constructor(
    store: Store,
    published: Published,
    now: () => Date,
    times: LedgerTimes = { intervalMs: PUBLISH_INTERVAL_MS, retryDelaysMs: RETRY_DELAYS_MS },
  ) {
    this.#store = store;
    this.#now = now;
    this.#times = times;
    this.#published = published;
    this.#settled = settledOf(published);
    this.#notes = notesOf(published);
    this.#catalog = published.catalog;
    this.catalog = published.catalog;
  }

  get published(): Published {
    return this.#published;
  }

  get catalog(): Catalog {
    return { ...this.#catalog, kernels: [...this.#kernels.values()] };
  }

  set catalog(catalog: Catalog) {
    this.#catalog = catalog;
    this.#kernels.clear();
    for (const kernel of catalog.kernels) this.#kernels.set(kernelName(kernel), kernel);
  }

  kernelOf(id: KernelId): CatalogKernel | undefined {
    return this.#kernels.get(kernelName(id));
  }

  /** What became of an element when it was last tried. */
  noteOf(key: string): AttemptNote | undefined {
    return this.#notes.get(key);
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

  /** Published, or failed by its own fault, with this very recipe. */
  isSettled(planned: Element): boolean {
    const before = this.#settled.get(elementKey(planned));
    return before !== undefined && changeReasons(before, planned).length === 0;
  }

  /** Known not to be on the mirror, and not built before: there is nothing to try. */
  isOutOfReach(element: Element): boolean {
    return this.kernelOf(element)?.notFetchableSince !== undefined && !this.#settled.has(elementKey(element));
  }

  /** @throws FarmError for what cannot be written: it would keep everything else from being published */
  record(found: Outcome): void {
    const outcome = boundedOutcome(found);
    const { element, note, artifact, decision } = outcome;
    canonicalJson([element, note, artifact, decision].filter((part) => part !== undefined));
    this.#pending.push(withTries(outcome, this.noteOf(note.element)));
  }

  learn(element: Element, lesson: Lesson): void {
    const kernel = this.kernelOf(element);
    if (kernel === undefined) return;
    const fact = lesson === "notFetchable" ? "notFetchableSince" : "notLoadableSince";
    this.#kernels.set(kernelName(kernel), { ...kernel, [fact]: kernel[fact] ?? this.#now().toISOString() });
  }

  learnCompiler(element: Element, compiler: Compiler): void {
    const kernel = this.kernelOf(element);
    if (kernel !== undefined) this.#kernels.set(kernelName(kernel), { ...kernel, compiler });
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
    for (const [name, { notFetchableSince: _a, notLoadableSince: _b, ...kernel }] of this.#kernels) {
      this.#kernels.set(name, kernel);
    }
  }

  /**
   * Publishes, if the last time is long enough ago. Why the store did not take it is returned: everything waits
   * for the next time then.
   */
  async publishSometimes(): Promise<FarmError | undefined> {
    if (performance.now() - this.#lastTried < this.#times.intervalMs) return undefined;
    try {
      await this.#publishInTurn();
      return undefined;
    } catch (thrown) {
      return toFarmError(thrown);
    }
  }

  /**
   * Publishes all that waits, and tries again while the store fails.
   * @throws FarmError NOT_PUBLISHED with what is not; and what no waiting helps against: STORE_BUSY, STORE_CORRUPT
   */
  async publish(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#publishInTurn();
      } catch (thrown) {
        const error = toFarmError(thrown);
        if (error.blame === "integrity" || error.code === "STORE_BUSY") throw error;
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
    if (this.#isInDoubt) await this.#readAgain();
    const count = this.#pending.length;
    const roots = Object.fromEntries([...this.#roots].map(([name, packages]) => [name, [...packages]]));
    const next = nextState(this.#published, this.catalog, this.#pending, roots);
    // Until both the state and its view are written, the next try has to look at what is there.
    this.#isInDoubt = true;
    const isNews = !saysTheSame(this.#published, next);
    if (isNews) this.#adopt(await writePublished(this.#store, next, this.#now()));
    // What is recorded meanwhile stands behind these.
    this.#pending.splice(0, count);
    if (isNews) await refreshView(this.#store, this.#published);
    this.#isInDoubt = false;
  }

  /** A write that failed may have moved the channels all the same, or half of them. */
  async #readAgain(): Promise<void> {
    await settle(this.#store);
    this.#adopt(await readPublished(this.#store, "candidate"));
    await refreshView(this.#store, this.#published);
  }

  #adopt(published: Published): void {
    this.#published = published;
    this.#settled = settledOf(published);
    this.#notes = notesOf(published);
  }

  #notPublished(cause: FarmError, tries: number): FarmError {
    const names = this.#pending.map(({ element }) => elementName(element));
    const more = names.length > NAMED_OUTCOMES ? `, and ${names.length - NAMED_OUTCOMES} more` : "";
    const what = names.length === 0 ? "the state of this run is" : `${names.length} outcomes are`;
    return new FarmError("NOT_PUBLISHED", {
      detail: `${what} not published: ${this.#store.place} failed ${tries} times, at last with: ${cause.message} [${cause.code}]`,
      ...(names.length === 0
        ? {}
        : { at: { waiting: `${names.slice(0, NAMED_OUTCOMES).join(", ")}${more}` } }),
      cause,
    });
  }
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

function settledOf({ matrix }: Published): ReadonlyMap<string, Element> {
  return new Map(matrix.map((element) => [elementKey(element), element]));
}

function notesOf({ attempts }: Published): ReadonlyMap<string, AttemptNote> {
  return new Map(attempts.map((note) => [note.element, note]));
}
