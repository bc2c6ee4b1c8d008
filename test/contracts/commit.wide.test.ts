/** Writers that are killed at any moment: one history, always readable, and the next one makes good what was left. */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { fsck } from "../../src/registry/fsck.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, startChild } from "../support/children.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const KILLS = Number(process.env.KMODFARM_KILLS ?? 200);
const source = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/** Publishes an artifact of changing content again and again, and withdraws it in between. */
const WRITER = `
  import { makeElement } from ${source("test/support/elements.ts")};
  import { CATALOG, makeOutcome, putBlobs } from ${source("test/support/artifacts.ts")};
  import { publish } from ${source("src/registry/commit.ts")};
  import { nextState, OpenIndices } from ${source("src/registry/publish.ts")};
  import { openFolderStore } from ${source("src/registry/stores/folder.ts")};
  const [place, from] = process.argv.slice(1);
  const store = await openFolderStore(place);
  const author = { who: "somebody", what: "run", now: () => new Date() };
  console.log("here");
  for (let round = Number(from); ; round++) {
    const element = makeElement();
    const content = String(round % 900 + 100);
    await putBlobs(store, element, content);
    const publishes = (before) => ({ state: nextState(before, CATALOG, [makeOutcome(element, { content })]) });
    const takesBack = (before) => {
      const open = new OpenIndices(before.indices);
      for (const index of before.indices) for (const entry of index.stable) open.takeBack(index, entry, ["taken back"]);
      return { state: { ...before, indices: open.closed() } };
    };
    await publish(store, round % 3 === 0 ? takesBack : publishes, author);
  }`;

test(`${KILLS} kills leave one generation or the other, and the next writer makes the view true`, async () => {
  const place = await temporaryDirectory();
  let [last, advanced] = [0, 0];
  for (let kill = 0; kill < KILLS; kill++) {
    const { child } = await startChild(WRITER, [place, String(kill * 7)]);
    await sleep(randomInt(0, 250));
    await killNow(child);

    const { head } = await readPublished(await openFolderStore(place));
    expect(head?.number ?? 0).toBeGreaterThanOrEqual(last);
    if ((head?.number ?? 0) > last) advanced++;
    last = head?.number ?? 0;
  }
  expect(advanced).toBeGreaterThan(KILLS / 4);
  const { child } = await startChild(WRITER, [place, "1"]);
  await sleep(3_000);
  // It ends between two publications.
  child.kill("SIGSTOP");
  child.kill("SIGKILL");
  const store = await openFolderStore(place);
  const { findings } = await fsck(store, { isFull: true, isRepair: true, copyOf: async () => undefined });
  expect(findings.filter(({ remedy }) => remedy === "lost" || remedy === "leave")).toEqual([]);
  expect(
    (await fsck(store, { isFull: true, isRepair: false, copyOf: async () => undefined })).findings,
  ).toEqual([]);
}, 900_000);
