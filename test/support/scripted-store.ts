import type { Store } from "../../src/registry/stores/store.ts";

/** A store in front of another one; `ask` is asked before each write, with the path, and may throw instead. */
export function around(store: Store, ask: (path: string) => void | Promise<void>): Store {
  return {
    place: store.place,
    isNear: store.isNear,
    read: (path) => store.read(path),
    stream: (path) => store.stream(path),
    facts: (path) => store.facts(path),
    list: (path) => store.list(path),
    walk: (path) => store.walk(path),
    remove: (path) => store.remove(path),
    removeAll: (path) => store.removeAll(path),
    prepare: () => store.prepare(),
    close: () => store.close(),
    write: async (path, bytes) => {
      await ask(path);
      await store.write(path, bytes);
    },
    writeFile: async (path, file) => {
      await ask(path);
      await store.writeFile(path, file);
    },
    create: async (path, bytes) => {
      await ask(path);
      return store.create(path, bytes);
    },
  };
}

/** A store whose writes fail while `fails` says so. */
export function failing(store: Store, fails: (path: string) => boolean): Store {
  return around(store, (path) => {
    if (fails(path)) throw new Error(`503 for ${path}`);
  });
}
