/** Who can write to the store, and has no key, against a whole farm: its module key, its head, its denials. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { makeEntry, makeOutcome, putBlobs } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { inProcess } from "../../../test/support/in-process.ts";
import { makeCatalog, makeKernel } from "../../../test/support/kernels.ts";
import { sharedDirectory, temporaryDirectory } from "../../../test/support/temporary.ts";
import { sha256 } from "../../base/json.ts";
import { commit } from "../../registry/commit.ts";
import type { IndexEntry } from "../../registry/documents.ts";
import { POINTER, readPublished } from "../../registry/generations.ts";
import { readHeadAt, readTrusts } from "../../registry/metadata.ts";
import { nextState } from "../../registry/publish.ts";
import type { Store } from "../../registry/stores/store.ts";
import { createKey } from "../../signing/create.ts";
import { loadConfig } from "../config/index.ts";
import { withdraw } from "../gate/moves.ts";
import { type Farm, openFarm } from "../open.ts";
import { authorOf } from "../signing/heads.ts";
import { runFarm } from "./run.ts";

const ELEMENT = makeElement();
const ANN = { by: "ann", why: "it panics" };
const NOW = () => new Date();
const all = <T>(listed: readonly T[]) => listed;

/** A farm with keys, after a night in which nothing was built: each test gets a copy. */
const prepared = sharedDirectory();
let directory: string;
let farm: Farm;

beforeAll(async () => {
  directory = prepared;
  await mkdir(join(directory, "driver"));
  await writeFile(join(directory, "driver", "Kbuild"), "obj-m := doorbell.o\n");
  const keyDirectory = join(directory, ".kmodfarm", "keys");
  await createKey({ name: "mok", kind: "p256", directory: keyDirectory, hasCertificate: true });
  const config = {
    drivers: [{ name: "doorbell", source: "./driver", versions: ["0.1.1"] }],
    keys: { mok: { for: "module", file: ".kmodfarm/keys/mok.pem" } },
    signatures: [{ certificate: ".kmodfarm/keys/mok.der", key: "mok" }],
    ...{ allowEmpty: true, store: "./store" },
  };
  await writeFile(join(directory, "kmodfarm.yaml"), JSON.stringify(config));
  farm = await openFarm(await loadConfig({}, directory));
  for (const content of ["built", "evil"]) await putBlobs(farm.store, ELEMENT, content);
  await night();
  await publishAs(farm, "built");
  await farm.close();
});

beforeEach(async () => {
  directory = await temporaryDirectory();
  await cp(prepared, directory, { recursive: true });
  farm = await openFarm(await loadConfig({}, directory));
  onTestFinished(() => farm.close());
});

/** A night in which nothing is built. Returns what it said. */
async function night(): Promise<readonly string[]> {
  const said: string[] = [];
  const progress = { say: (text: string) => void said.push(text), element() {} };
  const signal = new AbortController().signal;
  await runFarm(farm, { progress, signal, now: NOW, without: ["catalog"], only: new Set() });
  return said;
}

/** Publishes an artifact as stable, by a farm, or by nobody who has a key. */
async function publishAs(
  by: Farm | undefined,
  content: string,
  changes: Partial<IndexEntry> = {},
): Promise<void> {
  const author =
    by === undefined ? { who: "nobody", what: "run", now: NOW } : authorOf(by, "farm", "run", NOW);
  const entry = { ...makeEntry(ELEMENT, content), ...changes };
  const outcome = makeOutcome(ELEMENT, { artifact: { entry, isStable: true } });
  const { show } = await commit(
    farm.store,
    (before) => ({ state: nextState(before, makeCatalog([makeKernel()]), [outcome]), result: undefined }),
    author,
  );
  await show();
}

const headOf = async (store: Store) => (await readHeadAt(store, await readTrusts(store)))?.head;

/** Every command that publishes or signs refuses, and nothing is signed: neither a head nor a module. */
async function refuses(): Promise<void> {
  const before = await allFiles();
  for (const work of [night, () => withdraw(farm, all, ANN, NOW)])
    await expect(work()).rejects.toMatchObject({ code: "GENERATION_UNVOUCHED" });
  expect(await allFiles()).toEqual(before);
}

async function allFiles(): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of farm.store.walk("")) paths.push(path);
  return paths.toSorted();
}

const kmodfarm = (...argv: readonly string[]) =>
  inProcess([...argv, "--config", join(directory, "kmodfarm.yaml")]);

describe("a generation that nobody vouches for", () => {
  test("gets no module of it signed and no head; taken away, all goes on", async () => {
    await withdraw(farm, all, { ...ANN, denies: true }, NOW);
    const before = await headOf(farm.store);
    // That it was judged already is its own word.
    const verdicts = { load: "pass" as const, provenance: "pass" as const };
    await publishAs(undefined, "evil", { verdicts, judged: { policy: sha256("a policy") } });

    await refuses();
    const { exitCode, stderr } = await kmodfarm("promote", "--all", "--why", "x");
    expect([exitCode, stderr]).toEqual([
      4,
      expect.stringMatching(/no key of this farm vouches for generation 3: .*\n.*generations accept 3/),
    ]);
    expect(await headOf(farm.store)).toEqual(before);

    await farm.store.removeAll("generations/3");
    await farm.store.removeAll(POINTER);
    await night();
    expect((await readPublished(farm.store)).decisions.at(-1)?.denied).toBeDefined();
  });

  test("is not adopted because somebody took the root, its heads and notes away", async () => {
    await publishAs(undefined, "evil");
    await farm.store.removeAll("metadata");

    await expect(night()).rejects.toMatchObject({ code: "GENERATION_UNVOUCHED" });
    expect(await farm.store.list("metadata")).toEqual([]);
  });

  test("is accepted by a person, who is shown what it changed; then nodes hear of it", async () => {
    await publishAs(undefined, "evil");

    const looked = await kmodfarm("generations", "accept", "2", "--dry-run");
    expect(looked).toMatchObject({ exitCode: 0, stdout: expect.stringContaining("Nothing was signed") });
    expect(looked.stdout).toContain("Generation 1 is the last one that is vouched for");
    expect(looked.stdout).toMatch(/\n {2}2 {2}says it is of nobody, by run\n/);
    expect(looked.stdout).toMatch(/\n {2}\+ view\/doorbell\/.*\n {2}- view\/doorbell\//);
    await refuses();
    const [, digest = ""] = /(sha256:[0-9a-f]{64})/.exec(looked.stdout) ?? [];
    const other = await kmodfarm("generations", "accept", "2", "--digest", sha256("another"));
    expect([other.exitCode, other.stderr]).toEqual([4, expect.stringContaining("by now")]);
    expect((await kmodfarm("generations", "accept", "1")).exitCode).toBe(2);
    expect((await kmodfarm("generations", "accept", "2", "--digest", digest)).exitCode).toBe(0);

    expect((await headOf(farm.store))?.generation.number).toBe(2);
    expect((await kmodfarm("generations", "accept", "2")).exitCode).toBe(2);
    expect(await night()).toContain("signatures: 1 published artifacts were signed anew");
  });
});
