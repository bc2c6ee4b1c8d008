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
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256, toDocument } from "../base/json.ts";
import { verdict } from "../check/verdict.ts";
import { blobPath, putBlob } from "./artifact.ts";
import type { IndexEntry, Published } from "./documents.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import { refreshView, viewPath } from "./view.ts";

const ELEMENT = makeElement();
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

describe("refreshView", () => {
  test("shows stable artifacts at the original's paths", async () => {
    const store = await openStore("one");

    const written = await refreshView(store, stateWith("one"));

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
    await refreshView(store, stateWith("one"));

    expect(await refreshView(store, stateWith("one"))).toBe(0);
  });

  test("shows no candidates", async () => {
    const store = await openStore("one");

    await refreshView(store, stateWith("one", false));

    expect(await store.list("view")).toEqual([]);
  });

  test("replaces an artifact, and removes what does not belong to it", async () => {
    const store = await openStore("one", "two");
    await refreshView(store, stateWith("one"));
    await store.write(`${PLACE}/stray.ko`, "left");

    await refreshView(store, stateWith("two"));

    expect(await store.list(PLACE)).toEqual(["build.log", "doorbell.ko", "manifest.json"]);
    expect(String(await store.read(`${PLACE}/doorbell.ko`))).toBe("module two");
  });

  test("finishes what a killed writer began: the manifest comes last", async () => {
    const store = await openStore("one");
    const dying = {
      ...storeOf(store),
      write: async (path: string, bytes: string | Uint8Array) => {
        if (path.endsWith("manifest.json")) throw new Error("killed");
        await store.write(path, bytes);
      },
    };

    await expect(refreshView(dying, stateWith("one"))).rejects.toThrow("killed");
    const halfWay = await store.list(PLACE);
    await refreshView(store, stateWith("one"));

    expect(halfWay).toEqual(["build.log", "doorbell.ko"]);
    expect(await store.list(PLACE)).toEqual(["build.log", "doorbell.ko", "manifest.json"]);
  });

  test.each([
    ["damaged", "something else"],
    ["missing", undefined],
  ])("shows no artifact whose bytes are %s", async (_, bytes) => {
    const store = await openStore("one");
    const path = blobPath(sha256("module one"));
    if (bytes === undefined) await store.remove(path);
    else await store.write(path, bytes);

    await expect(refreshView(store, stateWith("one"))).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringContaining(path) }),
    );
    expect(await store.read(`${PLACE}/manifest.json`)).toBeUndefined();
  });
});

describe("refreshView, of an index that somebody changed,", () => {
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

    await expect(refreshView(store, changed(change))).rejects.toThrow(
      expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringMatching(words) }),
    );
    expect(await store.list("view")).toEqual([]);
  });

  test("shows nothing whose verdicts are about other bytes", async () => {
    const store = await openStore("one");
    const pass = aboutThese(verdict("load", "pass", "good"), "two");
    const manifest = await putBlob(store, toDocument(makeManifest(ELEMENT, [pass], "one")));

    await expect(refreshView(store, changed({ manifest }))).rejects.toThrow(
      /verdict load is about other bytes/,
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

function storeOf(store: Awaited<ReturnType<typeof openFolderStore>>) {
  return {
    place: store.place,
    read: (path: string) => store.read(path),
    create: (path: string, bytes: string | Uint8Array) => store.create(path, bytes),
    list: (path: string) => store.list(path),
    remove: (path: string) => store.remove(path),
    lock: () => store.lock(),
  };
}
