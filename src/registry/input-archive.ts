/**
 * The archive of inputs: packages under their digests among the store's blobs, or beside them where their
 * distribution does not let us pass them on.
 */
import type { InputArchive } from "../inputs/input-places.ts";
import { blobPath } from "./blobs.ts";
import type { Store } from "./stores/store.ts";

export function inputArchive(store: Store): InputArchive {
  return {
    async open(digest) {
      return (await store.stream(publicPath(digest))) ?? (await store.stream(privatePath(digest)));
    },
    async write(digest, file, isPrivate) {
      const path = isPrivate ? privatePath(digest) : publicPath(digest);
      if ((await store.facts(path)) === undefined) await store.writeFile(path, file);
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
