/**
 * What is wanted tonight, and in which order: whom an element waits for, what goes ahead of it, and why it came when it
 * did. Who works on it, and what comes of it, is known elsewhere.
 */
import { FarmError } from "../../base/error.ts";
import { NOTHING_CHANGED, type Progress, type Stage } from "../../base/progress.ts";
import type { LoadedDriver, Need } from "../../builder/driver.ts";
import { inRepositories } from "../../catalog/catalog.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import type { Drivers } from "../drivers.ts";
import { type GapOrder, openGapOrder } from "../gap/order.ts";
import { identityOf, versionOf } from "../needs.ts";
import type { Farm } from "../open.ts";
import type { Ledger } from "./ledger.ts";
import type { RunOptions } from "./run-options.ts";
import { unknownSelections, type Wanted, wantedElements } from "./wanted.ts";

export class Demand {
  readonly #farm: Farm;
  readonly #options: RunOptions;
  readonly #ledger: Ledger;
  readonly #drivers: Drivers;
  #wanted: Wanted = { elements: [], excluded: [], isEmpty: false };
  /** Where a driver version is wanted for a kernel, for those that need it. */
  #byIdentity = new Map<string, Element>();
  #byKey = new Map<string, Element>();
  /** What goes ahead where fixes count, and why. */
  #order: GapOrder | undefined;

  constructor(farm: Farm, options: RunOptions, ledger: Ledger, drivers: Drivers) {
    this.#farm = farm;
    this.#options = options;
    this.#ledger = ledger;
    this.#drivers = drivers;
  }

  /**
   * A source that failed may be the one that knows the word.
   * @throws FarmError CONFIG_INVALID for a selection with a word that names nothing, unless `mayBeKnown`
   */
  refuseUnknownWords(mayBeKnown: boolean): void {
    if (this.#options.matrix !== undefined) return;
    const facts = unknownSelections(this.#farm.config.select, this.#ledger.catalog);
    if (facts.length === 0) return;
    const detail = facts.join("; ");
    if (!mayBeKnown) throw new FarmError("CONFIG_INVALID", { detail });
    this.#options.progress.say(detail);
  }

  /** Asks what fixes the kernels bring that are known by now, if the configuration wants that to decide. */
  async putInOrder(): Promise<void> {
    if (this.#farm.config.order !== "gap") return;
    const { published, catalog, facts } = this.#ledger;
    const state = { ...published, catalog, facts: [...facts.values()] };
    this.#order = await openGapOrder(this.#farm.store, state, this.#options.now());
    this.#options.dry?.inOrder(this.#order);
    const { date } = this.#order;
    this.#options.progress.say(
      date === undefined
        ? "order: no feed has CVEs, so it goes by age; `kmodfarm gap ingest` reads feeds"
        : `order: by what kernels close, as known on ${date}`,
    );
  }

  /** Looks again at what is wanted, because kernels came or something was learned of them. */
  renew(): void {
    this.#wanted = this.#select();
    const { elements } = this.#wanted;
    this.#byIdentity = new Map(elements.map((element) => [identityOf(element, versionOf(element)), element]));
    this.#byKey = new Map(elements.map((element) => [elementKey(element), element]));
  }

  #select(): Wanted {
    const { matrix, now, narrowed, choose = (all) => all } = this.#options;
    if (matrix !== undefined) return { elements: matrix, excluded: [], isEmpty: false };
    const { exclude } = this.#farm.config;
    const { select = this.#farm.config.select } = this.#options;
    const drivers = [...this.#drivers.loaded, ...this.#drivers.absent].map(wantedDriver(this.#farm));
    const { catalog, facts } = this.#ledger;
    const kernels = this.#options.kernels?.(catalog, facts);
    const asked = { select, exclude, narrowed, facts, kernels, now: now() };
    const wanted = wantedElements(catalog, drivers, asked);
    return { ...wanted, elements: choose(wanted.elements) };
  }

  /** As of the last `renew`. */
  get wanted(): Wanted {
    return this.#wanted;
  }

  /** Where a driver version is wanted for a kernel, by `identityOf`. */
  byIdentity(identity: string): Element | undefined {
    return this.#byIdentity.get(identity);
  }

  /** All that is wanted; who is needed comes first, so that the others have something to wait for. */
  inTurn(): { readonly element: Element; readonly priority: number }[] {
    const isInRepository = inRepositories(this.#ledger.catalog.sources);
    return this.#wanted.elements
      .map((element) => ({
        element,
        // What only a list names may be slow without end: it must not hold every slot before the others begin.
        priority: 2 * this.rankOf(element) + Number(isInRepository(element)),
        depth: this.#needsOf(element).length,
      }))
      .toSorted((a, b) => a.depth - b.depth || b.priority - a.priority);
  }

  /** The wanted elements whose modules this one is built with. */
  awaitedBy(element: Element): Element[] {
    return this.#needsOf(element).flatMap((need) => this.byIdentity(identityOf(element, need)) ?? []);
  }

  #needsOf({ driver, driverversion }: Element): readonly Need[] {
    const { loaded } = this.#drivers;
    return loaded.find(({ name, version }) => name === driver && version === driverversion)?.needs ?? [];
  }

  /** Of what is asked for as urgent by the run itself, and of all else, what closes more comes first. */
  rankOf(element: Element): number {
    const urgent = this.#options.rank?.(element) ?? 0;
    if (this.#order === undefined) return urgent;
    return urgent * (this.#order.ranks + 1) + this.#order.rankOf(element);
  }

  /** With the reason why it came when it did behind what became of an element. */
  explain(progress: Progress): Progress {
    return {
      say: (text) => progress.say(text),
      element: (element, stage, detail) => {
        const isTold = EXPLAINED.has(stage) && detail !== NOTHING_CHANGED;
        const why = isTold ? this.#whyOf(element.key) : undefined;
        const words = [detail, why].filter((one) => one !== undefined);
        progress.element(element, stage, words.length === 0 ? undefined : words.join("; "));
      },
      task: (name, detail) => progress.task?.(name, detail),
      expect: (outlook) => progress.expect?.(outlook),
    };
  }

  #whyOf(key: string): string | undefined {
    const element = this.#byKey.get(key);
    return element === undefined ? undefined : this.#order?.whyOf(element);
  }
}

const EXPLAINED: ReadonlySet<Stage> = new Set(["waiting", "ordered", "published", "candidate", "failed"]);

function wantedDriver(farm: Farm) {
  return ({ name, version }: Pick<LoadedDriver, "name" | "version">) => ({
    name,
    version,
    series: farm.config.drivers.find((driver) => driver.name === name && driver.versions.includes(version))
      ?.series,
  });
}
