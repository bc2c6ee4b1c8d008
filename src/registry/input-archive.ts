/**
 * The archive of inputs: packages under their digests among the store's blobs, or beside them where their
 * distribution does not let us pass them on.
 */
import { readFile } from "node:fs/promises";
import type { InputArchive } from "../builder/inputs/input-places.ts";
import { blobPath } from "./artifact.ts";
import type { Store } from "./stores/store.ts";

export function inputArchive(store: Store): InputArchive {
  return {
    async read(digest) {
      return (await store.read(publicPath(digest))) ?? (await store.read(privatePath(digest)));
    },
    async write(digest, file, isPrivate) {
      const path = isPrivate ? privatePath(digest) : publicPath(digest);
      const [directory, name] = [path.slice(0, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/") + 1)];
      if ((await store.list(directory)).includes(name)) return;
      await store.write(path, await readFile(file));
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
