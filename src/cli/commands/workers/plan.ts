/**
 * `kmodfarm plan`: orders for workers.
 */
import { resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { planFarm } from "../../../farm/plan.ts";
import { openBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { stopSignal, withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { exitOf, problemText } from "../night/run.ts";
import type { PLAN } from "./command.ts";

export async function plan(options: OptionsOf<typeof PLAN>): Promise<number> {
  const out = resolve(options.out);
  return withFarm(options, async (farm) => {
    if (farm.config.drivers.length === 0)
      throw new FarmError("CONFIG_INVALID", { detail: "no driver is configured" });
    const board = await openBoard({ format: options.logFormat ?? "text", stream: process.stderr });
    try {
      const report = await planFarm(farm, {
        progress: board,
        signal: stopSignal(),
        now: () => new Date(),
        retry: options.retry ?? false,
        out,
        hours: options.hours ?? 24,
        carried: options.withPackages ? "all" : "private",
      });
      const { orders, handedOut, wanted, generation, problems } = report;
      if (options.json)
        await printJson({ schema: "kmodfarm.plan/1", out, orders, handedOut, wanted, generation, problems });
      else await print(planText(options.out, report));
      return exitOf(report);
    } finally {
      board.close();
    }
  });
}

function planText(out: string, report: Awaited<ReturnType<typeof planFarm>>): string {
  const { orders, wanted, handedOut, problems } = report;
  const total = orders.build + orders.load;
  const rest = `${wanted - handedOut} of ${wanted} wanted elements need no work.\n`;
  const first =
    total === 0
      ? `No orders: ${rest}`
      : `${orders.build} builds and ${orders.load} load tests ordered in ${out}; ${rest}  Carry them out with \`kmodfarm work ${out} --out HANDOVERS\`, then \`kmodfarm take HANDOVERS\`.\n`;
  return `${problemText(problems)}${first}`;
}
