/** What the cache of this machine still has of a store's files. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { hexOf, sha256 } from "../base/json.ts";
import { PACKAGES } from "../builder/toolchains/toolchain.ts";
import type { NamedFile } from "../registry/contents.ts";

/** Finds a file of an artifact in the attempt that gave it; by its digest, whatever its name is. */
export function keptCopies(cache: string): (file: NamedFile) => Promise<Buffer | undefined> {
  return async ({ digest, entry }) => {
    if (digest === undefined) return undefined;
    if (entry === undefined) return packageIn(cache, digest);
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

/** A package that a build or a toolchain root was made of. */
async function packageIn(cache: string, digest: string): Promise<Buffer | undefined> {
  const hex = hexOf(digest);
  const roots = await readdir(join(cache, "roots")).catch(() => []);
  const places = [
    ...[".deb", ".rpm"].map((ending) => join(cache, "inputs", `${hex}${ending}`)),
    ...roots.map((name) => join(cache, "roots", name, PACKAGES, hex)),
  ];
  for (const place of places) {
    const bytes = await readFile(place).catch(() => undefined);
    if (bytes !== undefined && sha256(bytes) === digest) return bytes;
  }
  return undefined;
}
