/** Writers that are killed at any moment: one history, always readable, and the next one makes good what was left. */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { fsck } from "../../src/registry/fsck.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { killNow, startChild } from "../support/children.ts";
import { endlessPublisher } from "../support/publishing-child.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const KILLS = Number(process.env.KMODFARM_KILLS ?? 200);
const FOLDER = new URL("../../src/registry/stores/folder.ts", import.meta.url).href;
const writerAt = (place: string) =>
  endlessPublisher(`
    import { openFolderStore } from ${JSON.stringify(FOLDER)};
    const store = await openFolderStore(${JSON.stringify(place)});`);

test(`${KILLS} kills leave one generation or the other, and the next writer makes the view true`, async () => {
  const place = await temporaryDirectory();
  let [last, advanced] = [0, 0];
  for (let kill = 0; kill < KILLS; kill++) {
    const { child } = await startChild(writerAt(place), [String(kill * 7)]);
    await sleep(randomInt(0, 250));
    await killNow(child);

    const { head } = await readPublished(await openFolderStore(place));
    expect(head?.number ?? 0).toBeGreaterThanOrEqual(last);
    if ((head?.number ?? 0) > last) advanced++;
    last = head?.number ?? 0;
  }
  expect(advanced).toBeGreaterThan(KILLS / 4);
  const { child } = await startChild(writerAt(place), ["1"]);
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
