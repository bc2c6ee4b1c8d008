/** Farms that share a store or a cache, and cannot see each other's processes although their host names are one. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openScratch } from "../../src/base/scratch.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, OTHER_NAMESPACE, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);

/** Publishes one generation after the other, each with a decision more, whatever others publish meanwhile. */
const WRITER = `
  import { commit } from ${source("registry/commit.ts")};
  import { openFolderStore } from ${source("registry/stores/folder.ts")};
  const [place, by, count] = process.argv.slice(1);
  const digest = "sha256:" + "0".repeat(64);
  const artifact = { driver: "doorbell", output: "0.1.0/debian12/x86_64/6.1", recipe: digest };
  console.log("here");
  const store = await openFolderStore(place);
  for (let done = 0; done < Number(count); done++) {
    const decision = { at: new Date().toISOString(), action: "withdraw", artifact, by, why: String(done), verdicts: [] };
    const add = (state) => ({ state: { ...state, decisions: [...state.decisions, decision] }, result: undefined });
    const { show } = await commit(store, add, { who: by, what: "withdraw", now: () => new Date() });
    await show();
  }
  await store.close();`;

async function endOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null) await once(child, "exit");
  return child.exitCode;
}

test("four that write one store at once make one history, and nothing of any is lost", async () => {
  const place = await temporaryDirectory();
  const count = 5;
  const names = Array.from({ length: 4 }, (_, index) => `writer ${index}`);

  const writers = await Promise.all(
    names.map((name, index) =>
      startChild(WRITER, [place, name, String(count)], index % 2 === 0 ? undefined : OTHER_NAMESPACE),
    ),
  );
  const codes = await Promise.all(writers.map(({ child }) => endOf(child)));

  const { head, decisions } = await readPublished(await openFolderStore(place));
  const whys = (by: string) => decisions.filter((one) => one.by === by).map(({ why }) => why);
  expect(codes).toEqual(names.map(() => 0));
  for (const name of names)
    expect(whys(name)).toEqual(Array.from({ length: count }, (_, index) => String(index)));
  expect(head?.number).toBe(names.length * count);
  expect(await readdir(join(place, "generations"))).toHaveLength(names.length * count);
  expect((await readdir(place)).toSorted()).toEqual(["blobs", "channels", "generations"]);
}, 120_000);

test("the temporary files of one that lives there are left alone, and are removed once it is silent", async () => {
  const cache = await temporaryDirectory();
  const { child } = await startChild(
    `import { openScratch } from ${source("base/scratch.ts")};
    import { writeFileSync } from "node:fs";
    const scratch = await openScratch(${JSON.stringify(cache)});
    writeFileSync(scratch.path(), "half");
    console.log("here");
    setInterval(() => {}, 1000);`,
    [],
    OTHER_NAMESPACE,
  );
  const theirs = await readdir(cache);
  const lookAfter = async (minutes: number) => {
    const then = new Date(Date.now() - minutes * 60_000);
    for (const name of theirs) await utimes(join(cache, name), then, then);
    await (await openScratch(cache)).close();
    return readdir(cache);
  };

  const whileAlive = await lookAfter(0);
  await killNow(child);

  expect(theirs.length).toBeGreaterThan(1);
  expect(whileAlive).toEqual(theirs);
  expect(await lookAfter(9)).toEqual(theirs);
  expect(await lookAfter(11).catch(() => [])).toEqual([]);
});
