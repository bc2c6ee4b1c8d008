/**
 * Opens what elements go through in a run: the executor, who plans, and all that one element's way needs. The catalog must
 * be known by then.
 */
import PQueue from "p-queue";
import type { Drivers } from "../drivers.ts";
import { LocalExecutor } from "../executors/local.ts";
import type { Gate } from "../gate/gate.ts";
import { configuredSources, type Farm, openBuild } from "../open.ts";
import { InputsKeeper } from "../rebuild/kept-inputs.ts";
import type { ModuleSigning } from "../signing/modules.ts";
import type { Attestor } from "../signing/statements.ts";
import type { Demand } from "./demand.ts";
import type { ElementContext } from "./element.ts";
import { expectedStages } from "./expected-time.ts";
import type { DoneContext } from "./is-done.ts";
import { withoutPlaces } from "./places.ts";
import { Planner } from "./planner.ts";

interface Parts extends DoneContext {
  readonly farm: Farm;
  readonly drivers: Drivers;
  readonly gate: Gate;
  readonly attestor: Attestor | undefined;
  readonly modules: ModuleSigning;
  readonly demand: Demand;
}

export function openWay(parts: Parts): { planner: Planner; context: ElementContext } {
  const { farm, options, ledger, gate, attestor, modules } = parts;
  const { config, scratch, cache, store, steps, images, signersOf } = farm;
  const { progress, now, signal, without, retry = false, executor } = options;
  const { guests, sources } = ledger.catalog;
  const build = openBuild(farm, ledger.catalog, (text) => progress.say(text), ledger);
  const boot = { inputs: build.inputs, scratch, cache };
  const processors = new PQueue({ concurrency: config.jobs });
  const mirrors = Object.fromEntries(sources.map(({ id, url }) => [id, url]));
  const machine = { architecture: farm.builder, emulated: farm.emulated };
  const isLoaded = !without?.includes("load");
  const noteOf = (key: string) => ledger.noteOf(key);
  const shared = { steps, build, boot, processors, isLoaded, signal, mirrors, machine, noteOf, guests };
  const made = executor?.(shared) ?? new LocalExecutor(shared);
  const stagesOf = expectedStages(ledger.published.matrix, noteOf);
  progress.expect?.({
    atOnce: config.jobs,
    of: (key) => ({ ...stagesOf(key), isDone: ledger.hasSettled(key) }),
    fetchedBytes: () => farm.http.traffic.bytes,
  });
  // What workers found out counts, whether or not kernels are booted here.
  const isElsewhere = made.name === "handOvers";
  const planner = new Planner({ ...parts, build, processors, isElsewhere });
  const keeper = new InputsKeeper({
    ...{ store, scratch, images, inputs: build.inputs, toolchains: build.toolchains },
    ...{ isAll: config.archive === "all", mirrors: new Map(Object.entries(mirrors)) },
  });
  const context: ElementContext = {
    ...{ build, scratch, cache, store, progress, guests, steps, now, signal, retry },
    ...{ gate, attestor, modules, signersOf },
    sources: configuredSources(farm, ledger.catalog),
    listed: (kernel) => ledger.kernelOf(kernel)?.packages,
    isLoaded: isLoaded || isElsewhere,
    executor: made,
    keepBill: (...kept) => keeper.bill(...kept),
    keepInputs: async (work) => (config.archive === "none" ? undefined : keeper.keep(work, signal)),
    toolchains: config.toolchains,
    shown: withoutPlaces(farm),
    learn: (facts) => ledger.learnFacts(facts),
  };
  return { planner, context };
}
