/** Farms that share a store or a cache, and cannot see each other's processes although their host names are one. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, utimes } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openScratch } from "../../src/base/scratch.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, OTHER_NAMESPACE, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

/** Publishes one generation after the other, each with a decision more, and waits while others do. */
const WRITER = `
  import { change } from ${source("farm/moves.ts")};
  import { openFolderStore } from ${source("registry/stores/folder.ts")};
  import { setTimeout as sleep } from "node:timers/promises";
  const [place, by, count] = process.argv.slice(1);
  const digest = "sha256:" + "0".repeat(64);
  const artifact = { driver: "doorbell", output: "0.1.0/debian12/x86_64/6.1", recipe: digest };
  console.log("here");
  for (let done = 0; done < Number(count); ) {
    const store = await openFolderStore(place);
    const decision = { at: new Date().toISOString(), action: "withdraw", artifact, by, why: String(done), verdicts: [] };
    const add = async (state) => ({ state: { ...state, decisions: [...state.decisions, decision] }, moves: [] });
    try {
      await change({ store }, () => new Date(), add);
      done++;
    } catch (thrown) {
      if (thrown.code !== "STORE_BUSY") throw thrown;
      await sleep(5);
    }
  }`;

async function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode === null) await once(child, "exit");
}

test("two that write one store at once make one history, and nothing of either is lost", async () => {
  const place = await temporaryDirectory();
  const count = 8;

  const writers = await Promise.all([
    startChild(WRITER, [place, "here", String(count)]),
    startChild(WRITER, [place, "there", String(count)], OTHER_NAMESPACE),
  ]);
  await Promise.all(writers.map(({ child }) => endOf(child)));

  const { head, decisions } = await readPublished(await openFolderStore(place), "stable");
  const whys = (by: string) => decisions.filter((one) => one.by === by).map(({ why }) => why);
  expect(whys("here")).toEqual(Array.from({ length: count }, (_, index) => String(index)));
  expect(whys("there")).toEqual(whys("here"));
  expect(head?.number).toBe(2 * count);
  expect(await readdir(join(place, "generations"))).toHaveLength(2 * count);
  expect((await readdir(place)).toSorted()).toEqual(["channels", "generations"]);
});

test("the lock and the temporary files of one that lives there are left alone, and are taken over once it is silent", async () => {
  const [place, cache] = [await temporaryDirectory(), await temporaryDirectory()];
  const { child, said } = await startChild(
    `import { openScratch } from ${source("base/scratch.ts")};
    import { openFolderStore } from ${source("registry/stores/folder.ts")};
    import { writeFileSync } from "node:fs";
    const scratch = await openScratch(${JSON.stringify(cache)});
    writeFileSync(scratch.path(), "half");
    await (await openFolderStore(${JSON.stringify(place)})).lock();
    console.log("locked");
    setInterval(() => {}, 1000);`,
    [],
    OTHER_NAMESPACE,
  );
  const theirs = await readdir(cache);
  const lock = await readFile(join(place, ".lock"), "utf8");
  const silence = async (minutes: number) => {
    const then = new Date(Date.now() - minutes * 60_000);
    const marks = (await readdir(join(place, ".tmp"))).map((name) => join(place, ".tmp", name));
    const files = [join(place, ".lock"), ...marks, ...theirs.map((name) => join(cache, name))];
    for (const file of files) await utimes(file, then, then);
  };
  const store = await openFolderStore(place);

  const whileAlive = await store.lock().catch((thrown: unknown) => thrown);
  await (await openScratch(cache)).close();
  const left = await readdir(cache);
  await killNow(child);
  await silence(9);
  const soonAfter = await store.lock().catch((thrown: unknown) => thrown);
  await silence(11);
  const unlock = await store.lock();
  await unlock();
  await (await openScratch(cache)).close();

  expect(said).toBe("locked");
  expect(lock).toMatch(/^\d+-\d+\.[0-9a-f]+ /);
  expect(whileAlive).toMatchObject({
    code: "STORE_BUSY",
    hint: expect.stringMatching(/another machine, container or boot.*10 minutes after its last sign of life/),
  });
  expect(left).toEqual(theirs);
  expect(soonAfter).toMatchObject({ code: "STORE_BUSY" });
  expect(await readdir(place)).toEqual([]);
});
