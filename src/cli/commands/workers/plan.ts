/**
 * `kmodfarm plan`: orders for workers.
 */

import { resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { type PlanReport, planFarm } from "../../../farm/workers/plan.ts";
import { type Watched, withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { exitOf } from "../../faults.ts";
import { narrowedBy, withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { problemText, requireDrivers } from "../night/run.ts";
import type { PLAN } from "./command.ts";

export async function plan(options: OptionsOf<typeof PLAN>): Promise<number> {
  const out = resolve(options.out);
  return withFarm(options, async (farm) => {
    requireDrivers(farm, options);
    const { retry = false, hours = 24 } = options;
    const carried = options.withPackages ? "all" : "private";
    const { readOnly: isReadOnly = false, maxShards, targetMinutes } = options;
    const write = (watched: Watched) =>
      planFarm(farm, {
        ...{ ...watched, retry, out, hours, carried, isReadOnly },
        ...(maxShards === undefined ? {} : { maxShards }),
        ...(targetMinutes === undefined ? {} : { targetSeconds: targetMinutes * 60 }),
        narrowed: narrowedBy(options),
      });
    const report = await withBoard(options, write, {
      cache: farm.cache,
      isBad: (planned) => exitOf(planned) !== 0,
    });
    const { orders, shards, handedOut, wanted, generation, problems, plan: digest } = report;
    const counts = { orders, shards: shards.length, handedOut, wanted };
    if (options.json)
      await printJson({ schema: "kmodfarm.plan/1", out, plan: digest, ...counts, generation, problems });
    else await print(planText(options.out, report));
    return exitOf(report);
  });
}

function planText(out: string, { orders, wanted, handedOut, problems, plan: digest }: PlanReport): string {
  const { build, load, before } = orders;
  const idle = wanted - handedOut;
  const all = `${idle} of ${wanted} wanted elements ${idle === 1 ? "needs" : "need"} no work.`;
  const rest = wanted === 1 ? (idle === 1 ? "The wanted element needs no work." : "") : all;
  const next = `  Carry them out with \`kmodfarm work ${out} --out HANDOVERS\`, then \`kmodfarm take HANDOVERS\`.\n  On another machine: \`kmodfarm take HANDOVERS --orders ${out} --plan ${digest}\`.\n`;
  const earlier =
    before === 0
      ? ""
      : `${counted(before, "order")} of before still ${before === 1 ? "stands" : "stand"} in ${out}.`;
  const fresh =
    build + load === 0
      ? "No new orders."
      : `${counted(build, "build")} and ${counted(load, "load test")} ordered in ${out}.`;
  const said = [fresh, earlier, rest].filter((one) => one !== "").join(" ");
  return `${problemText(problems)}${said}\n${build + load + before === 0 ? "" : next}`;
}
