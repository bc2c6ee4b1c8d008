/**
 * What a publication costs in a store with many artifacts: requests and bytes for one changed element, for a night
 * without news, and for all of it at once, beside what writing the whole state costs; the time of the next state; and
 * what it takes to tell where every element stands, as `matrix show` does: no manifest is read for that.
 *
 *     npm run bench:folder -- [artifacts] [releases]
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256, toDocument } from "../src/base/json.ts";
import { loadConfig } from "../src/farm/config/index.ts";
import { openGate } from "../src/farm/gate/gate.ts";
import { standingsToday } from "../src/farm/gate/standings.ts";
import { openFarm } from "../src/farm/open.ts";
import { withAllLearned } from "../src/kernel/facts.ts";
import { blobPath, putBlob } from "../src/registry/blobs.ts";
import { commit } from "../src/registry/commit.ts";
import type { Published } from "../src/registry/documents.ts";
import { elementStates } from "../src/registry/element-state.ts";
import { readListing, readPublished } from "../src/registry/generations.ts";
import { NOTHING_PUBLISHED } from "../src/registry/parts.ts";
import { nextState, type Outcome } from "../src/registry/publish.ts";
import { listAll } from "../src/registry/standing.ts";
import { openFolderStore } from "../src/registry/stores/folder.ts";
import type { Store } from "../src/registry/stores/store.ts";
import { makeManifest } from "../test/support/artifacts.ts";
import { factsOn, firstNight, megabytes, notedOutcome } from "./registry.ts";

const [count = 10_000, releases = 20] = process.argv.slice(2).map(Number);
const AUTHOR = { who: "bench", what: "run", now: () => new Date() };

const traffic = { requests: 0, written: 0, read: 0, paths: [] as string[] };
const place = await mkdtemp(join(tmpdir(), "kmodfarm-bench-"));
const store = counted(await openFolderStore(place));
const { catalog, facts, outcomes } = firstNight(count, releases);

// What nodes would get, as small as can be: a module that is not there would be looked for in each publication.
for (let index = 0; index < count; index++)
  await Promise.all([putBlob(store, `module built ${index}`), putBlob(store, `log built ${index}`)]);

console.log(`${count} artifacts in ${releases} releases`);
const started = performance.now();
const all = nextState(NOTHING_PUBLISHED, catalog, outcomes, { facts });
console.log(`next state of ${count} outcomes: ${seconds(started)}`);
const whole = Object.entries(all).map(([, part]) => Buffer.byteLength(toDocument(part)));
console.log(
  `the whole state: ${megabytes(whole.reduce((sum, size) => sum + size, 0))}, which was written for each change before`,
);

let published: Published = NOTHING_PUBLISHED;
published = await measured("first publication", () => publish(all));
await measured("read by another process", () => readPublished(store));
await measured("nothing changed", () => publish(nextState(published, catalog, [])));
for (const index of [0, 1, 2]) {
  const element = (outcomes[index] as Outcome).element;
  await putBlob(store, `module ${index}`);
  await putBlob(store, `log ${index}`);
  await putBlob(store, toDocument(makeManifest(element, [], String(index))));
  // What a build learns of its kernel is published with it.
  const learned = { ...factsOn(element), image: { of: sha256("image"), version: `#${index} SMP` } };
  const next = nextState(published, catalog, [notedOutcome(element, String(index), true)], {
    facts: withAllLearned(published.facts, [learned]),
  });
  published = await measured("one changed element", () => publish(next));
}
const rows = await measured("matrix show", showAll);
const manifests = new Set(listAll(published.indices).map(({ entry }) => blobPath(entry.manifest)));
const seen = traffic.paths.filter((path) => manifests.has(path)).length;
console.log(`  ${rows} elements, ${seen} manifests read`);
await rm(place, { recursive: true });

/** What `matrix show` does before it prints. */
async function showAll(): Promise<number> {
  const farm = await openFarm(await loadConfig({ store: place }, place));
  try {
    const state = await readListing(store);
    const gate = await openGate(
      { ...farm, store },
      () => ({ ...NOTHING_PUBLISHED, ...state }),
      () => new Date(),
    );
    const stateOf = elementStates(state, await standingsToday(gate, state));
    const words = state.matrix.map((element) => stateOf(element).word);
    const wrong = words.filter((word) => word !== "stable" && word !== "candidate");
    if (wrong.length > 0) throw new Error(`${wrong.length} elements are ${wrong[0]}`);
    return words.length;
  } finally {
    await farm.close();
  }
}

async function publish(state: Published): Promise<Published> {
  const { state: written } = await commit(store, () => ({ state, result: undefined }), AUTHOR, {
    state: published,
    isNewest: false,
  });
  return written;
}

async function measured<T>(what: string, work: () => Promise<T>): Promise<T> {
  Object.assign(traffic, { requests: 0, written: 0, read: 0, paths: [] });
  const from = performance.now();
  const result = await work();
  const { requests, written, read } = traffic;
  console.log(
    `${what}: ${requests} requests, ${megabytes(written)} written, ${megabytes(read)} read, ${seconds(from)}`,
  );
  return result;
}

function counted(inner: Store): Store {
  const asked = <T>(answer: Promise<T>, bytes = 0): Promise<T> => {
    traffic.requests++;
    traffic.written += bytes;
    return answer;
  };
  return {
    place: inner.place,
    isNear: inner.isNear,
    async read(path) {
      traffic.paths.push(path);
      const bytes = await asked(inner.read(path));
      traffic.read += bytes?.length ?? 0;
      return bytes;
    },
    stream: (path) => asked(inner.stream(path)),
    facts: (path) => asked(inner.facts(path)),
    list: (path) => asked(inner.list(path)),
    walk: (path) => inner.walk(path),
    remove: (path) => asked(inner.remove(path)),
    removeAll: (path) => asked(inner.removeAll(path)),
    write: (path, content) => asked(inner.write(path, content), Buffer.byteLength(content)),
    create: (path, content) => asked(inner.create(path, content), Buffer.byteLength(content)),
    writeFile: (path, file) => asked(inner.writeFile(path, file)),
    prepare: () => inner.prepare(),
    close: () => inner.close(),
  };
}

function seconds(from: number): string {
  return `${((performance.now() - from) / 1000).toFixed(2)} s`;
}
