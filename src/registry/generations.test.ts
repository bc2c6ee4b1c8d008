import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { forge } from "../../test/support/forged-store.ts";
import { partOf, showPublished, writePublished } from "../../test/support/published.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { blobPath } from "./blobs.ts";
import type { Generation } from "./documents.ts";
import { generationPath, history, readListing, readPast, readPublished } from "./generations.ts";
import { nextState, OpenIndices } from "./publish.ts";
import { listAll } from "./standing.ts";
import { openFolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

const NOW = new Date("2026-02-07T00:00:00Z");
const stateOf = (...kversions: string[]) =>
  nextState(
    NOTHING,
    CATALOG,
    kversions.map((kversion) => makeOutcome(makeElement({ kversion }))),
  );
const openStore = async () => openFolderStore(await temporaryDirectory());
const corrupt = expect.objectContaining({ code: "STORE_CORRUPT" });
const documentOf = async (store: Store, number: number) =>
  JSON.parse(String(await store.read(generationPath(number)))) as Generation;

describe("a registry", () => {
  test("is empty before anything was published", async () => {
    const state = await readPublished(await openStore());

    expect(state).toMatchObject({ head: null, matrix: [], attempts: [], indices: [] });
  });

  test("has what was written, and what a reader knows already stays the same objects", async () => {
    const store = await openStore();

    const written = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    const read = await readPublished(store);

    expect(written.head?.number).toBe(1);
    expect(read).toEqual(written);
    expect(await readPublished(store, read)).toBe(read);
  });

  test("is listed without its kernels, which are not read for that", async () => {
    const store = await openStore();
    const {
      head: _,
      parts,
      catalog: __,
      facts: ___,
      history: ____,
      feeds: _____,
      told: ______,
      editions: _______,
      ...listing
    } = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    await store.remove(blobPath(partOf({ parts }, "kernels")?.digest ?? ""));

    expect(await readListing(store)).toEqual(listing);
    expect(await readListing(await openStore())).toMatchObject({ matrix: [], indices: [] });
    await expect(readPublished(store)).rejects.toThrow(corrupt);
  });

  test("numbers generations upward, each naming the one before, and says what is otherwise", async () => {
    const store = await openStore();
    const first = await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);

    const second = await writePublished(store, stateOf("6.1.0-55-amd64", "6.1.0-56-amd64"), NOW);

    expect(await documentOf(store, 2)).toMatchObject({
      number: 2,
      parent: first.head,
      publishedAt: "2026-02-07T00:00:00.000Z",
      by: { who: "somebody", what: "run" },
      difference: { stable: { added: 1, changed: 0, removed: 0 }, attempts: 1, kernels: 0 },
    });
    expect(await readPublished(store)).toEqual(second);
    expect((await readPast(store, second, 1)).indices).toEqual(first.indices);
    await expect(readPast(store, second, 7)).rejects.toThrow("no generation 7; the newest is 2");
    const numbers = [];
    for await (const { head } of history(store, second.head)) numbers.push(head.number);
    expect(numbers).toEqual([2, 1]);
  });

  test("writes only the parts that changed", async () => {
    const store = await openStore();
    const first = await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);
    const arm = makeOutcome(makeElement({ architecture: "aarch64", kversion: "6.1.0-55-arm64" }));

    const second = await writePublished(store, nextState(first, CATALOG, [arm]), NOW);

    const fresh = Object.entries(second.parts)
      .filter(([name, { digest }]) => first.parts[name]?.digest !== digest)
      .map(([name]) => name);
    const kinds = new Set(fresh.map((name) => name.split("/")[0]));
    expect(kinds).toEqual(new Set(["attempts", "history", "indices", "matrix"]));
  });

  test("is found from an old pointer, and without any: what was created counts", async () => {
    const store = await openStore();
    await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);
    const pointer = String(await store.read("channels/stable"));
    const second = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);

    await store.write("channels/stable", pointer);
    expect(await readPublished(store)).toEqual(second);
    await store.remove("channels/stable");
    expect(await readPublished(store)).toEqual(second);
  });

  test.each(["sources", "kernels", "matrix", "indices"])(
    "notices when its part %s is not what was written, or gone",
    async (part) => {
      const store = await openStore();
      const { parts } = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
      const path = blobPath(partOf({ parts }, part)?.digest ?? "");
      const text = String(await store.read(path));

      await store.write(path, text.replace("schema", "Schema"));
      await expect(readPublished(store)).rejects.toThrow(corrupt);
      await store.remove(path);
      await expect(readPublished(store)).rejects.toThrow(corrupt);

      expect(text).toContain("schema");
    },
  );

  test("notices when its document is not what the pointer promises, or gone", async () => {
    const store = await openStore();
    await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    const path = generationPath(1);

    await store.write(path, String(await store.read(path)).replace("run", "ran"));
    await expect(readPublished(store)).rejects.toThrow(corrupt);
    await store.remove(path);
    await expect(readPublished(store)).rejects.toThrow(corrupt);
  });

  test("notices a generation that follows another one than is here", async () => {
    const store = await openStore();
    await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);
    await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    const second = await documentOf(store, 2);

    const parent = { number: 1, digest: `sha256:${"0".repeat(64)}` };
    await store.write(generationPath(3), JSON.stringify({ ...second, number: 3, parent }));

    await expect(readPublished(store)).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: expect.stringContaining("does not follow generation 2 as it is here"),
    });
  });

  test("notices a channel that is no channel", async () => {
    const store = await openStore();
    await store.write("channels/stable", '{"schema":"kmodfarm.channel/1"');

    await expect(readPublished(store)).rejects.toThrow(
      expect.objectContaining({
        code: "STORE_CORRUPT",
        message: expect.stringContaining(`${store.place}/channels/stable`),
      }),
    );
  });

  test.each([["another number", "generation", '"number":1', '"number":7', "is generation 7"]] as const)(
    "is refused with %s under a digest that is right",
    async (_, file, from, to, words) => {
      const store = await openStore();
      await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
      await forge(store, file, (text) => text.replace(from, to));

      await expect(readPublished(store)).rejects.toMatchObject({
        code: "STORE_CORRUPT",
        message: expect.stringContaining(words),
      });
    },
  );
});

/** Made by version 0.1.0 as it was before generations had parts. */
const WHOLE = join(import.meta.dirname, "../../test/fixtures/stores/whole");

describe("a store of the version before", () => {
  async function wholeStore(): Promise<Store> {
    const store = await openStore();
    for (const path of JSON.parse(await readFile(join(WHOLE, "files.json"), "utf8")) as string[])
      await store.write(path, await readFile(join(WHOLE, path)));
    return store;
  }

  test("is read as it was, and is left alone as long as there is no news", async () => {
    const store = await wholeStore();
    const state = await readPublished(store);

    const same = await writePublished(store, nextState(state, state.catalog, []), NOW);

    expect(state.head?.number).toBe(2);
    expect(state.attempts.length).toBeGreaterThan(0);
    expect(same).toEqual(state);
    expect(await store.list("generations")).toEqual(["1", "2"]);
  });

  test("is taken apart by the next who has something to say, and nothing of it is lost", async () => {
    const store = await wholeStore();
    const before = await readPublished(store);
    const news = makeOutcome(makeElement({ kversion: "6.1.0-99-amd64" }));

    const after = await writePublished(store, nextState(before, before.catalog, [news]), NOW);

    const { head: _a, parts: _b, ...content } = await readPublished(store);
    const { head: _c, parts: _d, ...wanted } = nextState(before, before.catalog, [news]);
    expect(content).toEqual({ ...wanted, history: content.history, editions: content.editions });
    expect(after.head?.number).toBe(3);
    expect((await readPast(store, after, 2)).indices).toEqual(before.indices);
  });

  test("shows no more what is taken back by the first who writes to it, and all else", async () => {
    const store = await wholeStore();
    const view = "view/doorbell/0.1.0/debian12/x86_64";
    expect(await store.list(view)).toHaveLength(2);
    await store.removeAll(`${view}/6.1.0-56-amd64_6.1.170-3`);
    const before = await readPublished(store);
    const open = new OpenIndices(before.indices);
    for (const { index, entry } of listAll(before.indices))
      if (entry.kversion === "6.1.0-55-amd64") open.takeBack(index, entry, ["it panics"]);

    await showPublished(store, { ...before, indices: open.closed() }, NOW);

    expect(await store.list(view)).toEqual(["6.1.0-56-amd64_6.1.170-3"]);
    expect(await store.list(`${view}/6.1.0-56-amd64_6.1.170-3`)).toContain("manifest.json");
  });
});
