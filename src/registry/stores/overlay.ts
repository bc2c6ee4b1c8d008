/**
 * A store to read, with a layer over it that takes all writes: for who may only read it, and works as if that were not so.
 */
import type { FileFacts, Store } from "./store.ts";

/** Closes both. What the lower one holds cannot be removed. */
export function overlayStore(lower: Store, upper: Store): Store {
  return {
    place: lower.place,
    isNear: lower.isNear,
    ...(lower.kept === undefined ? {} : { kept: lower.kept }),
    read: async (path, limitBytes) => (await upper.read(path, limitBytes)) ?? lower.read(path, limitBytes),
    stream: async (path) => (await upper.stream(path)) ?? lower.stream(path),
    facts: async (path) => (await upper.facts(path)) ?? lower.facts(path),
    write: (path, content) => upper.write(path, content),
    create: async (path, content) => (await lower.facts(path)) === undefined && upper.create(path, content),
    writeFile: (path, file) => upper.writeFile(path, file),
    async list(path) {
      const names = await Promise.all([upper.list(path), lower.list(path)]);
      return [...new Set(names.flat())].toSorted();
    },
    walk: (path) => walkBoth(lower, upper, path),
    remove: (path) => upper.remove(path),
    removeAll: (path) => upper.removeAll(path),
    prepare: () => upper.prepare(),
    async close() {
      await upper.close();
      await lower.close();
    },
  };
}

async function* walkBoth(lower: Store, upper: Store, path: string): AsyncIterable<FileFacts> {
  const seen = new Set<string>();
  for await (const facts of upper.walk(path)) {
    seen.add(facts.path);
    yield facts;
  }
  for await (const facts of lower.walk(path)) if (!seen.has(facts.path)) yield facts;
}
