/** Sets of a driver's release: what a night adds, what stays, and what of it verifies without the registry. */
import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { inProcess } from "../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { trustWithLog } from "../../test/support/notes.ts";
import { firstRoot, headMaker, LOG_KEY, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { rootText } from "../provenance/trees/linux-merkle.ts";
import { publish } from "./commit.ts";
import type { Edition, Published } from "./documents.ts";
import { fsck } from "./fsck.ts";
import { readPublished } from "./generations.ts";
import { nodeIndices } from "./node-index.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { faultsOfSets, proofOf, rootOfEdition, withEditions } from "./sets.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { verifyRegistry } from "./verify.ts";

const NOW = new Date("2026-11-28T02:10:00Z");
/** `makeEntry` says that each module has ten bytes. */
const contentOf = (kernel: number) => String(kernel).padStart(3, "0");
const moduleOf = (kernel: number) => Buffer.from(`module ${contentOf(kernel)}`);

function elementOf(kernel: number) {
  const release = `6.1.0-${kernel}-amd64`;
  return makeElement({ kversion: release, output: `0.1.0/debian12/x86_64/${release}` });
}

async function registry(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, trustWithLog(firstRoot(), [LOG_KEY]));
  return store;
}

/** One night, with these kernels' modules upon what is there. */
async function night(store: Store, kernels: readonly number[]): Promise<Published> {
  const outcomes = kernels.map((kernel) => {
    const entry = makeEntry(elementOf(kernel), contentOf(kernel));
    return makeOutcome(elementOf(kernel), { artifact: { entry, isStable: true } });
  });
  for (const kernel of kernels) await putBlobs(store, elementOf(kernel), contentOf(kernel));
  const catalog = makeCatalog([makeKernel()]);
  const author = { who: "somebody", what: "run", now: () => NOW, head: headMaker({ now: NOW }) };
  const change = (before: Published) => ({ state: nextState(before, catalog, outcomes), result: 0 });
  return (await publish(store, change, author)).state;
}

test("grow by editions, in whose trees each module keeps its place and its proof", async () => {
  const store = await registry();
  const first = await night(store, [1, 2, 3]);
  const later = await night(store, [4, 5]);
  const [one, two] = later.editions;

  expect(first.editions).toEqual([one]);
  expect([one, two]).toMatchObject([
    { driver: "doorbell", version: "0.1.1", edition: 1, count: 3, levels: 2 },
    { driver: "doorbell", version: "0.1.1", edition: 2, count: 5, levels: 3 },
  ]);
  expect([one?.places.length, two?.places.length]).toEqual([3, 2]);
  expect((await verifyRegistry(store, { now: NOW })).breaks).toEqual([]);
});

test("an artifact of last month verifies against its edition's root after 20 further editions, offline", async () => {
  const store = await registry();
  const place = await temporaryDirectory();
  const { editions } = await night(store, [1, 2]);
  await writeFile(join(place, "doorbell.ko"), moduleOf(2));
  const run = (...argv: string[]) => inProcess(["modules", ...argv], { cwd: place });
  const proven = await run("prove", "doorbell.ko", "--registry", store.place);
  expect(proven.exitCode, proven.stderr).toBe(0);
  const root = rootText(rootOfEdition(editions[0] as Edition));
  const sidecar = await readFile(join(place, "doorbell.ko.merkle"));
  for (let kernel = 3; kernel < 23; kernel++) await night(store, [kernel]);
  const now = await readPublished(store);

  expect(now.editions.length).toBe(21);
  expect(await proofOf(store, now.editions, moduleOf(2), "doorbell.ko")).toEqual(sidecar);
  // Without the registry, by our own verifier and by a script of dash.
  expect(await run("verify", "doorbell.ko", "--root", root)).toMatchObject({ exitCode: 0 });
  const script = join(import.meta.dirname, "../../test/support/merkle-check.sh");
  execFileSync("dash", [script, "doorbell.ko", "doorbell.ko.merkle", root], { cwd: place });
  const byRegistry = await run("verify", "doorbell.ko", "--registry", store.place, "--json");
  expect(JSON.parse(byRegistry.stdout).files).toMatchObject([
    { verdict: "authenticated", by: `edition 1 of doorbell 0.1.1 (${store.place})` },
  ]);
  const last = rootText(rootOfEdition(now.editions.at(-1) as Edition));
  expect(await run("verify", "doorbell.ko", "--root", last)).toMatchObject({ exitCode: 4 });
});

test("have no place twice, keep that of a withdrawn module, and none for what is not there", async () => {
  const store = await registry();
  await night(store, [1, 2]);
  const again = await night(store, [1, 2]);
  expect(again.editions.length).toBe(1);
  // Withdrawn: its modules are stable no longer.
  const withdrawn = {
    ...again,
    indices: again.indices.map((index) => ({ ...index, stable: index.stable.slice(1) })),
  };
  const gone = await publishSigned(store, withdrawn, { now: NOW });
  expect(gone.editions).toEqual(again.editions);
  expect((await verifyRegistry(store, { now: NOW })).breaks).toEqual([]);
  // Bytes that are missing get no place, and the next night does not stumble over them.
  const other = await registry();
  const state = nextState(NOTHING, makeCatalog([makeKernel()]), [
    makeOutcome(elementOf(9), { artifact: { entry: makeEntry(elementOf(9), "009"), isStable: true } }),
  ]);
  await expect(publishSigned(other, state, { now: NOW })).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  expect((await readPublished(other)).editions).toEqual([]);
});

test("take in once, with the next news, what was stable before there were sets, and nodes are told by which edition and proof", async () => {
  const store = await registry();
  const now = await night(store, [1, 2]);
  const old = { ...now, editions: [] };
  const before = {
    ...old,
    indices: old.indices.map((index) => ({ ...index, stable: index.stable.slice(1) })),
  };
  const later = await withEditions(store, before, old);
  const [edition] = later.editions as [Edition];

  expect(later.editions).toMatchObject([{ driver: "doorbell", version: "0.1.1", edition: 1, count: 2 }]);
  expect((await withEditions(store, later, { ...later, indices: [...later.indices] })).editions).toEqual(
    later.editions,
  );
  // Without news nothing is written.
  expect((await withEditions(store, old, { ...old, indices: [...old.indices] })).editions).toEqual([]);
  const artifacts = nodeIndices(later, () => 10).flatMap(({ blocks, claims }) =>
    [...blocks, ...claims].flatMap(({ answer }) => (answer.kind === "exact" ? [answer.artifact] : [])),
  );
  expect(artifacts.length).toBe(2);
  for (const { modules, proven } of artifacts) {
    const place = edition.places.find(({ digest }) => digest === modules[0]?.digest);
    expect(proven).toEqual({
      sets: [{ version: "0.1.1", edition: 1, count: 2, root: rootOfEdition(edition) }],
      proofs: [{ file: "doorbell.ko", digest: place?.proof, size: 44 + 32 }],
    });
  }
});

test("write little in a night, and nothing in one without news", async () => {
  const store = await registry();
  for (let kernel = 0; kernel < 300; kernel += 100)
    await night(
      store,
      Array.from({ length: 100 }, (_, at) => kernel + at),
    );
  const files = async () => {
    const all = new Map<string, number>();
    for await (const { path, size } of store.walk("")) all.set(path, size);
    return all;
  };
  const before = await files();
  const then = await readPublished(store);
  await night(store, []);
  expect(await files()).toEqual(before);
  const now = await night(
    store,
    Array.from({ length: 10 }, (_, at) => 500 + at),
  );
  const added = [...(await files())].filter(([path]) => !before.has(path));
  const proofs = now.editions.at(-1)?.places.length ?? 0;
  const newParts = Object.entries(now.parts).filter(
    ([name, part]) => name.startsWith("sets/") && part.digest !== then.parts[name]?.digest,
  );
  const log = added
    .filter(([path]) => path.includes("metadata/log"))
    .reduce((sum, [, size]) => sum + size, 0);
  const sets = newParts.reduce((sum, [, { size }]) => sum + size, 0) + proofs * (44 + 32 * 9);

  expect(proofs).toBe(10);
  expect(log + sets).toBeLessThan(64 << 10);
});

test("whose editions do not fit their modules are a broken link, and a lost proof is made again", async () => {
  const store = await registry();
  const state = await night(store, [1, 2, 3]);
  const [edition] = state.editions as [Edition];
  const changed: Edition[] = [
    { ...edition, count: 4 },
    { ...edition, levels: 3 },
    { ...edition, edition: 2 },
    { ...edition, root: "0".repeat(64) },
    { ...edition, places: edition.places.toReversed() },
    { ...edition, places: edition.places.map((place) => ({ ...place, proof: edition.root as never })) },
    { ...edition, places: edition.places.map((place) => ({ ...place, leaf: "0".repeat(64) })) },
  ];
  for (const one of changed) expect(faultsOfSets([one])).not.toEqual([]);
  expect(faultsOfSets([edition])).toEqual([]);
  const hex = (edition.places[0]?.proof ?? "").slice(7);
  const path = `blobs/sha256/${hex.slice(0, 2)}/${hex}`;
  await store.remove(path);
  const options = { isFull: true, isRepair: true, copyOf: async () => undefined };
  expect((await fsck(store, options)).findings).toMatchObject([
    { path, fact: "missing", remedy: "repaired" },
  ]);
  await prune(store, { keep: 1, graceMs: 0, now: new Date(Date.now() + 1e9), isDryRun: false });
  expect((await verifyRegistry(store, { now: NOW })).breaks).toEqual([]);
});
