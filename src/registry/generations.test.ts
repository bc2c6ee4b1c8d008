import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { forge } from "../../test/support/forged-store.ts";
import { mortal } from "../../test/support/mortal-store.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import type { Published } from "./documents.ts";
import { readPublished, settle, writePublished } from "./generations.ts";
import { nextState } from "./publish.ts";
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
const content = ({ head: _, ...rest }: Published) => rest;
const corrupt = expect.objectContaining({ code: "STORE_CORRUPT" });

describe("a registry", () => {
  test("is empty before anything was published", async () => {
    const state = await readPublished(await openStore(), "stable");

    expect(state).toMatchObject({ head: null, matrix: [], attempts: [], indices: [] });
  });

  test("shows in both channels what was written", async () => {
    const store = await openStore();

    const written = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);

    expect(written.head?.number).toBe(1);
    expect(await readPublished(store, "stable")).toEqual(written);
    expect(await readPublished(store, "candidate")).toEqual(written);
  });

  test("numbers generations upward, each naming the one before", async () => {
    const store = await openStore();
    const first = await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);

    const second = await writePublished(store, { ...stateOf("6.1.0-56-amd64"), head: first.head }, NOW);

    const text = String(await store.read("generations/2/generation.json"));
    expect(JSON.parse(text)).toMatchObject({
      number: 2,
      parent: first.head,
      publishedAt: "2026-02-07T00:00:00.000Z",
    });
    expect(await readPublished(store, "stable")).toEqual(second);
    expect(await store.list("generations")).toEqual(["1", "2"]);
  });

  test("shows one whole state, whenever its writer is killed, and goes on from it", async () => {
    const [before, after] = [stateOf("6.1.0-55-amd64"), stateOf("6.1.0-55-amd64", "6.1.0-56-amd64")];
    const seen = new Set<number>();
    for (let writes = 0; ; writes++) {
      const store = await openStore();
      const first = await writePublished(store, before, NOW);
      const outcome = await writePublished(mortal(store, writes), { ...after, head: first.head }, NOW).catch(
        () => "killed",
      );

      const [candidate, stable] = await Promise.all([
        readPublished(store, "candidate"),
        readPublished(store, "stable"),
      ]);
      await settle(store);
      const settled = await readPublished(store, "stable");

      for (const state of [candidate, stable, settled]) {
        const wanted = state.head?.number === 2 ? after : before;
        expect(content(state)).toEqual(content(wanted));
        seen.add(state.head?.number ?? 0);
      }
      expect(settled).toEqual(candidate);
      expect(await store.list("generations")).toHaveLength(settled.head?.number ?? 0);
      const next = await writePublished(store, { ...after, head: settled.head }, NOW);
      expect((await readPublished(store, "stable")).head).toEqual(next.head);
      if (outcome !== "killed") break;
    }

    expect(seen).toEqual(new Set([1, 2]));
  });

  test.each([
    "catalog.json",
    "matrix.json",
    "attempts.json",
    "generation.json",
    "index/debian12.x86_64.json",
  ])("notices when %s is not what was written, or gone", async (file) => {
    const store = await openStore();
    await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    const path = `generations/1/${file}`;
    const text = String(await store.read(path));

    await store.write(path, text.replace("schema", "Schema"));
    const changed = readPublished(store, "stable");
    await expect(changed).rejects.toThrow(corrupt);
    await store.remove(path);
    const gone = readPublished(store, "stable");
    await expect(gone).rejects.toThrow(corrupt);

    expect(text).toContain("schema");
  });

  test("notices a channel that is no channel", async () => {
    const store = await openStore();
    await store.write("channels/stable", '{"schema":"kmodfarm.channel/1"');

    await expect(readPublished(store, "stable")).rejects.toThrow(
      expect.objectContaining({
        code: "STORE_CORRUPT",
        message: expect.stringContaining(`${store.place}/channels/stable`),
      }),
    );
  });

  test("is never written over by whoever read an earlier state: what the other one decided stays", async () => {
    const store = await openStore();
    const { head } = await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);
    const second = await writePublished(store, { ...stateOf("6.1.0-56-amd64"), head }, NOW);

    const late = writePublished(store, { ...stateOf("6.1.0-55-amd64", "6.1.0-57-amd64"), head }, NOW);

    await expect(late).rejects.toMatchObject({
      code: "STORE_BUSY",
      message: expect.stringContaining("generation 2 was published by another process meanwhile"),
    });
    expect(await readPublished(store, "stable")).toEqual(second);
  });

  test("has one history, at whatever moment of one writer's work a second one writes", async () => {
    const [mine, theirs] = [stateOf("6.1.0-56-amd64"), stateOf("6.1.0-57-amd64")];
    const outcomes = new Set<string>();
    for (let moment = 0; ; moment++) {
      const store = await openStore();
      const { head } = await writePublished(store, stateOf("6.1.0-55-amd64"), NOW);
      let count = 0;
      let other: Published | "refused" | undefined;
      const meanwhile = async () => {
        if (count++ !== moment) return;
        other = await writePublished(store, { ...theirs, head }, NOW).catch(() => "refused" as const);
      };
      const disturbed: Store = {
        ...mortal(store, Number.POSITIVE_INFINITY),
        async write(path, content) {
          await meanwhile();
          await store.write(path, content);
        },
        async create(path, content) {
          await meanwhile();
          return store.create(path, content);
        },
      };

      const own = await writePublished(disturbed, { ...mine, head }, NOW).catch((thrown) => thrown.code);
      if (other === undefined) break;
      const winner = typeof own === "string" ? theirs : mine;
      await settle(store);

      expect([own, other].filter((one) => typeof one !== "string")).toHaveLength(1);
      if (typeof own === "string") expect(own).toBe("STORE_BUSY");
      for (const channel of ["candidate", "stable"] as const)
        expect(content(await readPublished(store, channel))).toEqual(content(winner));
      outcomes.add(typeof own === "string" ? "other" : "own");
    }

    expect(outcomes).toEqual(new Set(["own", "other"]));
  });

  test.each([
    ["another number", "generation.json", '"number":1', '"number":7', "is generation 7"],
    [
      "another release's index",
      "index/debian12.x86_64.json",
      '"debian12"',
      '"debian13"',
      "is the index of debian13",
    ],
  ] as const)("is refused with %s under a digest that is right", async (_, file, from, to, words) => {
    const store = await openStore();
    await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);
    await forge(store, file, (text) => text.replace(from, to));

    await expect(readPublished(store, "stable")).rejects.toMatchObject({
      code: "STORE_CORRUPT",
      message: expect.stringContaining(words),
    });
  });

  test("settling changes nothing where nothing is half done", async () => {
    const store = await openStore();
    await settle(store);
    const written = await writePublished(store, stateOf("6.1.0-56-amd64"), NOW);

    await settle(store);

    expect(await readPublished(store, "stable")).toEqual(written);
    expect(await store.list("generations")).toEqual(["1"]);
  });
});
