import { createServer } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { askRegistry, firstRoot, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { Http } from "../base/http.ts";
import { openScratch } from "../base/scratch.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { blobPath } from "./blobs.ts";
import { copyStore } from "./copy.ts";
import { fsck } from "./fsck.ts";
import { indexFiles, readHeadAt, readTrusts } from "./metadata.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { serialPath } from "./serials.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { webReader } from "./stores/web.ts";

const KERNEL = makeKernel({ kversion: "6.12.117+deb13-amd64", packageVersion: "6.12.117-1" });
const QUESTION = {
  ...{ driver: "doorbell", machine: "x86_64", release: KERNEL.kversion },
  version: "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-11-12)",
};
const NOW = new Date("2026-11-28T02:10:00Z");
const FOUND = { kind: "found", block: { answer: { kind: "exact" } } };

/** Two generations, the first of which had another index. */
async function published(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, firstRoot());
  const { kversion, packageVersion } = KERNEL;
  const element = makeElement({ kversion, packageVersion });
  for (const content of ["one", "two"]) {
    await putBlobs(store, element, content);
    const artifact = { entry: makeEntry(element, content), isStable: true };
    await publishSigned(
      store,
      nextState(NOTHING, makeCatalog([KERNEL]), [makeOutcome(element, { artifact })]),
      { now: NOW },
    );
  }
  return store;
}

async function indexPaths(store: Store): Promise<string[]> {
  const found = await readHeadAt(store, await readTrusts(store));
  const paths: string[] = [];
  for (const root of found?.head.indices ?? [])
    for await (const { digest } of indexFiles(store, root)) paths.push(blobPath(digest));
  return paths;
}

const check = (store: Store, isRepair = false) =>
  fsck(store, { isFull: true, isRepair, copyOf: async () => undefined });

test("prune keeps what nodes read, and removes indices and heads of the past", async () => {
  const store = await published();
  const later = new Date(Date.now() + 30 * 24 * 3600_000);

  await prune(store, { keep: 1, graceMs: 0, now: later, isDryRun: false });

  expect(await askRegistry(store, QUESTION, NOW)).toMatchObject(FOUND);
  expect(await store.list("metadata/heads")).toEqual(["2"]);
  expect(await check(store)).toMatchObject({ findings: [], unnamed: { files: 0 } });
});

test("fsck knows the node index, and writes it again", async () => {
  const store = await published();
  const paths = await indexPaths(store);

  expect(paths).toHaveLength(2);
  expect((await check(store)).findings).toEqual([]);
  const [leaf = ""] = paths.slice(-1);
  await store.write(leaf, String(await store.read(leaf)).replace("exact", "exacT"));
  expect((await check(store)).findings).toMatchObject([
    { path: leaf, fact: "damaged", by: "head 2", remedy: "repairable" },
  ]);
  await check(store, true);

  expect((await check(store)).findings).toEqual([]);
  expect(await askRegistry(store, QUESTION, NOW)).toMatchObject(FOUND);
});

test("a node index without its top is no reason to prune", async () => {
  const store = await published();
  const [top = ""] = await indexPaths(store);
  await store.remove(top);

  await expect(prune(store, { keep: 1, graceMs: 0, now: NOW, isDryRun: false })).rejects.toThrow(
    expect.objectContaining({ code: "STORE_CORRUPT" }),
  );
});

test("a copy of a registry has its roots and its head", async () => {
  const [from, to] = [await published(), await openFolderStore(await temporaryDirectory())];

  await copyStore(from, to, await openScratch(await temporaryDirectory()));

  expect(await askRegistry(to, QUESTION, NOW)).toMatchObject(FOUND);
  expect(await to.read(serialPath(2))).toEqual(await from.read(HEAD_PATH));
});

test("a registry is read over the web as it is in its folder", async () => {
  const store = await published();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    // A `+` in a path means a blank to some servers.
    void store
      .read(decodeURIComponent((request.url ?? "").replace("/registry/", "").replaceAll("+", " ")))
      .then((bytes) => {
        response.statusCode = bytes === undefined ? 404 : 200;
        response.end(bytes);
      });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const http = new Http();
  onTestFinished(async () => {
    await http.close();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const reader = webReader(`http://127.0.0.1:${port}/registry/`, http);

  expect(await askRegistry(reader, QUESTION, NOW)).toMatchObject(FOUND);
  expect(asked.slice(0, 3)).toEqual([
    "/registry/metadata/root/1",
    "/registry/metadata/root/2",
    "/registry/metadata/head",
  ]);
  const shown = "view/doorbell/0.1.0/debian12/x86_64/6.12.117+deb13-amd64_6.12.117-1/doorbell.ko";
  expect(await reader.read(shown, 100)).toEqual(await store.read(shown));
  await expect(reader.read(shown, 3)).rejects.toThrow("is longer than 3 bytes");
});
