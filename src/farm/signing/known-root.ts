/**
 * The root that a farm knows a registry by, as nodes do: the newest that it saw, in a file of its own. Whoever can write to a
 * store could otherwise put roots of his own there, or take the newest away. Before it saw any, a person may name one.
 */
import { join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { digestOf, hexOf } from "../../base/json.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { exists, writeWhole } from "../../base/scratch.ts";
import { readNote, type SignedNote, writeNote } from "../../provenance/signed-note.ts";
import { firstTrust, ROOT_LIMIT_BYTES, type Trust } from "../../provenance/trust.ts";
import type { KnownRoot } from "../../registry/vouched.ts";
import type { FarmConfig } from "../config/index.ts";

/** `place`: the store's. */
export function knownRootOf(
  {
    root,
    keyDirectory,
    store,
  }: Pick<FarmConfig, "keyDirectory"> & Partial<Pick<FarmConfig, "root" | "store">>,
  place: string,
): KnownRoot {
  // Two servers may have a bucket of one name.
  const server = typeof store === "object" ? (store.endpoint ?? "") : "";
  const own = join(keyDirectory, `registry-${hexOf(digestOf([place, server])).slice(0, 12)}.root`);
  return {
    file: own,
    seen: () => readRoot(own, false),
    named: async () => (root === undefined ? undefined : readRoot(root, true)),
    async keep(note: SignedNote) {
      // A farm that has no keys there has no directory of its own for them.
      if (await exists(keyDirectory)) await writeWhole(own, writeNote(note));
    },
  };
}

async function readRoot(file: string, isDemanded: boolean): Promise<Trust | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readAtMost(file, ROOT_LIMIT_BYTES);
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    if (code === "ENOENT" && !isDemanded) return undefined;
    throw new FarmError("FILE_UNREADABLE", { detail: `${file} cannot be read (${code})`, cause: thrown });
  }
  return firstTrust(readNote(bytes, ROOT_LIMIT_BYTES, file), file);
}
