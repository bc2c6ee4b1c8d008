/** What the cache of this machine still has of a store's files. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { hexOf, sha256 } from "../base/json.ts";
import type { NamedFile } from "../registry/contents.ts";

/** Finds a file of an artifact in the attempt that gave it; by its digest, whatever its name is. */
export function keptCopies(cache: string): (file: NamedFile) => Promise<Buffer | undefined> {
  return async ({ digest, entry }) => {
    if (digest === undefined || entry === undefined) return undefined;
    const place = join(cache, "attempts", hexOf(entry.recipe));
    // Evicted, or built elsewhere.
    const names = await readdir(place, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const name of names.filter((one) => one.isFile())) {
      const bytes = await readFile(join(name.parentPath, name.name));
      if (sha256(bytes) === digest) return bytes;
    }
    return undefined;
  };
}
