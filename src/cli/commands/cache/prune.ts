/** `kmodfarm cache prune`: makes the local cache smaller. */

import { evict, sharedCache } from "../../../base/cache.ts";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { formatSize, parseSize } from "../../../base/size.ts";
import type { OptionsOf } from "../../command.ts";
import { configOf, withFarm } from "../../options.ts";
import { print, printJson } from "../../output.ts";
import type { PRUNE_CACHE } from "./command.ts";

export async function prune(options: OptionsOf<typeof PRUNE_CACHE>): Promise<number> {
  const { cacheLimit } = await configOf(options);
  const limitBytes = options.limit === undefined ? cacheLimit : parseSize(options.limit);
  if (limitBytes === undefined) {
    throw new FarmError("USAGE", {
      detail:
        options.limit === undefined ? "no limit was given or configured" : `'${options.limit}' is not a size`,
      hint: "Give --limit as 20G, 500M or a number of bytes, or set `cacheLimit` in the configuration.",
    });
  }
  return withFarm(options, async ({ cache, scratch }) => {
    const eviction = await evict(cache, limitBytes, scratch);
    if (eviction.kind === "busy") {
      throw new FarmError("CACHE_BUSY", {
        detail: `process ${eviction.process.split("-")[0]} is using ${cache}`,
      });
    }
    if (eviction.kind === "shared") throw sharedCache(cache, eviction.stranger);
    const { evicted, freedBytes, keptBytes } = eviction;
    if (options.json) await printJson({ schema: "kmodfarm.cache-prune/1", evicted, freedBytes, keptBytes });
    else
      await print(
        `${counted(evicted.length, "entry")} removed, ${formatSize(freedBytes)} freed; ${formatSize(keptBytes)} left.\n`,
      );
    return 0;
  });
}
