/** `kmodfarm cache`. */
import { declareCommand, word } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const CACHE = declareCommand("cache", "what the local cache holds, room by room", {
  options: PLACES,
});

export const PRUNE_CACHE = declareCommand(
  "prune",
  "remove what was not used for longest until the cache is within its limit",
  {
    options: {
      ...PLACES,
      limit: word("<size>", "20G, 500M, … (default: the configured `cacheLimit`)"),
    },
  },
);
