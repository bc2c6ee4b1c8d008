/** What a store in a bucket has and this machine has seen before: parts of generations, in a room of the cache. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { markUsed } from "../base/cache.ts";
import { hexOf, sha256 } from "../base/json.ts";
import { exists, type Scratch } from "../base/scratch.ts";
import type { KeptBlobs } from "./stores/store.ts";

const ROOM = "parts";

export function keptBlobs(cache: string, scratch: Scratch): KeptBlobs {
  const fileOf = (digest: string) => join(cache, ROOM, hexOf(digest));
  return {
    async read(digest) {
      const bytes = await readFile(fileOf(digest)).catch(() => undefined);
      // The cache is anybody's disk.
      if (bytes === undefined || sha256(bytes) !== digest) return undefined;
      await markUsed(fileOf(digest));
      return bytes;
    },
    async keep(digest, bytes) {
      // Where it cannot be kept it is asked for again.
      if (!(await exists(fileOf(digest)))) await scratch.write(fileOf(digest), bytes).catch(() => {});
    },
  };
}
