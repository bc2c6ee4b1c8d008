import type { Store } from "../../src/registry/stores/store.ts";

/** A store that is killed before its n-th write. */
export function mortal(store: Store, writes: number): Store {
  let left = writes;
  const live = () => {
    if (left-- === 0) throw new Error("killed");
  };
  return {
    place: store.place,
    read: (path) => store.read(path),
    list: (path) => store.list(path),
    remove: (path) => store.remove(path),
    lock: () => store.lock(),
    write: async (path, bytes) => {
      live();
      await store.write(path, bytes);
    },
    create: async (path, bytes) => {
      live();
      return store.create(path, bytes);
    },
  };
}
