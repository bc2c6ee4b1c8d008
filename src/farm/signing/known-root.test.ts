import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { NOTHING } from "../../../test/support/artifacts.ts";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { makeTestKey, ORIGIN, signed, trustOf } from "../../../test/support/notes.ts";
import { headMaker, publishSigned, putRoot } from "../../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { writeNote } from "../../provenance/signed-note.ts";
import { rootPath, type Trust, writeTrust } from "../../provenance/trust.ts";
import { nextState } from "../../registry/publish.ts";
import { openFolderStore } from "../../registry/stores/folder.ts";
import type { Store } from "../../registry/stores/store.ts";
import { openVoucher } from "../../registry/vouched.ts";
import { knownRootOf } from "./known-root.ts";

const [ann, own, stranger] = [makeTestKey(), makeTestKey(), makeTestKey()];
const clock = { now: new Date("2026-11-28T02:10:00Z") };
const root = trustOf([ann], [own]);
const next = trustOf([ann], [own, stranger], { version: 2 });
/** It trusts the farm's own key, too. */
const foreign = trustOf([stranger], [own, stranger]);

let place: string;
let keyDirectory: string;
beforeEach(async () => {
  place = await temporaryDirectory();
  keyDirectory = await temporaryDirectory();
});

/** What another run would see: what was believed is forgotten with the store that is open. */
async function look(file?: string): Promise<readonly Trust[]> {
  const maker = {
    ...headMaker(clock, [own]),
    knownRoot: (at: string) => knownRootOf({ root: file, keyDirectory }, at),
  };
  return (await openVoucher(await openFolderStore(place), maker)).trusts;
}

const store = (): Promise<Store> => openFolderStore(place);
const refused = (words: RegExp) =>
  expect.objectContaining({ code: "METADATA_UNSIGNED", message: expect.stringMatching(words) });

/** The store has a generation that the farm published. */
async function publishOne(): Promise<void> {
  const catalog = makeCatalog([makeKernel()]);
  await publishSigned(await store(), nextState(NOTHING, catalog, []), clock, headMaker(clock, [own]));
}

test("the first root that a farm sees is the one that it knows the registry by", async () => {
  expect(await look()).toEqual([]);
  expect(await readdir(keyDirectory)).toEqual([]);
  await putRoot(await store(), root, [ann]);
  expect(await look()).toHaveLength(1);
  expect(await readdir(keyDirectory)).toEqual([expect.stringMatching(/^registry-[0-9a-f]{12}\.root$/)]);

  await putRoot(await store(), foreign, [stranger]);
  await expect(look()).rejects.toThrow(refused(/root 1 is another one: .*registry-/));
});

test("the newest that it saw counts from then on: none is taken away, and none takes its place", async () => {
  await putRoot(await store(), root, [ann]);
  await putRoot(await store(), next, [ann]);
  expect(await look()).toHaveLength(2);

  await rm(join(place, rootPath(2)));
  await expect(look()).rejects.toThrow(refused(/root 2 is missing/));
  await putRoot(await store(), trustOf([ann], [stranger], { version: 2 }), [ann]);
  await expect(look()).rejects.toThrow(refused(/root 2 is another one/));
  await putRoot(await store(), next, [ann]);
  await putRoot(await store(), trustOf([ann], [own], { version: 3 }), [ann]);
  expect(await look()).toHaveLength(3);
  await rm(join(place, rootPath(3)));
  await expect(look()).rejects.toThrow(refused(/root 3 is missing/));
});

test("roots that are gone are those of a registry that is made anew, if nothing else is there", async () => {
  await putRoot(await store(), root, [ann]);
  await look();
  await rm(join(place, rootPath(1)));
  expect(await look()).toEqual([]);

  await putRoot(await store(), root, [ann]);
  await publishOne();
  await rm(join(place, rootPath(1)));
  await expect(look()).rejects.toThrow(refused(/root 1 is missing/));
});

test("a root that a person named may be any of them, and what follows it counts", async () => {
  const file = join(await temporaryDirectory(), "root.txt");
  await writeFile(file, writeNote(signed(writeTrust(next), ORIGIN, [ann])));
  await putRoot(await store(), root, [ann]);
  await publishOne();

  await expect(look(file)).rejects.toThrow(refused(/root 2 is missing/));
  await putRoot(await store(), next, [ann]);
  expect(await look(file)).toHaveLength(2);
  await putRoot(await store(), foreign, [stranger]);
  await putRoot(await store(), { ...foreign, version: 2 }, [stranger]);
  await expect(look(file)).rejects.toThrow(refused(/root 2 is another one/));
});

test("a root that is another one at a second look is not kept", async () => {
  const real = await store();
  await putRoot(real, root, [ann]);
  let looks = 0;
  const lying: Store = Object.assign(Object.create(real), {
    read: async (path: string, limit?: number) => {
      const isRoot = path === rootPath(1) && ++looks > 1;
      return isRoot
        ? Buffer.from(writeNote(signed(writeTrust(foreign), ORIGIN, [stranger])))
        : real.read(path, limit);
    },
  });
  const maker = { ...headMaker(clock, [own]), knownRoot: (at: string) => knownRootOf({ keyDirectory }, at) };

  await expect(openVoucher(lying, maker)).rejects.toThrow(refused(/root 1 is missing/));
  expect(await readdir(keyDirectory)).toEqual([]);
});

test.each([
  ["is missing", undefined, "FILE_UNREADABLE"],
  ["is cut", "kmodfarm root v1\norigin", "NOTE_MALFORMED"],
  ["nobody signed", writeTrust(root), "NOTE_MALFORMED"],
  ["another key signed", writeNote(signed(writeTrust(root), ORIGIN, [stranger])), "METADATA_UNSIGNED"],
])("a named root that %s is an error", async (_, content, code) => {
  const file = join(keyDirectory, "root.txt");
  if (content !== undefined) await writeFile(file, content);
  await putRoot(await store(), root, [ann]);

  await expect(look(file)).rejects.toMatchObject({ code });
});

test("each store has its own, and without a directory of keys nothing is kept", async () => {
  await putRoot(await store(), root, [ann]);
  await look();
  place = await temporaryDirectory();
  await putRoot(await store(), foreign, [stranger]);
  expect(await look()).toHaveLength(1);
  expect(await readdir(keyDirectory)).toHaveLength(2);

  const files = ["https://a.example", "https://b.example"].map(
    (endpoint) => knownRootOf({ keyDirectory, store: { kind: "s3", endpoint } as never }, "s3://farm").file,
  );
  expect(new Set(files).size).toBe(2);

  await rm(keyDirectory, { recursive: true });
  expect(await look()).toHaveLength(1);
  expect(existsSync(keyDirectory)).toBe(false);
  await mkdir(keyDirectory);
});
