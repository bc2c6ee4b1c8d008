/**
 * The coordinator: a run from what sources say to its report. What is wanted (demand.ts), what nodes get already
 * (upkeep.ts) and the elements under way (under-way.ts) meet here.
 */

import { evict, sharedCache } from "../../base/cache.ts";
import { counted } from "../../base/counted.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import type { Progress } from "../../base/progress.ts";
import { formatSize } from "../../base/size.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import { leftOut } from "../../registry/head.ts";
import type { Drivers } from "../drivers.ts";
import type { Gate } from "../gate/gate.ts";
import { type Farm, type FarmAnswers, updateFarmCatalog } from "../open.ts";
import { ModuleSigning } from "../signing/modules.ts";
import type { Attestor } from "../signing/statements.ts";
import { Demand } from "./demand.ts";
import type { Ledger } from "./ledger.ts";
import { openWay } from "./opening.ts";
import { Problems } from "./problems.ts";
import { type RunReport, reportRun } from "./report.ts";
import type { RunOptions } from "./run-options.ts";
import { UnderWay } from "./under-way.ts";
import { Upkeep } from "./upkeep.ts";

interface Parts {
  readonly ledger: Ledger;
  readonly drivers: Drivers;
  readonly gate: Gate;
  readonly attestor: Attestor | undefined;
}

/** To be used in this order: `hear`, `begin`, `want`, `drained`, `end`; `hear` and `want` again at any time before the end. */
export class Coordinator {
  readonly ledger: Ledger;
  readonly #farm: Farm;
  readonly #options: RunOptions;
  readonly #parts: Parts;
  readonly #modules: ModuleSigning;
  readonly #problems: Problems;
  readonly #demand: Demand;
  readonly #upkeep: Upkeep;
  #elements: UnderWay | undefined;

  constructor(farm: Farm, options: RunOptions, parts: Parts) {
    const { ledger, drivers } = parts;
    this.ledger = ledger;
    this.#farm = farm;
    this.#parts = parts;
    this.#demand = new Demand(farm, options, ledger, drivers);
    const progress = this.#demand.explain(options.progress);
    this.#options = { ...options, progress };
    this.#problems = new Problems(progress);
    this.#modules = new ModuleSigning(farm.config, farm.signing, farm.store);
    this.#upkeep = new Upkeep(farm, ledger, this.#modules, this.#problems, progress);
  }

  /** Lays what sources said over the catalog; a fault of theirs is reported, and ends nothing. */
  hear({ repositories, lists }: FarmAnswers): void {
    const { progress, now } = this.#options;
    const before = this.ledger.catalog.kernels.length;
    this.#problems.forget([...repositories, ...lists].map(({ source }) => source.id));
    const failures = [
      ...repositories.map(({ answer }) => (answer.kind === "failed" ? answer.error : undefined)),
      ...lists.map(({ read }) => (read instanceof FarmError ? read : undefined)),
    ];
    for (const failure of failures) this.#problems.sayTrace(failure);
    try {
      const lay = (previous: Catalog) =>
        updateFarmCatalog(previous, { repositories, lists }, { now: now(), facts: this.ledger.facts });
      const update = lay(this.ledger.catalog);
      this.ledger.layCatalog(update.catalog, (previous) => lay(previous).catalog);
      for (const problem of update.problems) this.#problems.add(problem);
      const { length } = update.catalog.kernels;
      if (this.#elements === undefined || length !== before)
        progress.say(
          `catalog: ${counted(length, "kernel")} from ${counted(this.#farm.sources.length, "suite")}`,
        );
      for (const { source, detail } of [...update.problems, ...update.warnings])
        progress.say(`catalog: ${source} ${detail}`);
    } catch (thrown) {
      // The run goes on with the kernels that are known.
      this.#problems.tell("catalog", toFarmError(thrown));
    }
  }

  /** Asks what goes ahead by the kernels that are known by now. */
  async putInOrder(): Promise<void> {
    await this.#problems.alone("order", () => this.#demand.putInOrder());
  }

  /**
   * Looks at what nodes get: what the store lost is written again, and what it cannot give is made again. In a bucket, which
   * keeps what it has, only if asked to.
   * @throws FarmError CONFIG_INVALID for a selection with a word that names nothing
   */
  async begin(): Promise<void> {
    this.#demand.refuseUnknownWords(this.#problems.all.length > 0);
    const { dry, retry } = this.#options;
    if (dry === undefined && (this.#farm.store.isNear || retry === true)) await this.#upkeep.look();
    const shared = {
      ...{ farm: this.#farm, options: this.#options, demand: this.#demand },
      ...{ upkeep: this.#upkeep, isStating: this.#parts.attestor !== undefined },
      ...{ ...this.#parts, modules: this.#modules, problems: this.#problems },
    };
    const onLesson = () => this.want();
    this.#elements = new UnderWay({ ...shared, ...openWay(shared), onLesson });
  }

  /** Starts every wanted element that is not under way; to be asked again when what is wanted may have changed. */
  want(): void {
    this.#demand.renew();
    this.#begun.startWanted();
  }

  /** Waits until nothing is under way, and publishes what came of it. @throws FarmError NOT_PUBLISHED, and what `prepare` of the store does */
  async drained(): Promise<void> {
    await this.#begun.allEnded();
    if (this.#options.dry === undefined) await this.ledger.publish();
  }

  /** @throws FarmError INTERRUPTED where it was stopped: everything that was finished is published */
  async end(): Promise<RunReport> {
    const { progress, signal } = this.#options;
    const { done, handedOut } = this.#begun;
    if (signal.aborted) {
      const count = [...done.values()].filter(({ isNew }) => isNew).length;
      throw new FarmError("INTERRUPTED", {
        detail: `stopped; the results of ${counted(count, "element")} of this run are kept, and the cache keeps builds that still wait for their tests`,
      });
    }
    await this.#upkeep.lookAgain();
    await this.#problems.alone("policy", async () => {
      for (const strange of this.#parts.gate.strangeNames()) progress.say(`policy: ${strange}`);
    });
    await this.#problems.alone("node index", () => this.#sayLeftOut());
    const report = await reportRun({
      ...{ done, handedOut, ledger: this.ledger, gate: this.#parts.gate, problems: this.#problems },
      wanted: this.#demand.wanted,
      isDamaged: (artifact) => this.#upkeep.isDamaged(artifact),
    });
    await this.#problems.alone("cache", () => keepCacheWithin(this.#farm, progress));
    return report;
  }

  async #sayLeftOut(): Promise<void> {
    const count = await leftOut(this.#farm.store, this.ledger.published);
    if (count > 0)
      this.#options.progress.say(
        `node index: ${count} answers about kernels that nobody vouches for are left out, because nodes could not read so many`,
      );
  }

  get #begun(): UnderWay {
    if (this.#elements === undefined) throw new Error("the coordinator has not begun");
    return this.#elements;
  }
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
      `cache: ${counted(evicted.length, "entry")} removed, ${formatSize(freedBytes)} freed, ${formatSize(keptBytes)} left`,
    );
  }
}
