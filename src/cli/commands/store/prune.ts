/** `kmodfarm prune`: what a store need not have. */
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { formatSize } from "../../../base/size.ts";
import { prune } from "../../../registry/prune.ts";
import { nowIn } from "../../../registry/stores/clock.ts";
import type { OptionsOf } from "../../command.ts";
import { withStoredFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { PRUNE } from "./command.ts";

const DAY_MS = 24 * 3600_000;

export async function pruneStore(options: OptionsOf<typeof PRUNE>): Promise<number> {
  // A night may take a day until it publishes what it has stored.
  if (options.graceDays < 2)
    throw new FarmError("USAGE", {
      detail: `--grace-days ${options.graceDays} is less than 2`,
      hint: "Less would remove what a run in progress has stored but not yet published.",
    });
  return withStoredFarm(options, async ({ store }) => {
    const pruned = await prune(store, {
      keep: options.keep,
      graceMs: options.graceDays * DAY_MS,
      now: await nowIn(store),
      isDryRun: options.dryRun ?? false,
    });
    if (options.json) await printJson({ schema: "kmodfarm.prune/1", ...pruned });
    else {
      const { generations: old, files, bytes, kept } = pruned;
      const verb = options.dryRun ? "would be removed" : "removed";
      await print(
        `${counted(files, "file")} (${formatSize(bytes)}) ${verb}, of ${counted(old.length, "generation")}; ${counted(kept.generations, "generation")} and ${counted(kept.files, "file")} stay.\n`,
      );
    }
    return 0;
  });
}
