/**
 * `kmodfarm work`: carries out orders on a machine that has nothing else of the farm.
 */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { carryOut, type WorkReport } from "../../../farm/workers/work.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { counted, print, printJson } from "../../output.ts";
import type { WORK } from "./command.ts";

export async function work(orders: string, options: OptionsOf<typeof WORK>): Promise<number> {
  const share = options.share === undefined ? undefined : shareOf(options.share);
  const report = await withBoard(options, (watched) =>
    carryOut({
      orders: resolve(orders),
      out: resolve(options.out),
      cache: resolve(options.cache ?? ".kmodfarm/cache"),
      jobs: options.jobs ?? availableParallelism(),
      sandbox: options.sandbox ?? "bwrap",
      privateHosts: options.privateHost ?? [],
      ...(share === undefined ? {} : { share }),
      ...(options.shard === undefined ? {} : { shard: options.shard }),
      ...(options.after === undefined ? {} : { after: resolve(options.after) }),
      ...watched,
    }),
  );
  if (options.json) await printJson(toJson(report));
  else await print(toText(report, options.out));
  return report.faults.length > 0 ? 3 : 0;
}

function shareOf(text: string): { readonly number: number; readonly count: number } {
  const [, number, count] = (/^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []).map(Number);
  if (number === undefined || count === undefined || number < 1 || number > count)
    throw new FarmError("USAGE", { detail: `'${text}' is not a share; write it as 2/5, from 1/5 to 5/5` });
  return { number, count };
}

function toJson({ faults, ...report }: WorkReport) {
  return {
    schema: "kmodfarm.work/1",
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
