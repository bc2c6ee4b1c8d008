/**
 * Planning for workers: the farm's run, in which everything that is to be built or booted becomes an order.
 */
import type { RunOptions } from "./coordinator.ts";
import { OrdersExecutor } from "./executors/orders.ts";
import type { Farm } from "./open.ts";
import { OrderDirectory } from "./order-directory.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";

export interface PlanOptions extends RunOptions {
  /** The directory of orders; what is there already stays. */
  readonly out: string;
  /** How long hand-overs are taken. */
  readonly hours: number;
  /** Which packages travel with their orders: those of sources that workers have no credentials for, or all. */
  readonly carried: "private" | "all";
}

export interface PlanReport extends RunReport {
  readonly orders: Readonly<{ build: number; load: number }>;
}

/** @throws as `runFarm` */
export async function planFarm(farm: Farm, options: PlanOptions): Promise<PlanReport> {
  const { out, hours, carried, now } = options;
  const directory = await OrderDirectory.make(out);
  const { cache, scratch, privateSources } = farm;
  let executor: OrdersExecutor | undefined;
  try {
    const report = await runFarm(farm, {
      ...options,
      what: "plan",
      executor: ({ build, processors, mirrors }) => {
        executor = new OrdersExecutor({
          ...{ build, processors, mirrors, directory, cache, scratch },
          isCarried: ({ source }) => carried === "all" || privateSources.has(source),
          isRetry: options.retry ?? false,
          expires: new Date(now().getTime() + hours * 3600_000),
        });
        return executor;
      },
    });
    return { ...report, orders: executor?.written ?? { build: 0, load: 0 } };
  } finally {
    await directory.close();
  }
}
