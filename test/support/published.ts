import { commit } from "../../src/registry/commit.ts";
import type { Part, Published } from "../../src/registry/documents.ts";
import { readPublished } from "../../src/registry/generations.ts";
import type { Store } from "../../src/registry/stores/store.ts";

/** Publishes a state on top of whatever there is, without showing it. */
export async function writePublished(store: Store, state: Published, now: Date): Promise<Published> {
  const { state: written } = await commit(store, () => ({ state, result: undefined }), {
    who: "somebody",
    what: "run",
    now: () => now,
  });
  return written;
}

/** The same, and shows it. Returns how many artifacts it wrote in the view. */
export async function showPublished(
  store: Store,
  state: Published,
  now: Date,
  wantsClientView = false,
): Promise<number> {
  const { show } = await commit(store, () => ({ state, result: undefined }), {
    ...{ who: "somebody", what: "run", now: () => now, wantsClientView },
  });
  return show();
}

/** The first part of a kind. */
export function partOf({ parts }: Pick<Published, "parts">, kind: string): Part | undefined {
  return Object.entries(parts).find(([name]) => name === kind || name.startsWith(`${kind}/`))?.[1];
}

export { readPublished };
