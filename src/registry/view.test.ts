import { describe, expect, test } from "vitest";
import {
  aboutThese,
  CATALOG,
  makeEntry,
  makeManifest,
  makeOutcome,
  NOTHING,
  putBlobs,
} from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { showPublished } from "../../test/support/published.ts";
import { around } from "../../test/support/scripted-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { sha256, toDocument } from "../base/json.ts";
import { blobPath, putBlob } from "./blobs.ts";
import type { IndexEntry, Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import { viewPath } from "./view-path.ts";

const ELEMENT = makeElement();
const NOW = new Date("2026-02-07T00:00:00Z");
const PLACE = "view/doorbell/0.1.0/debian12/x86_64/6.1.0-56-amd64_6.1.170-3";
const stateWith = (content: string, isStable = true) =>
  nextState(NOTHING, CATALOG, [
    makeOutcome(ELEMENT, { artifact: { entry: makeEntry(ELEMENT, content), isStable } }),
  ]);

async function openStore(...contents: string[]) {
  const store = await openFolderStore(await temporaryDirectory());
  for (const content of contents) await putBlobs(store, ELEMENT, content);
  return store;
}

describe("the view", () => {
  test("shows stable artifacts at the original's paths", async () => {
    const store = await openStore("one");

    const written = await showPublished(store, stateWith("one"), NOW);

    expect(written).toBe(1);
    expect(viewPath(ELEMENT)).toBe(PLACE);
    expect(await store.list(PLACE)).toEqual(["build.log", "doorbell.ko", "manifest.json"]);
    expect(String(await store.read(`${PLACE}/doorbell.ko`))).toBe("module one");
    expect(sha256((await store.read(`${PLACE}/manifest.json`)) ?? "")).toBe(
      makeEntry(ELEMENT, "one").manifest,
    );
    expect(String(await store.read(`${PLACE}/build.log`))).toBe("log one");
  });

  test("writes nothing when nothing changed", async () => {
    const store = await openStore("one");
    await showPublished(store, stateWith("one"), NOW);

    expect(await showPublished(store, stateWith("one"), NOW)).toBe(0);
  });

  test("shows no candidates", async () => {
    const store = await openStore("one");

    await showPublished(store, stateWith("one", false), NOW);

    expect(await store.list("view")).toEqual([]);
  });

  test("replaces an artifact, and removes what does not belong to it", async () => {
    const store = await openStore("one", "two");
    await showPublished(store, stateWith("one"), NOW);
    await store.write(`${PLACE}/stray.ko`, "left");

    await showPublished(store, stateWith("two"), NOW);

    expect(await store.list(PLACE)).toEqual(["build.log", "doorbell.ko", "manifest.json"]);
    expect(String(await store.read(`${PLACE}/doorbell.ko`))).toBe("module two");
  });

  test("takes away what is a candidate again, or not there any more", async () => {
    const store = await openStore("one");
    await showPublished(store, stateWith("one"), NOW);

    await showPublished(store, { ...stateWith("one"), indices: [] }, NOW);

    expect(await store.list("view")).toEqual([]);
  });

  test("finishes what a killed writer began, at whatever moment: the manifest comes last, and no mark is left", async () => {
    for (let writes = 0, isKilled = true; isKilled; writes++) {
      const store = await openStore("one", "two");
      await showPublished(store, stateWith("one"), NOW);
      let left = writes;
      const dying = around(store, () => {
        if (left-- === 0) throw new Error("killed");
      });
      isKilled = await showPublished(dying, stateWith("two"), NOW).then(
        () => false,
        () => true,
      );
      const [halfWay, state] = [await store.read(`${PLACE}/manifest.json`), await readPublished(store)];
      const module = String(await store.read(`${PLACE}/doorbell.ko`));
      if (halfWay !== undefined && sha256(halfWay) === makeEntry(ELEMENT, "two").manifest)
        expect(module).toBe("module two");

      await showPublished(store, state, NOW);

      const shown =
        state.indices[0]?.stable[0]?.manifest === makeEntry(ELEMENT, "two").manifest ? "two" : "one";
      expect(String(await store.read(`${PLACE}/doorbell.ko`))).toBe(`module ${shown}`);
      expect(sha256((await store.read(`${PLACE}/manifest.json`)) ?? "")).toBe(
        makeEntry(ELEMENT, shown).manifest,
      );
    }
  });

  test("comes to the newest generation, whoever of two writers writes it last", async () => {
    for (let moment = 0; ; moment++) {
      const store = await openStore("one", "two", "three");
      await showPublished(store, stateWith("one"), NOW);
      let [count, isDone] = [0, false];
      const disturbed = around(store, async () => {
        if (count++ !== moment) return;
        isDone = true;
        await showPublished(store, stateWith("three"), NOW);
      });

      await showPublished(disturbed, stateWith("two"), NOW);
      if (!isDone) break;

      const [entry] = (await readPublished(store)).indices.flatMap(({ stable }) => stable);
      expect(sha256((await store.read(`${PLACE}/manifest.json`)) ?? "")).toBe(entry?.manifest);
      expect(sha256((await store.read(`${PLACE}/doorbell.ko`)) ?? "")).toBe(entry?.modules[0]?.digest);
      expect(await store.list("marks")).toEqual([]);
    }
  });

  test.each([
    ["damaged", "something else"],
    ["missing", undefined],
  ])("shows no artifact whose bytes are %s", async (_, bytes) => {
    const store = await openStore("one");
    const path = blobPath(sha256("module one"));
    if (bytes === undefined) await store.remove(path);
    else await store.write(path, bytes);

    await expect(showPublished(store, stateWith("one"), NOW)).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringContaining(path) }),
    );
    expect(await store.read(`${PLACE}/manifest.json`)).toBeUndefined();
  });
});

describe("the view of an index that somebody changed", () => {
  const other = sha256("module of somebody else");
  const changed = (change: Partial<IndexEntry>): Published =>
    nextState(NOTHING, CATALOG, [
      makeOutcome(ELEMENT, {
        artifact: { entry: { ...makeEntry(ELEMENT, "one"), ...change }, isStable: true },
      }),
    ]);
  const module = { name: "doorbell", digest: sha256("module one"), size: 10 };

  test.each<[string, Partial<IndexEntry>, RegExp]>([
    ["another module", { modules: [{ ...module, digest: other }] }, /name different modules/],
    ["a stripped module", { modules: [{ ...module, stripped: other }] }, /name different modules/],
    [
      "a compressed one",
      { modules: [{ ...module, compressed: { file: "doorbell.ko.xz", digest: other } }] },
      /name different modules/,
    ],
    ["another name", { modules: [{ ...module, name: "other" }] }, /name different modules/],
    ["one module more", { modules: [module, { ...module, name: "more" }] }, /name different modules/],
    ["a further file", { files: [{ path: "x.html", digest: other, size: 1 }] }, /name different files/],
    ["another log", { log: other }, /name different logs/],
    ["another recipe", { recipe: other }, /name different recipes/],
    ["another kernel", { kversion: "6.1.0-1-amd64" }, /name different kernels/],
    ["another driver", { driverVersion: "9.9" }, /name different drivers/],
  ])("shows nothing with %s than its manifest has", async (_, change, words) => {
    const store = await openStore("one");
    await putBlob(store, "module of somebody else");

    await expect(showPublished(store, changed(change), NOW)).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringMatching(words) }),
    );
    expect(await store.list("view")).toEqual([]);
  });

  test("shows nothing whose verdicts are about other bytes", async () => {
    const store = await openStore("one");
    const pass = aboutThese(verdict("load", "pass", "good"), "two");
    const manifest = await putBlob(store, toDocument(makeManifest(ELEMENT, [pass], "one")));

    await expect(showPublished(store, changed({ manifest }), NOW)).rejects.toThrow(
      /verdict load is about different bytes/,
    );
    expect(await store.list("view")).toEqual([]);
  });
});

describe("putBlob", () => {
  test("stores bytes once, under their digest", async () => {
    const store = await openStore();

    const digests = await Promise.all([putBlob(store, "bytes"), putBlob(store, Buffer.from("bytes"))]);

    expect(new Set(digests)).toEqual(new Set([sha256("bytes")]));
    expect(blobPath(sha256("bytes"))).toMatch(/^blobs\/sha256\/([0-9a-f]{2})\/\1[0-9a-f]{62}$/);
    expect(String(await store.read(blobPath(sha256("bytes"))))).toBe("bytes");
  });
});
