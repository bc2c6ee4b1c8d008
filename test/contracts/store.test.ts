import { mkdir, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { entriesOf } from "../../src/base/scratch.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { storeContract } from "./store.ts";

const FOLDER = new URL("../../src/registry/stores/folder.ts", import.meta.url).href;

function openElsewhere(directory: string): string {
  return `
    import { openFolderStore } from ${JSON.stringify(FOLDER)};
    const store = await openFolderStore(${JSON.stringify(directory)});`;
}

storeContract("a folder", async () => {
  const directory = join(await temporaryDirectory(), "store");
  return { open: () => openFolderStore(directory), openElsewhere: openElsewhere(directory) };
});

test("a folder has nothing but what was written, once its writers are gone", async () => {
  const directory = join(await temporaryDirectory(), "store");
  const { child } = await startChild(
    `${openElsewhere(directory)}
    await store.lock();
    for (let turn = 0; ; turn++) {
      await store.write("a/" + (turn % 3), "x".repeat(1 << 20));
      if (turn === 3) console.log("at work");
    }`,
  );
  await killNow(child);

  const store = await openFolderStore(directory);
  const unlock = await store.lock();
  await unlock();

  expect(await entriesOf(directory)).toEqual(["a"]);
  expect(await store.list("a")).toEqual(["0", "1", "2"]);
  for (const name of ["0", "1", "2"]) expect((await store.read(`a/${name}`))?.length).toBe(1 << 20);
});

test("a folder's lock of another machine is never taken over", async () => {
  const directory = await temporaryDirectory();
  const store = await openFolderStore(directory);
  const unlock = await store.lock();
  const [lock = ""] = (await entriesOf(directory)).filter((name) => name.startsWith(".lock"));
  await unlock();
  await writeFile(join(directory, lock), "1-1 another-machine");

  await expect(store.lock()).rejects.toThrow(
    expect.objectContaining({ code: "STORE_BUSY", message: expect.stringContaining("another-machine") }),
  );
});

test("a folder's lock of a dead process is never taken over by two, however close they come", async () => {
  const directory = await temporaryDirectory();
  const winners: number[] = [];

  for (let round = 0; round < 100; round++) {
    const place = join(directory, `${round}`);
    await mkdir(place);
    await writeFile(join(place, ".lock"), `0-0 ${hostname()}`);
    const stores = await Promise.all(Array.from({ length: 6 }, () => openFolderStore(place)));
    const locks = await Promise.allSettled(stores.map((store) => store.lock()));
    winners.push(locks.filter(({ status }) => status === "fulfilled").length);
  }

  expect(Math.max(...winners)).toBe(1);
});
