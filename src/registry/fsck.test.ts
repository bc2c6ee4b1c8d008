import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { partOf, showPublished } from "../../test/support/published.ts";
import { around } from "../../test/support/scripted-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { blobPath, putBlob } from "./blobs.ts";
import { type FsckOptions, fsck } from "./fsck.ts";
import { generationPath, readPublished } from "./generations.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const NOW = new Date("2026-02-07T00:00:00Z");
const [OLD, NEW] = [makeElement({ kversion: "6.1.0-55-amd64" }), makeElement({ kversion: "6.1.0-56-amd64" })];
const PLACE = "view/doorbell/0.1.0/debian12/x86_64/6.1.0-56-amd64_6.1.170-3";
const MODULE = blobPath(sha256("module one"));
const LOOK: FsckOptions = { isFull: true, isRepair: false, copyOf: async () => undefined };
const REPAIR: FsckOptions = { ...LOOK, isRepair: true };

/** Two generations: an artifact, and then another content of it beside one more. */
async function openStore(): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const [element, content] of [
    [OLD, "six"],
    [NEW, "one"],
  ] as const)
    await putBlobs(store, element, content);
  const first = nextState(NOTHING, CATALOG, [makeOutcome(OLD, { content: "six" })]);
  await showPublished(store, first, NOW);
  const second = nextState(await readPublished(store), CATALOG, [makeOutcome(NEW, { content: "one" })]);
  await showPublished(store, second, NOW);
  return store;
}

const findingsOf = async (store: Store, options = LOOK) =>
  (await fsck(store, options)).findings.map(({ path, fact, remedy }) => [path, fact, remedy]);

describe("fsck", () => {
  test("finds nothing in a whole store, with or without reading every byte", async () => {
    const store = await openStore();

    expect(await findingsOf(store)).toEqual([]);
    expect(await findingsOf(store, { ...LOOK, isFull: false })).toEqual([]);
    expect(await fsck(store, LOOK)).toMatchObject({ generation: 2, unnamed: { files: 0 } });
  });

  const spoil = async (store: Store, path: string) =>
    store.write(path, Buffer.from(`${String(await store.read(path)).slice(0, -1)}~`));

  test.each<[string, string, (store: Store) => Promise<void>, unknown[]]>([
    ["a blob", MODULE, (store) => store.remove(MODULE), [MODULE, "missing", "repairable"]],
    ["a blob's bytes", MODULE, (store) => spoil(store, MODULE), [MODULE, "damaged", "repairable"]],
    [
      "a file of the view",
      PLACE,
      (store) => store.remove(`${PLACE}/doorbell.ko`),
      [`${PLACE}/doorbell.ko`, "missing", "repairable"],
    ],
    [
      "bytes of the view",
      PLACE,
      (store) => spoil(store, `${PLACE}/build.log`),
      [`${PLACE}/build.log`, "damaged", "repairable"],
    ],
    [
      "the pointer",
      "channels/stable",
      (store) => store.remove("channels/stable"),
      ["channels/stable", "missing", "repairable"],
    ],
    [
      "nothing, but there is a stray file",
      PLACE,
      (store) => store.write(`${PLACE}/x.ko`, "x"),
      [`${PLACE}/x.ko`, "stray", "repairable"],
    ],
  ])("finds that %s is not as it should be, and repairs it", async (_, __, harm, found) => {
    const store = await openStore();

    await harm(store);
    expect(await findingsOf(store)).toEqual([found]);
    expect(await findingsOf(store, REPAIR)).toEqual([[found[0], found[1], "repaired"]]);

    expect(await findingsOf(store)).toEqual([]);
  });

  test("takes from this machine what neither blobs nor the view have, if it is the very thing", async () => {
    const store = await openStore();
    await store.remove(MODULE);
    await store.remove(`${PLACE}/doorbell.ko`);
    const copyOf: FsckOptions["copyOf"] = async ({ digest }) =>
      digest === sha256("module one") ? Buffer.from("module one") : undefined;

    expect((await fsck(store, LOOK)).findings.map(({ remedy }) => remedy)).toEqual(["lost", "lost"]);
    expect((await fsck(store, { ...REPAIR, copyOf })).findings.map(({ remedy }) => remedy)).toEqual([
      "repaired",
      "repaired",
    ]);
    expect(await findingsOf(store)).toEqual([]);
  });

  test.each(["indices", "attempts", "sources"])(
    "says that the part %s is lost, and takes nothing away where it cannot know",
    async (part) => {
      const store = await openStore();
      const path = blobPath(partOf(await readPublished(store), part)?.digest ?? "");
      await store.remove(path);
      await store.write(`${PLACE}/stray`, "x");

      const findings = await findingsOf(store, REPAIR);

      expect(findings).toContainEqual([path, "missing", "lost"]);
      expect(await store.read(`${PLACE}/stray`)).toBeDefined();
      expect(await store.read(`${PLACE}/doorbell.ko`)).toBeDefined();
    },
  );

  test("repairs a pointer that is no pointer", async () => {
    const store = await openStore();
    await store.write("channels/stable", "");

    await expect(fsck(store, LOOK)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await findingsOf(store, REPAIR)).toEqual([["channels/stable", "missing", "repaired"]]);
    expect(await findingsOf(store)).toEqual([]);
  });

  test.each<[string, boolean]>([
    ["withdrawn", false],
    ["published", true],
  ])("shows what is %s while it repairs", async (_, isThere) => {
    const store = await openStore();
    const read = await readPublished(store);
    const withNew = read.indices;
    if (isThere) await showPublished(store, { ...read, indices: [] }, NOW);
    await store.remove(`${PLACE}/doorbell.ko`);
    await store.write("view/stray", "x");
    let isMet = false;
    const slow: Store = {
      ...around(store, () => {}),
      stream: async (path) => {
        if (!isMet) {
          isMet = true;
          const now = await readPublished(store);
          await showPublished(store, { ...now, indices: isThere ? withNew : [] }, NOW);
        }
        return store.stream(path);
      },
    };

    await fsck(slow, REPAIR);

    expect(isMet).toBe(true);
    expect((await store.list(PLACE)).includes("doorbell.ko")).toBe(isThere);
    expect(await findingsOf(store)).toEqual([]);
    expect(await store.list("marks")).toEqual([]);
  });

  test("leaves alone what is nobody's, and names it", async () => {
    const store = await openStore();
    await store.write("README", "by hand");

    expect(await findingsOf(store, REPAIR)).toEqual([["README", "stray", "leave"]]);
    expect(await store.read("README")).toBeDefined();
  });
});

describe("prune", () => {
  const age = async (store: Store, days: number) => {
    const then = new Date(Date.now() - days * 86_400_000);
    for await (const { path } of store.walk("")) await utimes(join(store.place, path), then, then);
  };
  const options = { keep: 1, graceMs: 2 * 86_400_000, now: new Date(), isDryRun: false };

  /** The first artifact is replaced, so that only the first two generations name it. */
  async function replaced(): Promise<Store> {
    const store = await openStore();
    await putBlobs(store, OLD, "two");
    const third = nextState(await readPublished(store), CATALOG, [makeOutcome(OLD, { content: "two" })]);
    await showPublished(store, third, NOW);
    await putBlob(store, "of nobody");
    return store;
  }

  /** What only the first generations name, by another writer. */
  async function publishSixAgain(store: Store): Promise<void> {
    await putBlobs(store, OLD, "six");
    const outcome = makeOutcome(OLD, { content: "six" });
    await showPublished(store, nextState(await readPublished(store), CATALOG, [outcome]), NOW);
  }

  test("removes old generations and what only they named, and the store stays whole", async () => {
    const store = await replaced();
    const before = await readPublished(store);
    await age(store, 10);

    const dry = await prune(store, { ...options, isDryRun: true });
    expect(await store.list("generations")).toEqual(["1", "2", "3"]);
    const pruned = await prune(store, options);

    expect(pruned).toEqual(dry);
    expect(pruned.generations).toEqual([1, 2]);
    expect(await store.list("generations")).toEqual(["3"]);
    expect(await store.read(blobPath(sha256("module six")))).toBeUndefined();
    expect(await store.read(blobPath(sha256("of nobody")))).toBeUndefined();
    expect(await readPublished(store)).toEqual(before);
    expect(await fsck(store, LOOK)).toMatchObject({ findings: [], unnamed: { files: 0 } });
    expect((await prune(store, options)).files).toBe(0);
  });

  test("keeps what is young, and as many generations as it is told", async () => {
    const young = await replaced();
    const many = await replaced();
    await age(many, 10);

    expect((await prune(young, options)).files).toBe(0);
    expect((await prune(many, { ...options, keep: 2 })).generations).toEqual([1]);
    expect(await many.list("generations")).toEqual(["2", "3"]);
  });

  test("removes nothing where it cannot read what is needed", async () => {
    const store = await replaced();
    await age(store, 10);
    const { parts } = await readPublished(store);
    await store.remove(blobPath(parts.sources?.digest ?? ""));

    await expect(prune(store, options)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await store.list("generations")).toEqual(["1", "2", "3"]);
  });

  test("is no danger to who publishes old bytes again: they are young then", async () => {
    const store = await replaced();
    await age(store, 10);

    await putBlob(store, "of nobody");
    await prune(store, options);

    expect(await store.read(blobPath(sha256("of nobody")))).toBeDefined();
  });

  test("leaves what a writer stored again after it was found to be old, and names what he published", async () => {
    const store = await replaced();
    await age(store, 10);
    let isMet = false;
    const sweeping: Store = {
      ...around(store, () => {}),
      facts: async (path) => {
        if (!isMet) {
          isMet = true;
          await publishSixAgain(store);
        }
        return store.facts(path);
      },
    };

    await prune(sweeping, options);

    expect((await readPublished(store)).head?.number).toBe(4);
    expect((await fsck(store, LOOK)).findings).toEqual([]);
  });

  test("says what is gone that was published in the very moment of its removal", async () => {
    const store = await replaced();
    await age(store, 10);
    let isMet = false;
    const sweeping: Store = {
      ...around(store, () => {}),
      remove: async (path) => {
        if (!isMet) {
          isMet = true;
          await publishSixAgain(store);
          for (const name of ["module six", "log six"]) await store.remove(blobPath(sha256(name)));
        }
        await store.remove(path);
      },
    };

    await expect(prune(sweeping, options)).rejects.toThrow(
      /generation 4, published meanwhile, names blobs\S+, which is gone/,
    );
  });

  test("removes nothing of a store whose generations are lost", async () => {
    const store = await replaced();
    await age(store, 10);
    await store.removeAll("generations");
    await store.remove("channels/stable");

    await expect(prune(store, options)).rejects.toThrow(/there is no generation, so nothing says whether/);
    expect(await store.read(blobPath(sha256("module two")))).toBeDefined();
    expect((await prune(await openFolderStore(await temporaryDirectory()), options)).files).toBe(0);
  });

  test("leaves a registry that goes on where it was, without its pointer too", async () => {
    const store = await replaced();
    await age(store, 10);
    await prune(store, options);
    await store.remove("channels/stable");
    const before = await readPublished(store);

    await showPublished(store, nextState(before, CATALOG, [makeOutcome(NEW, { content: "ten" })]), NOW).catch(
      () => {},
    );

    expect((await readPublished(store)).head?.number).toBe(4);
    expect(await store.read(generationPath(1))).toBeUndefined();
  });
});
