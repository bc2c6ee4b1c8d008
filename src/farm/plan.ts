/**
 * Planning for workers: the farm's run, in which everything that is to be built or booted becomes an order.
 */
import type { Digest } from "../base/json.ts";
import { exists } from "../base/scratch.ts";
import type { RunOptions } from "./coordinator.ts";
import { forgetOldOrders, issuedOrder, OrdersExecutor, wishOf } from "./executors/orders.ts";
import type { Farm } from "./open.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";
import { OrderDirectory } from "./workers/order-directory.ts";

export interface PlanOptions extends RunOptions {
  /** The directory of orders; what is there already stays. */
  readonly out: string;
  /** How long hand-overs are taken. */
  readonly hours: number;
  /** Which packages travel with their orders: those of sources that workers have no credentials for, or all. */
  readonly carried: "private" | "all";
}

export interface PlanReport extends RunReport {
  /** How many were written, and how many were in the directory before. */
  readonly orders: Readonly<{ build: number; load: number; before: number }>;
}

/** @throws as `runFarm` */
export async function planFarm(farm: Farm, options: PlanOptions): Promise<PlanReport> {
  const { out, hours, carried, now } = options;
  const directory = await OrderDirectory.make(out);
  const { cache, scratch, privateSources } = farm;
  let executor: OrdersExecutor | undefined;
  try {
    await forgetOldOrders(cache, now());
    const known = await knownWishes(directory, cache, now());
    const report = await runFarm(farm, {
      ...options,
      what: "plan",
      executor: ({ build, processors, mirrors }) => {
        executor = new OrdersExecutor({
          ...{ build, processors, mirrors, directory, cache, scratch, known },
          isCarried: ({ source }) => carried === "all" || privateSources.has(source),
          isRetry: options.retry ?? false,
          expires: new Date(now().getTime() + hours * 3600_000),
        });
        return executor;
      },
    });
    return { ...report, orders: executor?.written ?? { build: 0, load: 0, before: 0 } };
  } finally {
    await directory.close();
  }
}

/** An order that nearly expired is given again. */
const LEFT_MS = 3600_000;

/** What orders of this farm in a directory ask for, as long as their hand-overs will be taken. */
async function knownWishes(directory: OrderDirectory, cache: string, now: Date): Promise<Set<Digest>> {
  const known = new Set<Digest>();
  for (const digest of await directory.digests()) {
    // What is damaged is not relied on: it is written again.
    const order = await directory.order(digest).catch(() => undefined);
    if (order === undefined || Date.parse(order.expires) < now.getTime() + LEFT_MS) continue;
    if (await exists(issuedOrder(cache, digest))) known.add(wishOf(order));
  }
  return known;
}
