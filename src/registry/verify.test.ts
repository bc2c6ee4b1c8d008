import { join } from "node:path";
import { expect, test } from "vitest";
import { ELEMENT, NOW, published, unnoticedChanges } from "../../test/support/changed-registry.ts";
import { makeTestKey, ORIGIN, trustOf } from "../../test/support/notes.ts";
import { firstRoot } from "../../test/support/signed-store.ts";
import { readPublished } from "./generations.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { LINKS, verifyRegistry } from "./verify.ts";
import { verifyArtifact, verifyModule } from "./verify-artifact.ts";
import { viewPath } from "./view-path.ts";

const look = (store: Store) => verifyRegistry(store, { now: NOW });

test("a registry that holds together is good", async () => {
  const store = await published();

  const found = await look(store);

  expect(found.breaks).toEqual([]);
  expect(found).toMatchObject({ origin: ORIGIN, serial: 3, generation: 3 });
});

test("every byte that is changed is reported, wherever it is", async () => {
  const store = await published();

  expect(await unnoticedChanges(store, 40)).toEqual([]);
  expect((await look(store)).breaks).toEqual([]);
});

test("the first broken link is named, and what rests on it comes after", async () => {
  const breaksOf = async (change: (store: Store) => Promise<void>) => {
    const store = await published();
    await change(store);
    return (await look(store)).breaks.map(({ link, code }) => [link, code]);
  };
  const textAt = async (store: Store, path: string) => String(await store.read(path));
  const old = await published();

  expect(await breaksOf((store) => store.remove("metadata"))).toContainEqual(["root", "METADATA_UNSIGNED"]);
  expect((await breaksOf((store) => store.remove("metadata/root/2")))[0]).toEqual([
    "head",
    "METADATA_UNSIGNED",
  ]);
  expect((await breaksOf((store) => store.remove("metadata/head")))[0]).toEqual(["head", "STORE_CORRUPT"]);
  // An earlier head, signed by a key that was rotated out since.
  expect(
    (
      await breaksOf(async (store) => store.write("metadata/head", await textAt(store, "metadata/heads/2")))
    )[0],
  ).toEqual(["head", "METADATA_UNSIGNED"]);
  expect(
    (
      await breaksOf(async (store) =>
        store.write("generations/3/generation.json", await textAt(old, "generations/2/generation.json")),
      )
    )[0]?.[0],
  ).toBe("generation");
  expect((await breaksOf((store) => store.write("view/doorbell/x", "y")))[0]?.[0]).toBe("other files");
  expect(
    (await breaksOf((store) => store.write(`${viewPath(ELEMENT)}/doorbell.ko`, "module siX")))[0]?.[0],
  ).toBe("files");
  expect(LINKS.length).toBe(9);
});

test("expiry and another root than the trusted one are broken links too", async () => {
  const store = await published();
  const later = await verifyRegistry(store, { now: new Date("2026-12-28T00:00:00Z") });
  const other = trustOf([makeTestKey()], [makeTestKey()]);

  expect(later.breaks).toMatchObject([{ link: "head", code: "METADATA_EXPIRED" }]);
  expect((await verifyRegistry(store, { now: NOW, trusted: other })).breaks[0]).toMatchObject({
    link: "root",
  });
  expect((await verifyRegistry(store, { now: NOW, trusted: firstRoot() })).breaks).toEqual([]);
});

test("D31: an artifact's folder has what its manifest names, no more and no less", async () => {
  const store = await published();
  const state = await readPublished(store);
  const folder = await openFolderStore(join(store.place, viewPath(ELEMENT)));
  const factsOf = async () =>
    (await verifyArtifact(folder, state)).breaks.map(({ fact }) => fact.slice(folder.place.length + 1));

  expect(await factsOf()).toEqual([]);
  await folder.write("extra.ko", "x");
  await folder.write("build.log", "another log");
  await folder.remove("doorbell.ko");

  expect(await factsOf()).toEqual([
    "build.log is not what the manifest promises",
    "extra.ko is not in the manifest",
    "doorbell.ko is missing",
  ]);
});

test("a module is one that the registry published, or it is none of its", async () => {
  const state = await readPublished(await published());

  expect(verifyModule(Buffer.from("module six"), "doorbell.ko", state)).toMatchObject({
    breaks: [],
    remarks: [`${viewPath(ELEMENT)}: stable`],
  });
  expect(verifyModule(Buffer.from("module siX"), "doorbell.ko", state).breaks).toMatchObject([
    { link: "artifacts" },
  ]);
});
