/**
 * `kmodfarm take`: what workers handed over, checked and published.
 */

import { resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import { largest } from "../../../base/extremes.ts";
import type { Digest } from "../../../base/json.ts";
import { oneLine } from "../../../base/visible.ts";
import type { Farm } from "../../../farm/open.ts";
import { type TakeOptions, type TakeReport, takeAll } from "../../../farm/workers/take-all.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { exitOf, faultText } from "../../faults.ts";
import { withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import { addSummary, summaryOf } from "../../summary.ts";
import { toJson, toText } from "../night/run.ts";
import type { TAKE } from "./command.ts";

export async function take(places: readonly string[], options: OptionsOf<typeof TAKE>): Promise<number> {
  return withFarm(options, async (farm) => {
    const orders = ordersOf(options);
    if (places.length === 0 && !options.catalog)
      throw new FarmError("USAGE", {
        detail: "no hand-over is named, so there is nothing to take",
        hint: "Name the directories that `kmodfarm work --out` wrote. With --catalog, what is known is published without any.",
      });
    const without = [
      ...(options.catalog ? [] : (["catalog"] as const)),
      ...(options.load ? [] : (["load"] as const)),
    ];
    const report = await withBoard(
      options,
      (watched) => takeAll(farm, { ...watched, places, without, ...orders }),
      { cache: farm.cache, isBad: (taken) => exitOfTake(taken) !== 0 },
    );
    if (options.json) await printJson(jsonOf(report, farm));
    else
      await print(`${toText(report, farm)}${handOverText(report)}${faultText(report, exitOfTake(report))}`);
    if (options.summary !== undefined) await addSummary(options.summary, summaryOf(report));
    return exitOfTake(report);
  });
}

/** Anybody may write to a directory: whose orders are in it, only who planned them can say. */
function ordersOf({ orders, plan }: OptionsOf<typeof TAKE>): Pick<TakeOptions, "orders"> {
  if (orders === undefined && plan === undefined) return {};
  if (orders !== undefined && plan !== undefined && /^sha256:[0-9a-f]{64}$/.test(plan))
    return { orders: { place: resolve(orders), plan: plan as Digest } };
  throw new FarmError("USAGE", {
    detail: orders === undefined ? "--plan names the plan of --orders" : "--orders needs the plan's digest",
    hint: "Give --orders the directory, and --plan what `kmodfarm plan` printed on the machine that planned (sha256:…).",
  });
}

function jsonOf(report: TakeReport, farm: Farm) {
  const { taken, again, refused } = report;
  const faults = report.faults.map(({ name, code, message }) => ({ name, code, message }));
  const told = refused.map(({ file, error: { code, message, at, hint } }) => ({
    file,
    code,
    message,
    at,
    hint,
  }));
  return { ...toJson(report, farm), schema: "kmodfarm.take/1" as const, taken, again, refused: told, faults };
}

function handOverText({ taken, again, refused, faults, handedOut, missed, unused }: TakeReport): string {
  const bad = refused.map(({ file, error: { code, message, at, hint } }) => {
    const kept = at.kept === undefined ? "" : `  kept: ${at.kept}\n`;
    return `${oneLine(message)}\n  file: ${oneLine(file)}\n${kept}  ${hint} [${code}]\n`;
  });
  const failed = faults.map(
    // A worker's words make no lines of ours.
    ({ name, code, message }) => `${name}: the worker failed: ${oneLine(message)} [${code}]\n`,
  );
  const before = again === 0 ? "" : `, ${again} the same as before`;
  const reported = faults.length === 0 ? "" : `, ${faults.length} failed at their workers`;
  const rest =
    handedOut === 0
      ? ""
      : ` ${counted(handedOut, "element")} ${handedOut === 1 ? "is" : "are"} still with workers, or to be ordered.`;
  const none =
    missed === undefined ? "" : `No worker handed anything over, of ${counted(missed, "order")}.\n`;
  const other =
    unused === 0
      ? ""
      : `${counted(unused, "hand-over")} of another source, configuration or kernel than is wanted now: plan again, and see that nothing which was written since is part of the driver's source.\n`;
  return `${bad.join("")}${failed.join("")}${none}${other}Hand-overs: ${taken} taken${before}${reported}, ${refused.length} refused.${rest}\n`;
}

/** A refused hand-over is a forgery or a damaged file: a person must look. */
function exitOfTake(report: TakeReport): number {
  const exits = report.refused.map(({ error }) => error.exit);
  if (exits.length > 0) return largest(exits);
  // No machine that had something to do came back.
  const isOdd = report.faults.length > 0 || report.missed !== undefined || report.unused > 0;
  return exitOf(report) || (isOdd ? ERRORS.TOOL_FAILED.exit : 0);
}
