/**
 * What holds for every kind of store: it is tried before the first file is written to it, and not before, so that a night
 * without news asks for nothing. What was found out holds as long as the store is open; a trial that failed is repeated.
 */
import type { Store } from "./store.ts";

export function triedFirst(kind: Store): Store {
  let trial: Promise<void> | undefined;
  const prepare = () => {
    trial ??= kind.prepare().catch((thrown) => {
      trial = undefined;
      throw thrown;
    });
    return trial;
  };
  return {
    place: kind.place,
    isNear: kind.isNear,
    ...(kind.kept === undefined ? {} : { kept: kind.kept }),
    read: (path, limitBytes) => kind.read(path, limitBytes),
    stream: (path) => kind.stream(path),
    facts: (path) => kind.facts(path),
    list: (path) => kind.list(path),
    walk: (path) => kind.walk(path),
    write: async (path, content) => {
      await prepare();
      await kind.write(path, content);
    },
    create: async (path, content) => {
      await prepare();
      return kind.create(path, content);
    },
    writeFile: async (path, file) => {
      await prepare();
      await kind.writeFile(path, file);
    },
    remove: (path) => kind.remove(path),
    removeAll: (path) => kind.removeAll(path),
    prepare,
    close: () => kind.close(),
  };
}
