/**
 * Taking all that workers handed over, and publishing what comes of it: the farm's run, in which nothing is built.
 */
import { type FarmError, toFarmError } from "../../base/error.ts";
import type { Digest } from "../../base/json.ts";
import { untested } from "../../check/checks/load.ts";
import { HandOverExecutor } from "../executors/hand-overs.ts";
import { LocalExecutor } from "../executors/local.ts";
import type { RunReport } from "../night/report.ts";
import { runFarm } from "../night/run.ts";
import type { RunOptions } from "../night/run-options.ts";
import type { Farm } from "../open.ts";
import { PlannedOrders } from "./planned-orders.ts";
import { handOversIn, type Taken, takeHandOver } from "./take.ts";

export interface TakeOptions extends RunOptions {
  /** Directories of hand-overs, or single ones. */
  readonly places: readonly string[];
  /** The directory of orders, where another machine planned, and what that machine called all that was in it. */
  readonly orders?: { readonly place: string; readonly plan: Digest };
}

export interface TakeReport extends RunReport {
  readonly taken: number;
  /** The same as what was taken before. */
  readonly again: number;
  readonly refused: readonly { readonly file: string; readonly error: FarmError }[];
  /** What workers could not carry out. */
  readonly faults: readonly Extract<Taken, { readonly kind: "fault" }>[];
}

/** Boots nothing: what no worker tested stays untested. */
const NOBODY = { load: () => Promise.resolve({ verdict: untested() }) };

/**
 * What is wrong with one hand-over is reported, and the others are taken.
 * @throws as `runFarm`; FarmError DIGEST_MISMATCH for orders that are not those of the plan
 */
export async function takeAll(farm: Farm, options: TakeOptions): Promise<TakeReport> {
  const { places, orders, now, signal } = options;
  const { cache, scratch } = farm;
  const context = {
    ...{ cache, scratch, now: now() },
    ...(orders === undefined ? {} : { orders: await PlannedOrders.open(orders.place, orders.plan, scratch) }),
  };
  const [results, refused]: [Taken[], TakeReport["refused"][number][]] = [[], []];
  let files = await handOversIn(places);
  for (const isLast of [false, true]) {
    const waiting: string[] = [];
    for (const file of files) {
      if (signal.aborted) break;
      try {
        results.push(await takeHandOver(file, context));
      } catch (thrown) {
        const error = toFarmError(thrown);
        // A test may lie before the build that it follows from.
        if (error.code === "NOT_FETCHABLE" && !isLast) waiting.push(file);
        else refused.push({ file, error });
      }
    }
    files = waiting;
  }
  const used = results.filter((one) => one.kind !== "fault");
  const unproven = new Map(
    results.flatMap((one) => (one.kind === "unproven" ? [[one.recipe, one.attempt] as const] : [])),
  );
  const report = await runFarm(farm, {
    ...options,
    only: new Set(used.map(({ element }) => element)),
    fresh: new Set(results.flatMap((one) => (one.kind === "taken" ? [one.recipe] : []))),
    what: "take",
    roots: context.orders?.roots ?? {},
    executor: (parts) => new HandOverExecutor(parts.isLoaded ? new LocalExecutor(parts) : NOBODY, unproven),
  });
  const count = (kind: Taken["kind"]) => results.filter((one) => one.kind === kind).length;
  const faults = results.flatMap((one) => (one.kind === "fault" ? [one] : []));
  return { ...report, taken: count("taken") + count("unproven"), again: count("again"), refused, faults };
}
