/**
 * The archive of inputs: packages under their digests among the store's blobs, or beside them where their
 * distribution does not let us pass them on.
 */
import { stat } from "node:fs/promises";
import type { InputArchive } from "../inputs/input-places.ts";
import { blobPath, OLD_MS } from "./blobs.ts";
import { ageOf } from "./stores/clock.ts";
import type { Store } from "./stores/store.ts";

export function inputArchive(store: Store): InputArchive {
  return {
    async open(digest) {
      return (await store.stream(publicPath(digest))) ?? (await store.stream(privatePath(digest)));
    },
    async write(digest, file, isPrivate, isYoung = false) {
      const { size } = await stat(file);
      const isThere = async (path: string) => (await store.facts(path)) !== undefined;
      // Private once is private: who names a digest next may say anything of where it comes from.
      const path =
        isPrivate || (await isThere(privatePath(digest))) ? privatePath(digest) : publicPath(digest);
      const facts = await store.facts(path);
      const isKept = facts?.size === size && (!isYoung || (await ageOf(store, facts)) < OLD_MS);
      if (!isKept) await store.writeFile(path, file);
      // It was archived before anybody said that it is private.
      if (path !== publicPath(digest) && (await isThere(publicPath(digest))))
        await store.remove(publicPath(digest));
    },
  };
}

function publicPath(digest: string): string {
  return blobPath(`sha256:${digest}`);
}

/** Never below `blobs/`: a web server that serves a registry serves all of that. */
function privatePath(digest: string): string {
  return `private/sha256/${digest.slice(0, 2)}/${digest}`;
}
