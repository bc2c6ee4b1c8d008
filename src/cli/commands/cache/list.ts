/**
 * `kmodfarm cache`: what the local cache holds.
 */
import { type CacheEntry, readCache } from "../../../base/cache.ts";
import { formatSize } from "../../../base/size.ts";
import type { PlaceOptions } from "../../common-options.ts";
import { configOf } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";

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

function sizeOf(entries: readonly CacheEntry[]): number {
  return entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

function dayOf(entries: readonly CacheEntry[]): string {
  const last = entries.reduce((latest, { lastUse }) => Math.max(latest, lastUse.getTime()), 0);
  return new Date(last).toISOString().slice(0, 16).replace("T", " ");
}
