import type { Store } from "../../src/registry/stores/store.ts";
import { around } from "./scripted-store.ts";

/** A store that is killed before its n-th write. */
export function mortal(store: Store, writes: number): Store {
  let left = writes;
  return around(store, () => {
    if (left-- === 0) throw new Error("killed");
  });
}
