/**
 * `kmodfarm cache`: what the local cache holds, and making it smaller.
 */
import { type CacheEntry, evict, readCache, sharedCache } from "../../../base/cache.ts";
import { FarmError } from "../../../base/error.ts";
import { formatSize, parseSize } from "../../../base/size.ts";
import type { OptionsOf } from "../../command.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { configOf, withFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";
import type { PRUNE_CACHE } from "./command.ts";

export async function list(options: PlaceOptions): Promise<number> {
  const { cache, cacheLimit } = await configOf(options);
  const entries = await readCache(cache);
  if (options.json) {
    await printJson({ schema: "kmodfarm.cache/1", cache, limitBytes: cacheLimit ?? null, entries });
    return 0;
  }
  const rooms = [...Map.groupBy(entries, ({ room }) => room)].map(([room, members]) => [
    room,
    String(members.length),
    formatSize(sizeOf(members)),
    dayOf(members),
  ]);
  const limit = cacheLimit === undefined ? "no limit" : `limit ${formatSize(cacheLimit)}`;
  const shown = rooms.length === 0 ? "" : `${table(["ROOM", "ENTRIES", "SIZE", "LAST USE"], rooms)}\n`;
  await print(`${shown}${cache}: ${entries.length} entries, ${formatSize(sizeOf(entries))}, ${limit}.\n`);
  return 0;
}

export async function prune(options: OptionsOf<typeof PRUNE_CACHE>): Promise<number> {
  const { cacheLimit } = await configOf(options);
  const limitBytes = options.limit === undefined ? cacheLimit : parseSize(options.limit);
  if (limitBytes === undefined) {
    throw new FarmError("USAGE", {
      detail:
        options.limit === undefined ? "no limit is given or configured" : `'${options.limit}' is not a size`,
      hint: "Give --limit as 20G, 500M or a number of bytes, or set `cacheLimit` in the configuration.",
    });
  }
  return withFarm(options, async ({ cache, scratch }) => {
    const eviction = await evict(cache, limitBytes, scratch);
    if (eviction.kind === "busy") {
      throw new FarmError("CACHE_BUSY", {
        detail: `${cache} is used by process ${eviction.process.split("-")[0]}`,
      });
    }
    if (eviction.kind === "shared") throw sharedCache(cache, eviction.stranger);
    const { evicted, freedBytes, keptBytes } = eviction;
    if (options.json) await printJson({ schema: "kmodfarm.cachePrune/1", evicted, freedBytes, keptBytes });
    else
      await print(
        `${evicted.length} entries removed, ${formatSize(freedBytes)} freed; ${formatSize(keptBytes)} are left.\n`,
      );
    return 0;
  });
}

function sizeOf(entries: readonly CacheEntry[]): number {
  return entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function dayOf(entries: readonly CacheEntry[]): string {
  const last = entries.reduce((latest, { lastUse }) => Math.max(latest, lastUse.getTime()), 0);
  return new Date(last).toISOString().slice(0, 16).replace("T", " ");
}
