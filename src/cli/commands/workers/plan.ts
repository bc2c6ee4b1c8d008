/**
 * `kmodfarm plan`: orders for workers.
 */
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type PlanReport, planFarm } from "../../../farm/plan.ts";
import { githubMatrix } from "../../../matrix/shard.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { narrowedBy, withFarm } from "../../options.ts";
import { counted, print, printJson } from "../../output.ts";
import { exitOf, problemText, requireDrivers } from "../night/run.ts";
import type { PLAN } from "./command.ts";

export async function plan(options: OptionsOf<typeof PLAN>): Promise<number> {
  const out = resolve(options.out);
  return withFarm(options, async (farm) => {
    requireDrivers(farm, options);
    const { retry = false, hours = 24 } = options;
    const carried = options.withPackages ? "all" : "private";
    const { readOnly: isReadOnly = false, maxShards, targetMinutes } = options;
    const report = await withBoard(options, (watched) =>
      planFarm(farm, {
        ...{ ...watched, retry, out, hours, carried, isReadOnly },
        ...(maxShards === undefined ? {} : { maxShards }),
        ...(targetMinutes === undefined ? {} : { targetSeconds: targetMinutes * 60 }),
        narrowed: narrowedBy(options),
      }),
    );
    const { orders, shards, handedOut, wanted, generation, problems } = report;
    const matrix = githubMatrix(shards.map((shard) => ({ ...shard, elements: shard.orders })));
    await writeFile(join(out, "matrix.json"), `${matrix}\n`);
    const counts = { orders, shards: shards.length, handedOut, wanted };
    if (options.json) await printJson({ schema: "kmodfarm.plan/1", out, ...counts, generation, problems });
    else await print(planText(options.out, report));
    return exitOf(report);
  });
}

function planText(out: string, { orders, wanted, handedOut, problems }: PlanReport): string {
  const { build, load, before } = orders;
  const rest = `${wanted - handedOut} of ${counted(wanted, "wanted element")} need no work.\n`;
  const next = `  Carry them out with \`kmodfarm work ${out} --out HANDOVERS\`, then \`kmodfarm take HANDOVERS\`.\n`;
  const earlier =
    before === 0
      ? ""
      : `${counted(before, "order")} of before still ${before === 1 ? "stands" : "stand"} in ${out}. `;
  const fresh =
    build + load === 0
      ? "No new orders. "
      : `${counted(build, "build")} and ${counted(load, "load test")} ordered in ${out}. `;
  return `${problemText(problems)}${fresh}${earlier}${rest}${build + load + before === 0 ? "" : next}`;
}
