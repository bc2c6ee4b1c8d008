import { describe, expect, test } from "vitest";
import { CATALOG, makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { readPublished, showPublished, writePublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { blobPath } from "./blobs.ts";
import { nextState } from "./publish.ts";
import { damageOf, refuseDamaged, repairArtifacts } from "./repair.ts";
import { type Listed, listAll } from "./standing.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const ELEMENT = makeElement();
const PLACE = "view/doorbell/0.1.0/debian12/x86_64/6.1.0-56-amd64_6.1.170-3";
const STATE = nextState(NOTHING, CATALOG, [makeOutcome(ELEMENT, { content: "one" })]);
const [LISTED] = listAll(STATE.indices) as [Listed];
const MODULE = blobPath(sha256("module one"));

async function openStore() {
  const store = await openFolderStore(await temporaryDirectory());
  await putBlobs(store, ELEMENT, "one");
  await showPublished(store, STATE, new Date(0));
  return store;
}

const repairAll = async (store: Store) => repairArtifacts(store, await readPublished(store));

type TestStore = Awaited<ReturnType<typeof openStore>>;
const HARM: readonly (readonly [string, (store: TestStore, path: string) => Promise<void>, string])[] = [
  ["removed", (store, path) => store.remove(path), "is missing"],
  ["longer", async (store, path) => store.write(path, `${String(await store.read(path))}junk`), "is damaged"],
  ["emptied", (store, path) => store.write(path, ""), "is damaged"],
  [
    "replaced by a directory",
    async (store, path) => {
      await store.remove(path);
      await store.write(`${path}/inside`, "x");
    },
    "is damaged",
  ],
];

test("a whole artifact has no damage, and nothing is written", async () => {
  const store = await openStore();

  expect(await damageOf(store, LISTED)).toEqual([]);
  expect(await repairAll(store)).toEqual({ repaired: 0, lost: [] });
  await expect(refuseDamaged(store, LISTED)).resolves.toBeUndefined();
});

test("no file of an artifact is held as a whole, and few are open at once", async () => {
  const store = await openStore();
  let [open, most] = [0, 0];
  const watched: Store = {
    ...store,
    place: store.place,
    facts: (path) => store.facts(path),
    read: () => Promise.reject(new Error("read as a whole")),
    async stream(path) {
      most = Math.max(most, ++open);
      const body = await store.stream(path);
      if (body === undefined) open--;
      else body.once("end", () => open--);
      return body;
    },
  };
  const files = Array.from({ length: 50 }, (_, index) => ({
    ...{ path: `${index}`, digest: sha256(`${index}`), size: 1 },
  }));
  const listed = { channel: "candidate" as const, entry: { ...LISTED.entry, files } };

  expect(await damageOf(watched, listed)).toHaveLength(50);
  expect(most).toBeLessThanOrEqual(10);
});

describe.each([
  `${PLACE}/doorbell.ko`,
  `${PLACE}/build.log`,
  MODULE,
  blobPath(makeEntry(ELEMENT, "one").manifest),
])("%s", (path) => {
  test.each(HARM)("that is %s is told, and restored from its other copy", async (_, harm, fact) => {
    const store = await openStore();
    const before = await store.read(path);

    await harm(store, path);
    const damage = await damageOf(store, LISTED);
    await expect(refuseDamaged(store, LISTED)).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringContaining(`${path} ${fact}`) }),
    );
    const repair = await repairAll(store);

    expect(damage.map((one) => [one.path, one.fact])).toEqual([[path, fact]]);
    expect(repair).toEqual({ repaired: 1, lost: [] });
    expect(await store.read(path)).toEqual(before);
    expect(await damageOf(store, LISTED)).toEqual([]);
  });
});

test("what has no good copy left is lost", async () => {
  const store = await openStore();
  await store.write(MODULE, "junk");
  await store.remove(`${PLACE}/doorbell.ko`);

  const { repaired, lost } = await repairAll(store);

  expect(repaired).toBe(0);
  expect(lost.map(({ listed, damage }) => [listed, damage.map(({ path }) => path)])).toEqual([
    [LISTED, [MODULE, `${PLACE}/doorbell.ko`]],
  ]);
});

test("what the view does not show at all is shown again", async () => {
  const store = await openStore();
  await store.removeAll(PLACE);

  expect(await repairAll(store)).toEqual({ repaired: 3, lost: [] });
  expect(await damageOf(store, LISTED)).toEqual([]);
});

test("what contradicts its own manifest is not shown again", async () => {
  const store = await openStore();
  await store.removeAll(PLACE);
  const published = await readPublished(store);
  const indices = published.indices.map((index) => ({
    ...index,
    stable: index.stable.map((entry) => ({ ...entry, kversion: "6.1.0-1-amd64" })),
  }));
  await writePublished(store, { ...published, indices }, new Date(0));

  const { lost } = await repairAll(store);

  expect(lost.map(({ damage }) => damage.length)).toEqual([3]);
  expect(await store.list("view")).toEqual([]);
  expect(await store.list("marks")).toEqual([]);
});

test("what is withdrawn meanwhile is not shown again", async () => {
  const store = await openStore();
  const read = await readPublished(store);
  await store.remove(`${PLACE}/doorbell.ko`);
  await showPublished(store, { ...read, indices: [] }, new Date(1));

  await repairArtifacts(store, read);

  expect(await store.list(PLACE)).toEqual([]);
  expect(await store.list("marks")).toEqual([]);
});

test("what is in the way of one artifact is not in that of another, nor of who publishes", async () => {
  const store = await openStore();
  const other = makeElement({ driver: "knocker" });
  await putBlobs(store, other, "two");
  const both = nextState(await readPublished(store), CATALOG, [makeOutcome(other, { content: "two" })]);
  await showPublished(store, both, new Date(1));
  await store.removeAll("view");
  await store.write("view/doorbell", "in the way");

  const { lost } = await repairAll(store);

  expect(lost.map(({ listed }) => listed.entry.driver)).toEqual(["doorbell"]);
  expect(await store.list("view/knocker")).not.toEqual([]);
  expect(await store.list("marks")).toEqual([]);
  await putBlobs(store, other, "three");
  const third = nextState(await readPublished(store), CATALOG, [makeOutcome(other, { content: "three" })]);
  await expect(showPublished(store, third, new Date(2))).resolves.toBe(1);
});

test("of a candidate only the blobs count", async () => {
  const store = await openStore();
  await store.removeAll("view");

  expect(await damageOf(store, { ...LISTED, channel: "candidate" })).toEqual([]);
});
