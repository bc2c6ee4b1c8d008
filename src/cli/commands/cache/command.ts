/** `kmodfarm cache`. */
import { declareCommand, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const CACHE = declareCommand("cache", "list what the local cache holds, kind by kind", {
  options: PLACES,
});

export const PRUNE_CACHE = declareCommand(
  "prune",
  "remove the entries unused for longest until the cache is within its limit",
  {
    options: {
      ...PLACES,
      limit: word("<size>", "20G, 500M, … (default: `cacheLimit` of the configuration)"),
    },
  },
);
