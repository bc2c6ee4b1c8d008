/**
 * `kmodfarm watch`: the night, all day.
 */
import { FarmError } from "../../../base/error.ts";
import { watchFarm } from "../../../farm/watch.ts";
import { openBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { stopSignal, withFarm } from "../../options.ts";
import { printJson } from "../../output.ts";
import type { WATCH } from "./command.ts";
import { summaryText, toJson } from "./run.ts";

const SESSION_MS = 60 * 60_000;

export async function watch(options: OptionsOf<typeof WATCH>): Promise<number> {
  return withFarm(options, async (farm) => {
    if (farm.config.drivers.length === 0)
      throw new FarmError("CONFIG_INVALID", { detail: "no driver is configured" });
    const board = await openBoard({ format: options.logFormat ?? "text", stream: process.stderr });
    try {
      await watchFarm(farm, {
        progress: board,
        signal: stopSignal(),
        now: () => new Date(),
        sessionMs: SESSION_MS,
        onReport: async (report) => {
          if (options.json) await printJson(toJson(report, farm));
          else board.say(summaryText(report).trimEnd());
        },
      });
      // To be stopped is how it ends.
      return 0;
    } finally {
      board.close();
    }
  });
}
