/** Writers that are killed at any moment: one history, always readable, and the next one makes good what was left. */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { publish } from "../../src/registry/commit.ts";
import { fsck } from "../../src/registry/fsck.ts";
import { readPublished } from "../../src/registry/generations.ts";
import { readTrusts } from "../../src/registry/metadata.ts";
import { newestHead } from "../../src/registry/serials.ts";
import { openFolderStore } from "../../src/registry/stores/folder.ts";
import { openVoucher } from "../../src/registry/vouched.ts";
import { killNow, startChild } from "../support/children.ts";
import { endlessPublisher, signingModule } from "../support/publishing-child.ts";
import { firstRoot, HEAD_KEY, headMaker, putRoot } from "../support/signed-store.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const KILLS = Number(process.env.KMODFARM_KILLS ?? 200);
const FOLDER = new URL("../../src/registry/stores/folder.ts", import.meta.url).href;
const PEM = String(HEAD_KEY.privateKey.export({ format: "pem", type: "pkcs8" }));
const writerAt = (place: string) =>
  endlessPublisher(`
    import { openFolderStore } from ${JSON.stringify(FOLDER)};
    const store = await openFolderStore(${JSON.stringify(place)});`);

test.each([
  ["without keys", false],
  ["with a key that vouches for each generation, and signs the head after it", true],
])(
  "kills leave one generation or the other, and the next writer makes the view true: %s",
  async (_, isSigned) => {
    const place = await temporaryDirectory();
    if (isSigned) await putRoot(await openFolderStore(place), firstRoot());
    const writer = `${isSigned ? signingModule(PEM) : ""}\n${writerAt(place)}`;
    let [last, advanced] = [0, 0];
    for (let kill = 0; kill < KILLS; kill++) {
      const { child } = await startChild(writer, [String(kill * 7)]);
      await sleep(randomInt(0, 800));
      await killNow(child);

      const { head } = await readPublished(await openFolderStore(place));
      expect(head?.number ?? 0).toBeGreaterThanOrEqual(last);
      if ((head?.number ?? 0) > last) advanced++;
      last = head?.number ?? 0;
    }
    expect(advanced).toBeGreaterThan(KILLS / 4);
    const { child } = await startChild(writer, ["1"]);
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
    if (!isSigned) return;
    // No kill needed a person: the row is vouched for to its end.
    const voucher = await openVoucher(store, headMaker({ now: new Date() }));
    const { state } = await publish(store, (before) => ({ state: before, result: undefined }), {
      ...{ who: "somebody", what: "run", now: () => new Date(), head: voucher.maker },
    });
    const trusts = await readTrusts(store);
    expect((await newestHead(store, trusts))?.head.generation).toEqual(state.head);
    const notes = (await store.list("metadata/generations")).length;
    expect(notes).toBeGreaterThanOrEqual(state.head?.number ?? 0);
  },
  900_000,
);
