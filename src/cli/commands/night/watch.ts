/**
 * `kmodfarm watch`: the night, all day.
 */
import { watchFarm } from "../../../farm/night/watch.ts";
import { type Watched, withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { withFarm } from "../../options.ts";
import { printJson } from "../../output.ts";
import type { WATCH } from "./command.ts";
import { requireDrivers, summaryText, toJson } from "./run.ts";

const SESSION_MS = 60 * 60_000;

export async function watch(options: OptionsOf<typeof WATCH>): Promise<number> {
  return withFarm(options, async (farm) => {
    requireDrivers(farm, options);
    const session = async (watched: Watched) => {
      await watchFarm(farm, {
        ...watched,
        sessionMs: SESSION_MS,
        onReport: async (report) => {
          if (options.json) await printJson(toJson(report, farm));
          else watched.progress.say(summaryText(report).trimEnd());
        },
      });
      watched.progress.say("stopped; what was finished is published");
    };
    await withBoard(options, session, { cache: farm.cache });
    // To be stopped is how it ends.
    return 0;
  });
}
