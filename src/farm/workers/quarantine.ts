/** What was refused, where people can look at it: each refusal once, and never more than a disk can bear. */
import { lstat, mkdir, rename, truncate } from "node:fs/promises";
import { join } from "node:path";
import { markUsed } from "../../base/cache.ts";
import { fileDigest } from "../../base/file-digest.ts";
import { canonicalJson, digestOf, hexOf } from "../../base/json.ts";
import { entriesOf, exists, type Scratch } from "../../base/scratch.ts";
import { removeTree } from "../../base/strange-tree.ts";

/** The description is in the first of them, and most modules are too. */
const KEPT_BYTES = 64 * 1024 ** 2;
/** Together no more than a few gigabytes. */
const MOST_KEPT = 64;
const REASON = "reason.json";

export interface Refusal {
  /** Where the hand-over was. */
  readonly file: string;
  readonly reason: string;
  readonly at: string;
}

/** Takes what was read of a hand-over, a file of ours, into the cache, and answers where it is now. */
export async function keepRefused(
  copy: string,
  refusal: Refusal,
  { cache, scratch }: { readonly cache: string; readonly scratch: Scratch },
): Promise<string> {
  const room = join(cache, "quarantine");
  if ((await lstat(copy)).size > KEPT_BYTES) await truncate(copy, KEPT_BYTES);
  // The same lie, however often it is told, takes no more room.
  const name = hexOf(digestOf([await fileDigest(copy), refusal.reason])).slice(0, 16);
  const place = join(room, name);
  await mkdir(place, { recursive: true, mode: 0o700 });
  await rename(copy, join(place, "hand-over.tar"));
  await scratch.write(join(place, REASON), `${canonicalJson(refusal)}\n`);
  await markUsed(place);
  await removeOldest(room);
  return place;
}

async function removeOldest(room: string): Promise<void> {
  const names = await entriesOf(room);
  if (names.length <= MOST_KEPT) return;
  const aged = await Promise.all(
    names.map(async (name) => {
      const place = join(room, name);
      return { place, usedMs: (await exists(place)) ? (await lstat(place)).mtimeMs : 0 };
    }),
  );
  const byAge = aged.toSorted((a, b) => a.usedMs - b.usedMs);
  for (const { place } of byAge.slice(0, names.length - MOST_KEPT)) await removeTree(place);
}
