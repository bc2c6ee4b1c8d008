/** A night without news asks for little, and still makes good what nodes are not shown as they should be. */
import { beforeEach, expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { around } from "../../test/support/scripted-store.ts";
import { firstRoot, headMaker, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { commit } from "./commit.ts";
import { generationPath, readPublished } from "./generations.ts";
import { readHeadAt, readTrusts } from "./metadata.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { viewPath } from "./view-path.ts";
import { openVoucher, readVouched } from "./vouched.ts";

const ELEMENT = makeElement();
const DAY_MS = 24 * 3600_000;
const ENTRY = makeEntry(ELEMENT, "built");

let store: Store;
let clock: { now: Date };

beforeEach(async () => {
  clock = { now: new Date("2026-11-28T02:10:00Z") };
  store = await openFolderStore(await temporaryDirectory());
  await putBlobs(store, ELEMENT, "built");
  await putRoot(store, firstRoot());
  await publishSigned(store, { ...NOTHING, catalog: makeCatalog([makeKernel()]) }, clock);
  const artifact = { entry: ENTRY, isStable: true };
  const outcome = makeOutcome(ELEMENT, { artifact });
  await publishSigned(
    store,
    nextState(await readPublished(store), makeCatalog([makeKernel()]), [outcome]),
    clock,
  );
});

/** By a process that remembers nothing. Returns what it read and wrote. */
async function night(): Promise<{ readonly read: string[]; readonly written: string[] }> {
  const [read, written]: [string[], string[]] = [[], []];
  const place = await openFolderStore(store.place);
  const watched: Store = {
    ...around(place, (path) => void written.push(path)),
    read: (path, limit) => {
      read.push(path);
      return place.read(path, limit);
    },
  };
  const head = headMaker(clock);
  const state = await readVouched(watched, await openVoucher(watched, head));
  const author = { who: "farm", what: "run", now: () => clock.now, head };
  const { show } = await commit(watched, (before) => ({ state: before, result: 0 }), author, {
    ...{ state, isNewest: true },
  });
  await show();
  return { read: read.filter((path) => !path.startsWith("blobs/")), written };
}

const shownHead = async () => (await readHeadAt(store, await readTrusts(store)))?.head;

test("reads the roots, the head, its generation, and looks for what came after it", async () => {
  const { read, written } = await night();

  expect(written).toEqual([]);
  expect(read).toEqual([
    ...["metadata/root/1", "metadata/root/2", HEAD_PATH, generationPath(2), generationPath(3)],
    ...["metadata/heads/3", expect.stringMatching(/^marks\//)],
  ]);
});

test.each<[string, () => Promise<unknown>]>([
  ["a head that is lost", () => store.remove(HEAD_PATH)],
  [
    "an earlier head in its place",
    async () => store.write(HEAD_PATH, (await store.read("metadata/heads/1")) ?? ""),
  ],
  [
    "heads of an earlier generation alone",
    async () => {
      await store.remove("metadata/heads/2");
      await store.write(HEAD_PATH, (await store.read("metadata/heads/1")) ?? "");
    },
  ],
])("shows the newest generation again instead of %s", async (_, spoil) => {
  await spoil();

  await night();

  expect((await shownHead())?.generation.number).toBe(2);
  expect((await night()).written).toEqual([]);
});

test("renews a head of which half is over", async () => {
  clock.now = new Date(clock.now.getTime() + 4 * DAY_MS);

  await night();

  expect(await shownHead()).toMatchObject({ serial: 3, generation: { number: 2 } });
  expect((await night()).written).toEqual([]);
});

test("shows what a killed writer announced and did not show", async () => {
  const { head } = await readPublished(store);
  await store.removeAll(viewPath(ENTRY));
  const { driver, output } = ENTRY;
  const mark = { schema: "kmodfarm.viewMark/1", places: [{ driver, output }], files: [] };
  await store.write(`marks/${head?.digest.slice(7, 23)}.json`, JSON.stringify(mark));

  await night();

  expect(await store.list(viewPath(ENTRY))).not.toEqual([]);
  expect(await store.list("marks")).toEqual([]);
});
