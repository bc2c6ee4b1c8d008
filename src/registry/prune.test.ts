/** Pruning what nodes read: registries with signed heads. */
import { stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { CATALOG, makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { around } from "../../test/support/scripted-store.ts";
import { firstRoot, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { blobPath } from "./blobs.ts";
import { fsck } from "./fsck.ts";
import { indexFiles, readHeadAt, readTrusts } from "./metadata.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const HOUR_MS = 3600_000;
const ELEMENT = makeElement();
const clock = { now: new Date() };
const options = { keep: 5, graceMs: 48 * HOUR_MS, now: new Date(), isDryRun: false };

let store: Store;

beforeEach(async () => {
  store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, firstRoot());
  for (const content of ["one", "two"]) {
    await putBlobs(store, ELEMENT, content);
    await publishSigned(store, stateWith(content), clock);
  }
});

function stateWith(content: string) {
  const artifact = { entry: makeEntry(ELEMENT, content), isStable: true };
  return nextState(NOTHING, CATALOG, [makeOutcome(ELEMENT, { artifact })]);
}

async function age(hours: number): Promise<void> {
  for await (const { path } of store.walk("")) {
    const file = join(store.place, path);
    const then = new Date((await stat(file)).mtimeMs - hours * HOUR_MS);
    await utimes(file, then, then);
  }
}

test("keeps the index of a head that a killed writer did not get to show", async () => {
  await age(20);
  const dying = around(store, (path) => {
    if (path === HEAD_PATH) throw new Error("killed");
  });
  await expect(publishSigned(dying, stateWith("one"), clock)).rejects.toThrow("killed");
  await age(40);

  await prune(store, options);
  await publishSigned(store, stateWith("one"), clock);

  const head = await readHeadAt(store, await readTrusts(store));
  expect(head?.head.serial).toBe(3);
  for (const root of head?.head.indices ?? [])
    for await (const { digest } of indexFiles(store, root))
      expect(await store.facts(blobPath(digest))).toBeDefined();
});

test("keeps the newest head where an earlier one is shown again, and the next head comes after it", async () => {
  const early = String(await store.read(HEAD_PATH));
  for (const content of ["one", "two", "one"]) await publishSigned(store, stateWith(content), clock);
  await age(100);
  await prune(store, options);
  await store.write(HEAD_PATH, early);

  await prune(store, options).catch(() => {});

  expect(await store.list("metadata/heads")).toContain("5");
  await publishSigned(store, stateWith("two"), clock);
  expect((await readHeadAt(store, await readTrusts(store)))?.head.serial).toBe(6);
});

test("fsck reports a root that is damaged, and goes on", async () => {
  await store.write("metadata/root/1", "junk");
  await store.remove(blobPath(sha256("module two")));

  const { findings } = await fsck(store, { isFull: false, isRepair: false, copyOf: async () => undefined });

  expect(findings.map(({ path }) => path)).toEqual(
    expect.arrayContaining([blobPath(sha256("module two")), expect.stringContaining("metadata/root/1")]),
  );
});

test.each<[string, () => Promise<void>, RegExp]>([
  [
    "the newest generation",
    () => store.removeAll("generations/2"),
    /generation there is 1, and head 2 is of/,
  ],
  ["every generation", () => store.removeAll("generations"), /generation there is none, and head 2 is of/],
])("removes and shows nothing where %s is lost, of which there is a head", async (_, lose, fact) => {
  await age(100);
  await lose();
  await store.remove("channels/stable");
  await store.removeAll("view");

  await expect(prune(store, options)).rejects.toThrow(
    expect.objectContaining({ code: "METADATA_ROLLED_BACK", message: expect.stringMatching(fact) }),
  );
  const { findings } = await fsck(store, { isFull: true, isRepair: true, copyOf: async () => undefined });

  expect(findings).toContainEqual({ path: expect.stringMatching(fact), fact: "missing", remedy: "lost" });
  expect(await store.list("view")).toEqual([]);
  expect(await store.facts(blobPath(sha256("module two")))).toBeDefined();
});
