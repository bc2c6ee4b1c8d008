/** People decide about artifacts of a store that somebody else can write to, or whose disk is full. */
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { forge } from "../../../test/support/forged-store.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { type FarmError, toFarmError } from "../../base/error.ts";
import { putBlob } from "../../registry/blobs.ts";
import { readPublished } from "../../registry/generations.ts";
import { refuseDamaged } from "../../registry/repair.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import type { Farm } from "../open.ts";
import { promote, withdraw } from "./moves.ts";

const ELEMENT = makeElement();
const GOOD = [verdict("load", "pass", "it loads")];
const ANN = { by: "ann", why: "because" };
const NOW = () => new Date("2026-11-28T00:00:00Z");
const all = <T>(listed: readonly T[]) => listed;

/** A farm with one artifact that is stable and shown. */
const listedIn = async (farm: Farm) => listAll((await readPublished(farm.store)).indices);

async function shownFarm() {
  const farm = await farmWith([{ element: ELEMENT, verdicts: GOOD, isStable: true }]);
  await promote(farm, all, ANN, NOW);
  const leaf = join(farm.store.place, viewPath(ELEMENT));
  expect((await readdir(leaf)).toSorted()).toEqual(["build.log", "doorbell.ko", "manifest.json"]);
  return { farm, leaf };
}

/** Another manifest of the same contents, so that the view is written again. */
const again = (text: string) => text.replace(/\n$/, " \n");

describe("a store that a stranger can write to", () => {
  test("names no module that would be written elsewhere: the file and the field are named", async () => {
    const { farm } = await shownFarm();
    const outside = await temporaryDirectory();
    const digest = await putBlob(farm.store, "#!/bin/sh");
    const name = `${"../".repeat(20)}${outside.slice(1)}/pwned`;
    await forge(farm.store, "manifest", again);
    await forge(farm.store, "part indices", (text) =>
      text.replace('"modules":[', `"modules":[${JSON.stringify({ name, digest, size: 9 })},`),
    );

    for (const move of [promote, withdraw])
      await expect(move(farm, all, ANN, NOW)).rejects.toMatchObject({
        code: "STORE_CORRUPT",
        message: expect.stringMatching(
          /\(indices\/[0-9a-f]{16}\): indices\[0\]\.stable\[0\]\.modules\[0\]\.name: not a safe name/,
        ),
      });

    expect(await readdir(outside)).toEqual([]);
  });

  test.each(["leaf", "above"])(
    "leads nowhere by a link in its view (%s): nothing is emptied or written there",
    async (where) => {
      const { farm, leaf } = await shownFarm();
      const victim = await temporaryDirectory();
      await mkdir(join(victim, "precious"));
      await writeFile(join(victim, "precious", "a"), "1");
      await writeFile(join(victim, "passwd"), "2");
      const place = where === "leaf" ? leaf : dirname(leaf);
      await rm(place, { recursive: true });
      await symlink(victim, place);

      const { code, message, hint } = await withdraw(farm, all, ANN, NOW).then(
        () => ({}) as FarmError,
        toFarmError,
      );

      // The link itself is in a place of ours, and can be taken away; what is below one is not ours to look at.
      if (where === "leaf")
        expect([code, await readdir(dirname(leaf)).catch(() => [])]).toEqual([undefined, []]);
      else {
        expect(code).toBe("STORE_CORRUPT");
        expect(message).toMatch(
          /^generation 2 is published, but the view could not be updated: .* is a link, not a directory/,
        );
        expect(hint).toMatch(/run the same command again/);
      }
      expect((await listedIn(farm)).map(({ channel }) => channel)).toEqual(["candidate"]);

      expect((await readdir(victim, { recursive: true })).toSorted()).toEqual([
        "passwd",
        "precious",
        "precious/a",
      ]);
      expect(await readFile(join(victim, "passwd"), "utf8")).toBe("2");
    },
  );

  test("with one driver's place spoilt still gives nobody another one's withdrawn modules", async () => {
    const other = makeElement({ driver: "spoilt" });
    const farm = await farmWith(
      [ELEMENT, other].map((element) => ({ element, verdicts: GOOD, isStable: true })),
    );
    await promote(farm, all, ANN, NOW);
    const spoilt = join(farm.store.place, "view", "spoilt");
    await rm(spoilt, { recursive: true });
    await symlink(await temporaryDirectory(), spoilt);

    await expect(withdraw(farm, all, ANN, NOW)).rejects.toThrow(/spoilt.* is a link/);

    expect(await readdir(join(farm.store.place, "view"))).toEqual(["spoilt"]);
    await rm(spoilt);
    await withdraw(farm, all, ANN, NOW);
    expect(await farm.store.list("view")).toEqual([]);
  });

  test("makes nobody wait by a FIFO where a file should be", async () => {
    const { farm, leaf } = await shownFarm();
    await rm(join(leaf, "manifest.json"));
    execFileSync("mkfifo", [join(leaf, "manifest.json")]);

    await expect(refuseDamaged(farm.store, (await listedIn(farm))[0] as Listed)).rejects.toMatchObject({
      code: "STORE_CORRUPT",
    });
    expect((await withdraw(farm, all, ANN, NOW)).moves).toMatchObject([{ result: "withdrawn" }]);
    expect(await farm.store.list("view")).toEqual([]);
  });
});

describe("a store whose disk is full", () => {
  const FREE_KIB = [0, 4, 16];
  /** Withdraws where so many KiB are free, then where there is space again. */
  const SCRIPT = `
    import { closeSync, openSync, rmSync, truncateSync, statSync, writeSync } from "node:fs";
    import { makeOutcome, CATALOG, NOTHING, putBlobs } from ${source("../../../test/support/artifacts.ts")};
    import { makeElement } from ${source("../../../test/support/elements.ts")};
    import { readPublished } from ${source("../../registry/generations.ts")};
    import { showPublished } from ${source("../../../test/support/published.ts")};
    import { nextState } from ${source("../../registry/publish.ts")};
    import { openFolderStore } from ${source("../../registry/stores/folder.ts")};
    import { withdraw } from ${source("./moves.ts")};
    for (const place of process.argv.slice(1)) {
    const freeKib = Number(place.split("-").at(-1));
    const store = await openFolderStore(place + "/store");
    await putBlobs(store, makeElement());
    await showPublished(store, nextState(NOTHING, CATALOG, [makeOutcome(makeElement())]), new Date());
    const filler = openSync(place + "/filler", "w");
    try { for (;;) writeSync(filler, Buffer.alloc(4096, 1)); } catch {}
    closeSync(filler);
    truncateSync(place + "/filler", statSync(place + "/filler").size - freeKib * 1024);
    const take = () => withdraw({ store, config: { keys: [] } }, (listed) => listed, { by: "ann", why: "it panics" }, () => new Date());
    const stable = async () => (await readPublished(store)).indices[0].stable.length;
    const failed = await take().then(() => "withdrawn", ({ code, message }) => ({ code, message }));
    const during = await stable();
    rmSync(place + "/filler");
    await take();
    console.log(JSON.stringify({ failed: failed.code, message: failed.message, during, after: await stable(), view: await store.list("view") }));
    }`;

  test("keeps the old state whole, says why, and withdraws once there is space", async () => {
    const directory = await temporaryDirectory();
    const places = FREE_KIB.map((freeKib) => join(directory, `free-${freeKib}`));
    for (const place of places) await mkdir(place);
    const node = [process.execPath, "--input-type=module", "--eval", SCRIPT, ...places];
    const script = 'for place in $PLACES; do mount -t tmpfs -o size=1m none "$place"; done; exec "$@"';

    const said = execFileSync("unshare", ["-Urm", "sh", "-ec", script, "sh", ...node], {
      encoding: "utf8",
      env: { ...process.env, PLACES: places.join(" ") },
    });

    const lines = said.trimEnd().split("\n");
    expect(lines).toHaveLength(FREE_KIB.length);
    for (const line of lines) {
      const { failed, message, during, ...rest } = JSON.parse(line);
      expect(rest).toEqual({ after: 0, view: [] });
      expect(failed).toBe("DISK_FULL");
      expect(during).toBe(message.includes("is published, but") ? 0 : 1);
    }
  });
});

function source(path: string): string {
  return JSON.stringify(new URL(path, import.meta.url).href);
}
