/**
 * Time by a store's own clock, which says how old its files are: a machine whose clock is ten days ahead would take what was
 * stored a moment ago for old.
 */
import { randomBytes } from "node:crypto";
import { PROBE, type Store } from "./store.ts";

/** How many milliseconds the clock of each store is ahead of ours, once it was asked. */
const AHEAD = new WeakMap<Store, Promise<number>>();

export async function nowIn(store: Store): Promise<Date> {
  // Files of a folder have the time of this machine.
  if (store.isNear) return new Date();
  let ahead = AHEAD.get(store);
  if (ahead === undefined) {
    ahead = measured(store);
    AHEAD.set(store, ahead);
    ahead.catch(() => AHEAD.delete(store));
  }
  return new Date(Date.now() + (await ahead));
}

/** How long ago a file was written, in milliseconds. */
export async function ageOf(store: Store, { modified }: { readonly modified: Date }): Promise<number> {
  return (await nowIn(store)).getTime() - modified.getTime();
}

async function measured(store: Store): Promise<number> {
  const path = `${PROBE}/${randomBytes(8).toString("hex")}`;
  await store.write(path, "");
  try {
    const facts = await store.facts(path);
    return facts === undefined ? 0 : facts.modified.getTime() - Date.now();
  } finally {
    // Nothing there is part of the store.
    await store.remove(path).catch(() => {});
  }
}
