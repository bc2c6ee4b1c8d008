/**
 * Taking all that workers handed over, and publishing what comes of it: the farm's run, in which nothing is built.
 */
import { resolve } from "node:path";
import type { Digest } from "../../base/json.ts";
import { untested } from "../../check/checks/load.ts";
import { elementKey } from "../../matrix/element.ts";
import { HandOverExecutor } from "../executors/hand-overs.ts";
import { LocalExecutor } from "../executors/local.ts";
import type { RunReport } from "../night/report.ts";
import { runFarm } from "../night/run.ts";
import type { RunOptions } from "../night/run-options.ts";
import { type Farm, withOwn } from "../open.ts";
import { handOversIn } from "./hand-over-file.ts";
import { PlannedOrders } from "./planned-orders.ts";
import type { Taken } from "./take.ts";
import { type Refused, takeFiles } from "./take-files.ts";

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
  readonly refused: readonly Refused[];
  /** How many were taken and are of no wanted element as it is wanted now. */
  readonly unused: number;
  /** How many orders there were, where nothing at all was handed over. */
  readonly missed?: number | undefined;
  /** What workers could not carry out. */
  readonly faults: readonly Extract<Taken, { readonly kind: "fault" }>[];
}

/** Boots nothing: what no worker tested stays untested. */
const NOBODY = { load: () => Promise.resolve({ verdict: untested() }) };

/**
 * What is wrong with one hand-over is reported, and the others are taken.
 * @throws as `runFarm`; FarmError DIGEST_MISMATCH for orders that are not those of the plan
 */
export async function takeAll(given: Farm, options: TakeOptions): Promise<TakeReport> {
  const { places, orders, now, signal } = options;
  const farm = withOwn(given, [
    ...places.map((place) => resolve(place)),
    ...(orders === undefined ? [] : [orders.place]),
  ]);
  const { cache, scratch } = farm;
  const context = {
    ...{ cache, scratch, now: now() },
    ...(orders === undefined ? {} : { orders: await PlannedOrders.open(orders.place, orders.plan, scratch) }),
  };
  const found = await handOversIn(places);
  const { results, refused } = await takeFiles(found.files, context, signal);
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
  const done = new Set(report.rows.map(({ element }) => elementKey(element)));
  const unused = used.filter(({ element }) => !done.has(element)).length;
  const isIdle = places.length === 0 && (context.orders?.count ?? 0) > 0;
  return {
    ...report,
    ...{ taken: count("taken") + count("unproven"), again: count("again"), faults },
    refused: [...found.empty, ...refused],
    ...(isIdle ? { missed: context.orders?.count } : {}),
    unused,
  };
}
