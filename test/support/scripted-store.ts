import type { Store } from "../../src/registry/stores/store.ts";

/** A store whose writes fail while `fails` says so; it is asked before each, with the path. */
export function failing(store: Store, fails: (path: string) => boolean): Store {
  const ask = (path: string) => {
    if (fails(path)) throw new Error(`503 for ${path}`);
  };
  return {
    place: store.place,
    read: (path) => store.read(path),
    list: (path) => store.list(path),
    remove: (path) => store.remove(path),
    lock: () => store.lock(),
    write: async (path, bytes) => {
      ask(path);
      await store.write(path, bytes);
    },
    create: async (path, bytes) => {
      ask(path);
      return store.create(path, bytes);
    },
  };
}
