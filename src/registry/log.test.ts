/** The log of a registry: published with its generations, and verified against what was seen before; ids as in docs/security.md. */
import { execFileSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeEntry, makeOutcome, NOTHING, putBlobs } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { makeTestKey, signed, trustWithLog } from "../../test/support/notes.ts";
import { firstRoot, headMaker, LOG_KEY, publishSigned, putRoot } from "../../test/support/signed-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { writeCheckpoint } from "../provenance/checkpoint.ts";
import { HEAD_LIMIT_BYTES, HEAD_PATH, readHead } from "../provenance/head.ts";
import { verifyLogProof } from "../provenance/log-proof.ts";
import { CHECKPOINT_PATH, logProofPath, readCheckpointAt } from "../provenance/shown-log.ts";
import { readNote, writeNote } from "../provenance/signed-note.ts";
import { publish } from "./commit.ts";
import type { Decision, Published } from "./documents.ts";
import { fsck } from "./fsck.ts";
import { readPublished } from "./generations.ts";
import { logOf, placesInLog, proveLogged, stateOf } from "./log.ts";
import { prune } from "./prune.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";
import { verifyRegistry } from "./verify.ts";

const NOW = new Date("2026-11-28T02:10:00Z");
const TRUST = trustWithLog(firstRoot(), [LOG_KEY]);
const ELEMENT = makeElement();
const ENTRY = makeEntry(ELEMENT, "one");

function decision(number: number, more: Partial<Decision> = {}): Decision {
  const artifact = {
    driver: ENTRY.driver,
    output: `0.1.0/debian12/x86_64/${number}`,
    recipe: sha256(`recipe ${number}`),
  };
  return {
    ...{ at: "2026-11-28T02:00:00.000Z", action: "promote", artifact, by: "ann", why: `reason ${number}` },
    ...{ manifest: ENTRY.manifest, verdicts: [], ...more },
  };
}

const OWN = decision(0, { artifact: { driver: ENTRY.driver, output: ENTRY.output, recipe: ENTRY.recipe } });
const many = (count: number, from = 1) => [
  OWN,
  ...Array.from({ length: count - 1 }, (_, at) => decision(from + at)),
];

/** A registry that published so many decisions, one generation after the other. */
async function registry(...nights: readonly (readonly Decision[])[]): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  await putRoot(store, TRUST);
  await putBlobs(store, ELEMENT, "one");
  for (const decisions of nights) await publishNight(store, decisions);
  return store;
}

async function publishNight(store: Store, decisions: readonly Decision[]): Promise<Published> {
  const outcome = makeOutcome(ELEMENT, { artifact: { entry: ENTRY, isStable: true } });
  const catalog = makeCatalog([makeKernel()]);
  const author = { who: "somebody", what: "run", now: () => NOW, head: headMaker({ now: NOW }) };
  const change = (before: Published) => ({
    state: { ...nextState(before, catalog, [outcome]), decisions },
    result: 0,
  });
  return (await publish(store, change, author)).state;
}

const look = (store: Store, seen?: string) => verifyRegistry(store, { now: NOW, seen: async () => seen });
const textOf = async (store: Store) => (await readCheckpointAt(store, TRUST))?.note.text ?? "";
const headOf = async (store: Store) =>
  readHead(readNote((await store.read(HEAD_PATH)) ?? Buffer.alloc(0), HEAD_LIMIT_BYTES, "head").text, "head");

describe("a registry with a log", () => {
  test("publishes entries, tiles and checkpoint, and names the log in its head", async () => {
    const store = await registry(many(3), many(300));
    const { log } = await headOf(store);
    const found = await look(store);

    // The module that became stable is an edition, behind the decisions of its night.
    expect(log?.size).toBe(301);
    expect(found.breaks).toEqual([]);
    expect(found.checkpoint?.checkpoint).toMatchObject({ size: 301, root: log?.root });
    expect(await store.list("metadata/log/tile/entries")).toEqual(["000", "000.p", "001.p"]);
    expect(String((await store.read("metadata/log/tile/entries/000.p/4"))?.subarray(2))).toMatch(
      /^v1 promote 2026-11-28T02:00:00.000Z\nartifact doorbell 0\.1\.0\/debian12\/x86_64\/\S+\nmanifest [0-9a-f]{64}\n/,
    );
  });

  test("logs what changes what nodes get, and nothing else", async () => {
    const kinds = [
      "promote",
      "refuse",
      "withdraw",
      "evidence",
      "rollback",
      "import",
      "reuse",
      "endReuse",
      "floor",
    ];
    const decisions = kinds.map((action, at) =>
      decision(at, {
        action: action as Decision["action"],
        why: "a line\nand another — ünd",
        ...(action === "withdraw" ? { denied: { modules: [sha256("m")], kernels: [] } } : {}),
        ...(action === "floor" ? { floor: "1.2" } : {}),
        ...(action === "reuse" ? { kernel: "debian12/x86_64/6.1" } : {}),
      }),
    );
    const texts = logOf({ decisions, editions: [] }).entries.map(({ bytes }) => String(bytes));

    expect(texts.map((text) => /^v1 (\w+) /.exec(text)?.[1])).toEqual([
      ...["promote", "withdraw", "rollback", "reuse", "endReuse", "floor"],
    ]);
    expect(texts[1]).toContain(`\ndeny ${sha256("m").slice(7)}\n`);
    expect(texts[3]).toContain("\nkernel debian12/x86_64/6.1\n");
    expect(texts[5]).toContain("\nfloor 1.2\n");
    for (const text of texts) expect(text).not.toContain("line");
  });

  test("writes nothing in a night without news, and the little that is new in others", async () => {
    const store = await registry(many(300));
    const files = async () => {
      const all = new Map<string, number>();
      for await (const { path, size } of store.walk("metadata")) all.set(path, size);
      return all;
    };
    const before = await files();
    await publishNight(store, many(300));
    expect(await files()).toEqual(before);
    await publishNight(store, many(310));
    const added = [...(await files())].filter(([path]) => !before.has(path));

    expect(added.map(([path]) => path).filter((path) => path.includes("/log/"))).toEqual([
      ...["metadata/log/tile/0/001.p/55", "metadata/log/tile/entries/001.p/55"],
    ]);
    expect(added.reduce((sum, [, size]) => sum + size, 0)).toBeLessThan(64 << 10);
  });

  test("proves that an artifact's promotion is in it, and what is not there is not proven", async () => {
    const store = await registry(many(300));
    const state = await readPublished(store);
    const proof = await proveLogged(store, state, ENTRY, TRUST);

    expect(verifyLogProof(TRUST, proof, "a proof").size).toBe(301);
    expect([proof.index, placesInLog(state)(ENTRY)]).toEqual([0, 0]);
    await expect(proveLogged(store, state, makeEntry(ELEMENT, "two"), TRUST)).rejects.toMatchObject({
      code: "ARTIFACT_UNKNOWN",
    });
  });

  test("has a proof of each promotion, which a script of dash verifies, and which stays as the log grows", async () => {
    const store = await registry(many(3));
    const path = join(store.place, logProofPath(ENTRY.manifest));
    const then = await readFile(path, "utf8");
    const place = await temporaryDirectory();
    const key = join(place, "log.pem");
    await writeFile(key, createPublicKey(LOG_KEY.privateKey).export({ format: "pem", type: "spki" }));
    const script = join(import.meta.dirname, "../../test/support/tlog-check.sh");
    const check = (file: string) =>
      execFileSync("dash", [script, file, key, TRUST.origin], { encoding: "utf8", stdio: "pipe" });

    expect(check(path)).toContain(`manifest ${ENTRY.manifest.slice("sha256:".length)}\n`);
    await publishNight(store, many(300));
    expect(await readFile(path, "utf8")).toBe(then);
    await writeFile(path, then.replace("index 0", "index 1"));
    expect(() => check(path)).toThrow();
    expect((await look(store)).breaks).toMatchObject([{ link: "log", code: "LOG_INCONSISTENT" }]);
    // Another version may have written none: the next night with news makes up for it.
    await store.remove(logProofPath(ENTRY.manifest));
    expect((await look(store)).breaks).toMatchObject([
      { link: "files", fact: expect.stringContaining("missing") },
    ]);
    await publishNight(store, many(301));
    check(path);
    expect((await look(store)).breaks).toEqual([]);
    await store.remove(logProofPath(ENTRY.manifest));
    const options = { isFull: true, isRepair: true, copyOf: async () => undefined };
    expect((await fsck(store, options)).findings).toMatchObject([{ fact: "missing", remedy: "repaired" }]);
    check(path);
  });

  test("gets its log with the root that names a key for it, and keeps its witnesses' lines", async () => {
    const store = await openFolderStore(await temporaryDirectory());
    await putRoot(store, firstRoot());
    await putBlobs(store, ELEMENT, "one");
    await publishNight(store, many(3));
    expect((await headOf(store)).log).toBeUndefined();
    expect((await look(store)).breaks).toEqual([]);
    await putRoot(store, { ...TRUST, version: 2 });
    expect((await look(store)).breaks).toMatchObject([{ link: "head", code: "METADATA_UNSIGNED" }]);
    await publishNight(store, many(3));

    expect((await headOf(store)).log?.size).toBe(4);
    expect((await look(store)).breaks).toEqual([]);
    const shown = String(await store.read(CHECKPOINT_PATH));
    await store.write(CHECKPOINT_PATH, `${shown}— alice AAAAAAAAAAAAAAAA\n`);
    await publishNight(store, many(3));
    expect(String(await store.read(CHECKPOINT_PATH))).toContain("alice");
  });

  test("is not published by who has no key for the log", async () => {
    const store = await registry();
    const { signCheckpoint: _, ...maker } = headMaker({ now: NOW });
    const state = { ...NOTHING, decisions: many(2) };

    await expect(publishSigned(store, state, { now: NOW }, maker)).rejects.toMatchObject({
      code: "METADATA_UNSIGNED",
    });
  });

  test("is whole to fsck, which makes again what is lost of it, and to prune", async () => {
    const store = await registry(many(3), many(300));
    const options = { isFull: true, copyOf: async () => undefined };
    const findings = async (isRepair: boolean) =>
      (await fsck(store, { ...options, isRepair })).findings.map(({ path, fact, remedy }) => [
        path,
        fact,
        remedy,
      ]);

    expect(await findings(false)).toEqual([]);
    await store.remove("metadata/log/tile/0/000");
    expect(await findings(false)).toEqual([["metadata/log/tile/0/000", "missing", "repairable"]]);
    expect(await findings(true)).toEqual([["metadata/log/tile/0/000", "missing", "repaired"]]);
    await prune(store, { keep: 1, graceMs: 0, now: new Date(Date.now() + 1e9), isDryRun: false });
    expect((await look(store)).breaks).toEqual([]);
  });
});

describe("B14 a log that is not what it was", () => {
  const breaksOf = async (store: Store, seen: string) =>
    (await look(store, seen)).breaks.filter(({ link }) => link === "log");
  /** Both checkpoints must be named. */
  const told = (word: string, seen: string, now: string) => [
    expect.objectContaining({
      code: "LOG_INCONSISTENT",
      fact: expect.stringMatching(
        new RegExp(`${word}.*seen before: ${lines(seen)}.*shown now: ${lines(now)}`.replaceAll("+", "\\+")),
      ),
    }),
  ];
  const lines = (text: string) => {
    const [, size = "", root = ""] = text.split("\n");
    return `${size} entries, root ${root}`;
  };

  test("grew is what it was", async () => {
    const store = await registry(many(5));
    const seen = await textOf(store);
    await publishNight(store, many(500));

    expect((await look(store, seen)).breaks).toEqual([]);
    expect((await look(store, await textOf(store))).breaks).toEqual([]);
  });

  test.each([
    ["forked", many(5), [...many(4), decision(99)]],
    ["shrank", many(5), many(4)],
    ["was rewritten", many(5), [...many(5, 70), decision(98), decision(99)]],
    ["was rewritten", many(300), [OWN, ...many(400, 2)]],
  ])("%s is told with both checkpoints", async (word, then, now) => {
    const [before, after] = [await registry(then), await registry(now)];
    const [seen, shown] = [await textOf(before), await textOf(after)];

    expect(await breaksOf(after, seen)).toEqual(told(word, seen, shown));
    expect((await look(after, seen)).checkpoint).toBeUndefined();
  });

  test("cannot show that it only grew, where a tile is missing", async () => {
    const store = await registry(many(5), many(300));
    const seen = await textOf(await registry(many(5)));
    await store.remove("metadata/log/tile/0/000");

    expect((await breaksOf(store, seen))[0]).toMatchObject({
      code: "LOG_INCONSISTENT",
      fact: expect.stringContaining("cannot show that it only grew"),
    });
  });
});

describe("B14 a log that is not what was decided", () => {
  const breaksAfter = async (change: (store: Store) => Promise<unknown>) => {
    const store = await registry(many(5), many(300));
    await change(store);
    return (await look(store)).breaks.map(({ link, code }) => [link, code]);
  };
  const flip = (path: string) => async (store: Store) => {
    const file = join(store.place, path);
    const bytes = await readFile(file);
    await writeFile(file, bytes.with(40, (bytes[40] ?? 0) ^ 1));
  };

  test.each([
    ["a leaf that was changed", flip("metadata/log/tile/0/000")],
    ["an entry that was changed", flip("metadata/log/tile/entries/000")],
    ["a partial tile that disagrees", flip("metadata/log/tile/0/001.p/45")],
    ["a tile that is missing", (store: Store) => store.remove("metadata/log/tile/1/000.p/1")],
    ["a bundle that is missing", (store: Store) => store.remove("metadata/log/tile/entries/001.p/45")],
    ["no checkpoint", (store: Store) => store.remove(CHECKPOINT_PATH)],
    [
      "a checkpoint of an earlier log",
      async (store: Store) => {
        const state = await stateOf(logOf({ decisions: many(5), editions: [] }));
        const text = writeCheckpoint({ origin: TRUST.origin, ...state });
        await store.write(CHECKPOINT_PATH, writeNote(signed(text, TRUST.origin, [LOG_KEY])));
      },
    ],
    [
      "a checkpoint of another log",
      async (store: Store) => {
        const state = await stateOf(logOf({ decisions: many(300, 7), editions: [] }));
        const text = writeCheckpoint({ origin: TRUST.origin, ...state });
        await store.write(CHECKPOINT_PATH, writeNote(signed(text, TRUST.origin, [LOG_KEY])));
      },
    ],
  ])("%s is a broken link", async (_, change) => {
    const breaks = await breaksAfter(change);

    expect(breaks.some(([link, code]) => link === "log" && code === "LOG_INCONSISTENT")).toBe(true);
  });

  test("a checkpoint by another key is not signed", async () => {
    const breaks = await breaksAfter(async (store) => {
      const text = await textOf(store);
      await store.write(CHECKPOINT_PATH, writeNote(signed(text, TRUST.origin, [makeTestKey("ed25519")])));
    });

    expect(breaks).toContainEqual(["log", "METADATA_UNSIGNED"]);
  });
});
