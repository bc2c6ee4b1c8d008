import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CATALOG, makeOutcome, putBlobs } from "../../test/support/artifacts.ts";
import { treeDigests } from "../../test/support/e2e-farm.ts";
import { makeElement } from "../../test/support/elements.ts";
import { startS3Double } from "../../test/support/s3-double.ts";
import { failing } from "../../test/support/scripted-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { hexOf, sha256 } from "../base/json.ts";
import { openScratch } from "../base/scratch.ts";
import { blobPath } from "./blobs.ts";
import { publish } from "./commit.ts";
import { copyStore } from "./copy.ts";
import { readPublished } from "./generations.ts";
import { inputArchive } from "./input-archive.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import { openS3Store } from "./stores/s3.ts";
import type { Store } from "./stores/store.ts";

beforeEach(() => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "test");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "testing");
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const author = { who: "somebody", what: "run", now: () => new Date() };

async function publishOne(store: Store, content: string): Promise<void> {
  const element = makeElement();
  await putBlobs(store, element, content);
  await publish(
    store,
    (before) => ({ state: nextState(before, CATALOG, [makeOutcome(element, { content })]), result: 0 }),
    author,
  );
}

async function openSource(): Promise<{ directory: string; store: Store }> {
  const directory = await temporaryDirectory();
  const store = await openFolderStore(directory);
  await publishOne(store, "100");
  await publishOne(store, "200");
  // Too large to go through memory.
  const bytes = Buffer.alloc(9 << 20);
  const hex = hexOf(sha256(bytes));
  await store.write(`private/sha256/${hex.slice(0, 2)}/${hex}`, bytes);
  await store.close();
  return { directory, store };
}

const scratchOf = async () => openScratch(join(await temporaryDirectory(), "scratch"));

test("a registry comes through a bucket byte for byte, and what is there is not copied again", async () => {
  const { directory, store } = await openSource();
  const { endpoint, bucket } = await startS3Double();
  const place = { endpoint, bucket, prefix: "farm", pathStyle: true, region: "us-east-1" };
  const [remote, back] = [await openS3Store(place), await temporaryDirectory()];
  const scratch = await scratchOf();

  const there = await copyStore(store, remote, scratch);
  const again = await copyStore(store, remote, scratch);
  const target = await openFolderStore(back);
  await copyStore(remote, target, scratch);
  await target.close();

  expect(await treeDigests(back)).toEqual(await treeDigests(directory));
  expect(there.files).toBe((await treeDigests(directory)).size);
  expect(again).toEqual({ files: 0, bytes: 0, kept: there.files, removed: 0 });
});

test("a copy that broke off goes on, and shows no generation before all that it names is there", async () => {
  const { directory, store } = await openSource();
  const back = await temporaryDirectory();
  const target = await openFolderStore(back);
  const scratch = await scratchOf();

  for (const top of ["private", "generations", "view", "channels"]) {
    const broken = failing(target, (path) => path.startsWith(`${top}/`));
    await expect(copyStore(store, broken, scratch)).rejects.toThrow("503");
    expect(await target.list("channels")).toEqual([]);
  }
  await copyStore(store, target, scratch);
  await target.close();

  expect(await treeDigests(back)).toEqual(await treeDigests(directory));
});

test("what is withdrawn, or private by now, is not there any more after the next copy", async () => {
  const { store } = await openSource();
  const target = await openFolderStore(await temporaryDirectory());
  const scratch = await scratchOf();
  const file = join(await temporaryDirectory(), "package");
  await writeFile(file, "may not be passed on");
  const hex = hexOf(sha256("may not be passed on"));
  await inputArchive(store).write(hex, file, false);
  await copyStore(store, target, scratch);
  expect(await target.list("view")).toEqual(["doorbell"]);
  expect(await target.facts(blobPath(`sha256:${hex}`))).toBeDefined();

  await publish(store, (before) => ({ state: { ...before, indices: [] }, result: 0 }), author);
  await inputArchive(store).write(hex, file, true);
  const { removed } = await copyStore(store, target, scratch);

  expect(await target.list("view")).toEqual([]);
  expect(await target.facts(blobPath(`sha256:${hex}`))).toBeUndefined();
  expect(await target.facts(`private/sha256/${hex.slice(0, 2)}/${hex}`)).toBeDefined();
  expect(removed).toBe(4);
});

test("what only the source lost stays, and a source that was pruned is copied on", async () => {
  const { store } = await openSource();
  const target = await openFolderStore(await temporaryDirectory());
  const scratch = await scratchOf();
  await copyStore(store, target, scratch);
  const shown = await target.list("view");

  await store.removeAll("view");
  await store.removeAll("generations/1");
  await publishOne(store, "300");
  await store.removeAll("view");
  await copyStore(store, target, scratch);

  expect(await target.list("view")).toEqual(shown);
  expect((await readPublished(target)).head?.number).toBe(3);
});

test("neither damaged bytes nor a second history are copied", async () => {
  const { directory, store } = await openSource();
  const { store: other } = await openSource();
  const scratch = await scratchOf();
  await expect(copyStore(store, other, scratch)).rejects.toMatchObject({ code: "STORE_CONFLICT" });

  const [blob = ""] = [...(await treeDigests(directory)).keys()].filter((path) => path.startsWith("blobs/"));
  const bytes = await readFile(join(directory, blob));
  await rm(join(directory, blob));
  await writeFile(join(directory, blob), Buffer.alloc(bytes.length));
  const target = await openFolderStore(await temporaryDirectory());

  await expect(copyStore(store, target, scratch)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  expect(await target.list("generations")).toEqual([]);
});
