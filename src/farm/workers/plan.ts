/**
 * Planning for workers: the farm's run, in which everything that is to be built or booted becomes an order.
 */
import type { Digest } from "../../base/json.ts";
import { exists } from "../../base/scratch.ts";
import { elementKey } from "../../matrix/element.ts";
import { githubMatrix, shardMatrix } from "../../matrix/shard.ts";
import { forgetOldOrders, issuedOrder, type Ordered, OrdersExecutor, wishOf } from "../executors/orders.ts";
import { expectedSeconds } from "../night/expected-time.ts";
import type { RunReport } from "../night/report.ts";
import { runFarm } from "../night/run.ts";
import type { RunOptions } from "../night/run-options.ts";
import { type Farm, readingOnly, withOwn } from "../open.ts";
import { OrderDirectory } from "./order-directory.ts";
import type { Shards } from "./plan-documents.ts";

export interface PlanOptions extends RunOptions {
  /** The directory of orders; what is there already stays. */
  readonly out: string;
  /** How long hand-overs are taken. */
  readonly hours: number;
  /** Which packages travel with their orders: those of sources that workers have no credentials for, or all. */
  readonly carried: "private" | "all";
  /** Nothing is written to the store: what this plan learned, `take` learns again. */
  readonly isReadOnly?: boolean;
  readonly maxShards?: number;
  readonly targetSeconds?: number;
}

export interface PlanReport extends RunReport {
  /** How many were written, and how many were in the directory before. */
  readonly orders: Readonly<{ build: number; load: number; before: number }>;
  /** The orders in pieces of about equal time. */
  readonly shards: Shards["shards"];
  /** What names the directory as it is now. */
  readonly plan: Digest;
}

type NoteOf = Parameters<typeof expectedSeconds>[1];
const NOTHING = { build: 0, load: 0, before: 0 };

/** @throws as `runFarm`; FarmError USAGE where the orders do not fit into so few shards */
export async function planFarm(given: Farm, options: PlanOptions): Promise<PlanReport> {
  const { out, hours, carried, now } = options;
  const directory = await OrderDirectory.make(out);
  const farm = withOwn(options.isReadOnly ? await readingOnly(given) : given, [out]);
  const { cache, scratch } = farm;
  const parts: { executor?: OrdersExecutor; noteOf?: NoteOf } = {};
  try {
    await forgetOldOrders(cache, now());
    const known = await knownWishes(directory, cache, now());
    const report = await runFarm(farm, {
      ...options,
      what: "plan",
      executor: ({ build, processors, mirrors, guests, noteOf }) => {
        const executor = new OrdersExecutor({
          ...{ build, processors, mirrors, guests, directory, cache, scratch, known },
          isCarried: (one) => carried === "all" || build.inputs.isPrivate(one),
          isRetry: options.retry ?? false,
          expires: new Date(now().getTime() + hours * 3600_000),
        });
        Object.assign(parts, { executor, noteOf });
        return executor;
      },
    });
    const { ordered = [], rootContents, written = NOTHING } = parts.executor ?? {};
    const shards = shardsOf(ordered, farm, parts.noteOf ?? (() => undefined), options);
    const roots = [...(rootContents ?? [])].map(
      ([name, packages]) => [name, packages.map((one) => ({ ...one }))] as const,
    );
    await directory.putRoots(Object.fromEntries(roots));
    await directory.putShards({ schema: "kmodfarm.orderShards/1", shards });
    const matrix = githubMatrix(shards.map((shard) => ({ ...shard, elements: shard.orders })));
    await directory.putMatrix(`${matrix}
`);
    return { ...report, orders: written, shards, plan: await directory.putPlan() };
  } finally {
    await directory.close();
  }
}

function shardsOf(
  ordered: readonly Ordered[],
  { config, builder }: Pick<Farm, "config" | "builder">,
  noteOf: NoteOf,
  { maxShards, targetSeconds }: Pick<PlanOptions, "maxShards" | "targetSeconds">,
): Shards["shards"] {
  const elements = ordered.map(({ element }) => element);
  const digests = new Map(ordered.map(({ element, digest }) => [elementKey(element), digest]));
  const shards = shardMatrix(elements, {
    expectedSeconds: expectedSeconds(elements, noteOf),
    ...(maxShards === undefined ? {} : { maxShards }),
    ...(targetSeconds === undefined ? {} : { targetSeconds }),
  });
  return shards.flatMap(({ elements: members, ...shard }) => {
    const [first] = members;
    if (first === undefined) return [];
    const { architecture } = first;
    const orders = members.flatMap((element) => digests.get(elementKey(element)) ?? []);
    return [{ ...shard, architecture, machine: config.builders[architecture] ?? builder, orders }];
  });
}

/** An order that nearly expired is given again. */
const LEFT_MS = 3600_000;

/** What orders of this farm in a directory ask for, as long as their hand-overs will be taken. */
async function knownWishes(
  directory: OrderDirectory,
  cache: string,
  now: Date,
): Promise<Map<Digest, Digest>> {
  const known = new Map<Digest, Digest>();
  for (const digest of await directory.digests()) {
    // What is damaged is not relied on: it is written again.
    const order = await directory.order(digest).catch(() => undefined);
    if (order === undefined || Date.parse(order.expires) < now.getTime() + LEFT_MS) continue;
    if (await exists(issuedOrder(cache, digest))) known.set(wishOf(order), digest);
  }
  return known;
}
