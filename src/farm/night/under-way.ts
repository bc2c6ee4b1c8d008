/**
 * Elements under way: each is planned, tried where the executor does that, and recorded, behind those that it waits for.
 * Whatever becomes of one is reported, and ends no other.
 */
import PQueue from "p-queue";
import { type FarmError, ownError, toFarmError } from "../../base/error.ts";
import { NOTHING_CHANGED, SAME_BYTES } from "../../base/progress.ts";
import { type Element, elementKey, elementName, named } from "../../matrix/element.ts";
import type { Outcome } from "../../registry/publish.ts";
import type { Work } from "../executors/executor.ts";
import type { Farm } from "../open.ts";
import type { Demand } from "./demand.ts";
import { type ElementContext, failedOutcome, type Lesson, tryElement } from "./element.ts";
import { type DoneContext, isDone } from "./is-done.ts";
import type { Planner } from "./planner.ts";
import type { Problems } from "./problems.ts";
import type { Done } from "./report.ts";
import { Started } from "./started.ts";

interface Parts extends DoneContext {
  readonly farm: Farm;
  readonly demand: Demand;
  readonly problems: Problems;
  readonly planner: Planner;
  readonly context: ElementContext;
  /** What was learned may change what is wanted. */
  readonly onLesson: () => void;
}

export class UnderWay {
  /** What became of elements, by `elementKey`. */
  readonly done = new Map<string, Done>();
  /** Keys of elements that another process builds or tests. */
  readonly handedOut = new Set<string>();
  readonly #parts: Parts;
  readonly #started = new Started();
  /** Enough at once that some can compute while others fetch. */
  readonly #places: PQueue;
  /** Why nothing can be published in this run. */
  #unwritable: FarmError | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#places = new PQueue({ concurrency: parts.farm.config.jobs * 4 });
  }

  /** Starts what is wanted and neither under way nor out of reach. */
  startWanted(): void {
    const { demand, ledger, options } = this.#parts;
    for (const { element, priority } of demand.inTurn()) {
      if (this.#started.has(element) || ledger.isOutOfReach(element)) continue;
      if (options.only?.has(elementKey(element)) === false) {
        this.#passOver(element);
        continue;
      }
      options.progress.element(named(element), "waiting");
      // An element that waits for another one takes no place among those under way.
      this.#started.start(element, demand.awaitedBy(element), () =>
        this.#places.add(() => this.#goThrough(element), { priority }),
      );
    }
  }

  /** What the store says of an element is all that is known of one that is not planned. */
  #passOver(element: Element): void {
    const { ledger, upkeep } = this.#parts;
    const key = elementKey(element);
    const settled = ledger.settledAs(element);
    if (settled === undefined || upkeep.isDamaged(settled)) this.handedOut.add(key);
    else this.done.set(key, { element: settled, isNew: false });
  }

  /** Waits until nothing is under way. @throws FarmError as `prepare` of the store does */
  async allEnded(): Promise<void> {
    await this.#started.allEnded();
    if (this.#unwritable !== undefined) throw this.#unwritable;
  }

  /** Nothing that is thrown on an element's way leaves here. */
  async #goThrough(element: Element): Promise<void> {
    const { farm, ledger, problems, options } = this.#parts;
    const { signal, progress, dry } = options;
    if (signal.aborted) return;
    try {
      await this.#try(element);
      if (dry !== undefined) return;
      const fault = await ledger.publishSometimes();
      if (fault !== undefined)
        progress.say(`${farm.store.place}: not written, will be tried again: ${fault.message}`);
    } catch (thrown) {
      if (!signal.aborted) problems.tell(elementName(element), toFarmError(thrown));
    }
  }

  async #try(element: Element): Promise<void> {
    const { planner, context, options } = this.#parts;
    let work: Work | undefined;
    try {
      work = this.#isHeldUp(element) ? undefined : await planner.plan(element);
      if (work === undefined) {
        this.handedOut.add(elementKey(element));
        return;
      }
      if (isDone(work.element, work.driver.needed ?? [], this.#parts)) {
        this.done.set(elementKey(element), { element: work.element, isNew: false });
        options.progress.element(named(element), "published", NOTHING_CHANGED);
        return;
      }
      if (!(await this.#isWorthwhile())) return;
      const result = await tryElement(work, context);
      if (result === undefined) this.handedOut.add(elementKey(element));
      else this.#finish(result.outcome, result.lesson);
    } catch (thrown) {
      const error = ownError(thrown, options.signal);
      // Only the headers were fetched while planning, to learn the compiler; anything else may be missing for this builder alone.
      const isGone =
        error.code === "NOT_FETCHABLE" && (work !== undefined || planner.compilerOf(element) === undefined);
      options.progress.element(named(element), isGone ? "unfetchable" : "failed", error.message);
      const tried = { element: work?.element ?? element, recipe: work?.recipe };
      this.#finish(await failedOutcome(tried, error, context), isGone ? "notFetchable" : undefined);
    }
  }

  /** Whether a driver that it needs is still with another process. */
  #isHeldUp(element: Element): boolean {
    return this.#parts.demand.awaitedBy(element).some((needed) => this.handedOut.has(elementKey(needed)));
  }

  /** Nothing is built for a store that does not take it. */
  async #isWorthwhile(): Promise<boolean> {
    await this.#parts.farm.store.prepare().catch((thrown) => {
      this.#unwritable ??= toFarmError(thrown);
    });
    return this.#unwritable === undefined;
  }

  #finish(outcome: Outcome, lesson: Lesson | undefined): void {
    const { ledger, upkeep, options, onLesson } = this.#parts;
    const { element, artifact, note } = outcome;
    const published = ledger.settledAs(element);
    const isDue = published !== undefined && upkeep.isDamaged(published);
    const isNew = ledger.record(outcome, isDue);
    this.done.set(elementKey(element), isNew ? { element, isNew } : { element, isNew, isSame: true });
    if (artifact !== undefined)
      options.progress.element(
        named(element),
        artifact.isStable ? "published" : "candidate",
        isNew ? note.refusals?.join("; ") : SAME_BYTES,
      );
    if (lesson === undefined) return;
    ledger.learn(element, lesson);
    onLesson();
  }
}
