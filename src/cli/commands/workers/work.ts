/**
 * `kmodfarm work`: carries out orders on a machine that has nothing else of the farm.
 */

import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { openCache } from "../../../base/cache.ts";
import { counted } from "../../../base/counted.ts";
import { defined } from "../../../base/defined.ts";
import { FarmError } from "../../../base/error.ts";
import type { BuildLimits } from "../../../builder/limits.ts";
import { Limits } from "../../../farm/config/limits.ts";
import { carryOut, type WorkReport } from "../../../farm/workers/work.ts";
import { type Watched, withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { print, printJson } from "../../output.ts";
import type { WORK } from "./command.ts";

export async function work(orders: string, options: OptionsOf<typeof WORK>): Promise<number> {
  const share = options.share === undefined ? undefined : shareOf(options.share);
  const cache = resolve(options.cache ?? ".kmodfarm/cache");
  const carry = (watched: Watched) =>
    carryOut({
      orders: resolve(orders),
      out: resolve(options.out),
      cache,
      jobs: options.jobs ?? availableParallelism(),
      sandbox: options.sandbox ?? "bwrap",
      limits: limitsOf(options),
      privateHosts: options.privateHost ?? [],
      ...(share === undefined ? {} : { share }),
      ...(options.shard === undefined ? {} : { shard: options.shard }),
      ...(options.after === undefined ? {} : { after: resolve(options.after) }),
      ...watched,
    });
  // Its log is the first thing that goes there.
  await openCache(cache, [process.cwd()]);
  const report = await withBoard(options, carry, { cache, isBad: ({ faults }) => faults.length > 0 });
  if (options.json) await printJson(toJson(report));
  else await print(toText(report, options.out));
  return report.faults.length > 0 ? 3 : 0;
}

/** What a configuration gives where it says nothing, but for what a person here says. */
function limitsOf({ minutes, memory, disk }: OptionsOf<typeof WORK>): BuildLimits {
  const parsed = Limits.safeParse(defined({ minutes, memory, disk }));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FarmError("USAGE", { detail: `--${issue?.path[0]?.toString()}: ${issue?.message}` });
}

function shareOf(text: string): { readonly number: number; readonly count: number } {
  const [, number, count] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (number === undefined || count === undefined || number < 1 || number > count)
    throw new FarmError("USAGE", { detail: `'${text}' is not a share; write it as 2/5, from 1/5 to 5/5` });
  return { number, count };
}

function toJson({ faults, ...report }: WorkReport) {
  return {
    schema: "kmodfarm.work/1" as const,
    ...report,
    faults: faults.map(({ name, error: { code, message, hint } }) => ({ name, code, message, hint })),
  };
}

function toText({ done, before, left, faults }: WorkReport, out: string): string {
  const reasons = [...Map.groupBy(left, ({ reason }) => reason)].map(([reason, some]) => {
    const [first] = some;
    return `${some.length === 1 ? `${first?.name}: left` : `${some.length} orders are left`}: ${reason}.\n`;
  });
  const failures = faults.map(
    ({ name, error: { code, message, hint } }) => `${name}: ${message}\n  ${hint} [${code}]\n`,
  );
  const earlier = before === 0 ? "" : `, ${before} before`;
  const failed = faults.length === 0 ? "" : `, ${faults.length} failed on this machine`;
  const carried = counted(done - faults.length, "order");
  return `${failures.join("")}${reasons.join("")}${carried} carried out${earlier}${failed}; hand-overs are in ${out}.\n`;
}
