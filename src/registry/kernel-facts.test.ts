import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { forge } from "../../test/support/forged-store.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { partOf, writePublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import type { Catalog } from "../catalog/catalog.ts";
import {
  factsByKernel,
  factsOf,
  fetchingFacts,
  headersFacts,
  type KernelFacts,
  withAllLearned,
  withoutFetching,
} from "../kernel/facts.ts";
import { blobPath } from "./blobs.ts";
import type { Published } from "./documents.ts";
import { fsck } from "./fsck.ts";
import { readPublished } from "./generations.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const NOW = new Date("2026-11-28T00:00:00Z");
const FIXTURES = join(import.meta.dirname, "../../test/fixtures/stores");
const READ = { family: "gcc", version: "12.2.0", source: "config" } as const;

async function storeOf(fixture: string): Promise<Store> {
  const store = await openFolderStore(await temporaryDirectory());
  for (const path of JSON.parse(await readFile(join(FIXTURES, fixture, "files.json"), "utf8")) as string[])
    await store.write(path, await readFile(join(FIXTURES, fixture, path)));
  return store;
}

const heldIn = ({ catalog, facts }: Published, kversion: string) => {
  const kernel = catalog.kernels.find((one) => one.kversion === kversion);
  return kernel === undefined ? undefined : factsOf(factsByKernel(facts), kernel);
};

describe("a store whose kernels have what was learned of them beside what sources say", () => {
  test("is read with both apart, and is left alone as long as there is no news", async () => {
    const store = await storeOf("annotated");
    const state = await readPublished(store);

    const same = await writePublished(store, nextState(state, state.catalog, []), NOW);

    expect(heldIn(state, "6.1.0-55-amd64")).toMatchObject({
      headers: { compiler: READ },
      fetching: { notLoadableSince: "2026-11-20T00:00:00.000Z" },
    });
    expect(heldIn(state, "6.1.0-56-amd64")).toEqual({});
    expect(heldIn(state, "6.1.0-57-amd64")).toMatchObject({
      fetching: { notFetchableSince: "2026-11-21T00:00:00.000Z" },
    });
    expect(JSON.stringify(state.catalog)).not.toMatch(/Since|"config"/);
    expect(same.head?.number).toBe(1);
    expect(await readPublished(store, state)).toBe(state);
  });

  test("has it in a part of its own after the next publication, and nowhere else", async () => {
    const store = await storeOf("annotated");
    const before = await readPublished(store);
    const news = makeOutcome(makeElement({ kversion: "6.1.0-99-amd64" }));

    const after = await writePublished(store, nextState(before, before.catalog, [news]), NOW);

    const read = await readPublished(store);
    expect(read).toEqual(after);
    expect([read.catalog, read.facts]).toEqual([before.catalog, before.facts]);
    expect(partOf(after, "facts")).toBeDefined();
    for (const [name, { digest }] of Object.entries(after.parts))
      if (name.startsWith("kernels/"))
        expect(String(await store.read(blobPath(digest)))).not.toMatch(/FetchableSince|LoadableSince/);
  });

  test("does not bring back what was forgotten since", async () => {
    const store = await storeOf("annotated");
    const before = await readPublished(store);

    await writePublished(store, { ...before, facts: withoutFetching(before.facts) }, NOW);

    const read = await readPublished(store);
    expect(heldIn(read, "6.1.0-55-amd64")).toEqual({
      headers: expect.objectContaining({ compiler: READ }),
    });
    expect(heldIn(read, "6.1.0-57-amd64")).toEqual({});
  });

  test("is read likewise where its generations are whole", async () => {
    const store = await storeOf("whole");
    const [catalog, generation] = ["generations/2/catalog.json", "generations/2/generation.json"] as const;
    const json = async (path: string) => JSON.parse(String(await store.read(path)));
    const text = JSON.stringify({
      ...makeCatalog([]),
      kernels: [{ ...makeKernel({ compiler: READ }), notFetchableSince: NOW.toISOString() }],
    });
    const { files, ...rest } = await json(generation);
    const changed = JSON.stringify({ ...rest, files: { ...files, "catalog.json": sha256(text) } });
    await store.write(catalog, text);
    await store.write(generation, changed);
    for (const name of ["candidate", "stable"])
      await store.write(
        `channels/${name}`,
        JSON.stringify({ ...(await json(`channels/${name}`)), digest: sha256(changed) }),
      );

    const state = await readPublished(store);

    expect(heldIn(state, makeKernel().kversion)).toMatchObject({
      headers: { compiler: READ },
      fetching: { notFetchableSince: NOW.toISOString() },
    });
    expect(JSON.stringify(state.catalog)).not.toMatch(/FetchableSince|"config"/);
  });
});

describe("a store with kernel facts", () => {
  test("is read as it was written", async () => {
    const store = await storeOf("facts");
    const state = await readPublished(store);

    expect(heldIn(state, "6.1.0-56-amd64")).toMatchObject({
      headers: {
        compiler: READ,
        release: "6.1.0-56-amd64",
        vermagic: "6.1.0-56-amd64 SMP preempt mod_unload modversions ",
        buildSalt: "6.1.0-56-amd64",
        configuration: sha256("configuration"),
        symvers: sha256("symvers"),
        upstream: "6.1.170",
        hasVmlinux: false,
      },
      image: {
        version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)",
        certificates: [sha256("certificate")],
      },
    });
    expect(state.facts).toHaveLength(3);
    const look = { isFull: true, isRepair: false, copyOf: async () => undefined };
    expect(await fsck(store, look)).toMatchObject({ unnamed: { files: 0 } });
  });

  test("writes them only where something was learned, and nothing else for that", async () => {
    const store = await storeOf("facts");
    const old = await readPublished(store);
    const news = makeOutcome(makeElement({ kversion: "6.1.0-99-amd64" }));
    const before = await writePublished(store, nextState(old, old.catalog, [news]), NOW);
    const arm = before.catalog.kernels.find((one) => one.architecture === "aarch64");
    const lesson = fetchingFacts(arm as Catalog["kernels"][number], "notFetchable", NOW.toISOString());

    const after = await writePublished(
      store,
      nextState(before, before.catalog, [], { facts: withAllLearned(before.facts, [lesson]) }),
      NOW,
    );

    const changed = Object.keys(after.parts).filter(
      (name) => after.parts[name]?.digest !== before.parts[name]?.digest,
    );
    expect(changed.map((name) => name.split("/")[0])).toEqual(["facts"]);
    const read = await readPublished(store, before);
    expect(read.facts).toEqual(after.facts);
    expect(read.matrix[0]).toBe(before.matrix[0]);
  });
});

describe("a store that a stranger wrote facts into", () => {
  const kernel = makeKernel();
  const facts = [headersFacts(kernel, { compiler: READ }) as KernelFacts];
  const forged = async (change: (text: string) => string) => {
    const store = await openFolderStore(await temporaryDirectory());
    await writePublished(store, nextState(NOTHING, CATALOG, [], { facts }), NOW);
    await forge(store, "part facts", change);
    return store;
  };

  test.each([
    ["with a path for a name", '"kversion":"6.1', '"kversion":"../6.1', "facts[0].kversion: not a safe name"],
    ["of words for digests", '"of":"sha256:', '"of":"sha255:', "facts[0].headers.of: "],
    [
      "with a compiler that is a command",
      '"version":"12.2.0"',
      '"version":"12; id"',
      "facts[0].headers.compiler",
    ],
    [
      "of endless words",
      '"headers":{',
      `"headers":{"vermagic":"${"x".repeat(9999)}",`,
      "facts[0].headers.vermagic",
    ],
    ["of another version", "kmodfarm.facts/1", "kmodfarm.facts/9", "schema"],
  ])("is refused with facts %s", async (_, from, to, words) => {
    const store = await forged((text) => text.replace(from, to));

    await expect(readPublished(store)).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: expect.stringContaining(words),
    });
  });

  test("gains nothing by facts of packages that the kernel does not have, or said twice", async () => {
    const store = await forged((text) => {
      const {
        facts: [one],
        ...rest
      } = JSON.parse(text);
      const other = { ...one, headers: { ...one.headers, of: sha256("other") } };
      return JSON.stringify({ ...rest, facts: [one, other, other, { ...one, kversion: "9.9.9" }] });
    });

    const state = await readPublished(store);

    expect(heldIn(state, kernel.kversion)).toEqual({});
    expect(state.facts.map(({ kversion }) => kversion)).toEqual([kernel.kversion, "9.9.9"]);
    const next = nextState(state, state.catalog, [makeOutcome(makeElement())]);
    await writePublished(store, next, NOW);
    expect((await readPublished(store)).facts).toEqual(state.facts);
  });
});
