import { describe, expect, test } from "vitest";
import { CATALOG, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { toDocument } from "../base/json.ts";
import { type KernelFacts, withAllLearned } from "../kernel/facts.ts";
import type { Published } from "./documents.ts";
import { packed, unpacked } from "./packed.ts";
import { assemble, hasSame, partsOf } from "./parts.ts";
import { nextState } from "./publish.ts";
import { openFolderStore } from "./stores/folder.ts";

function stateOf(count: number, releases: number, learned: readonly KernelFacts[] = []): Published {
  const kernels = Array.from({ length: count }, (_, index) =>
    makeKernel({
      distribution: `release${index % releases}`,
      kversion: `6.1.0-${index}-amd64`,
      packageVersion: `6.1.${index}-1`,
    }),
  );
  const outcomes = kernels.map(({ distribution, kversion, packageVersion }) => {
    const output = `0.1.0/${distribution}/x86_64/${kversion}_${packageVersion}`;
    return makeOutcome(makeElement({ distribution, kversion, packageVersion, output }));
  });
  return nextState(NOTHING, makeCatalog(kernels), outcomes, { facts: withAllLearned([], learned) });
}

const textsOf = (state: Published) =>
  new Map([...partsOf(state)].map(([name, { document }]) => [name, toDocument(document())]));
const documentsOf = (state: Published) =>
  new Map([...textsOf(state)].map(([name, text]) => [name, JSON.parse(text) as unknown]));
const kindsOf = (names: Iterable<string>) => [...names].map((name) => name.split("/")[0]);

describe.each([1, 40])("a state of 10,000 artifacts in %i releases", (releases) => {
  const state = stateOf(10_000, releases);
  const texts = textsOf(state);

  test("has few parts, and none that is large", () => {
    expect(texts.size).toBeLessThanOrEqual(50);
    expect(Math.max(...[...texts].map(([, text]) => text.length))).toBeLessThan(8 << 20);
  });

  test("is put together again from them, whatever their order", () => {
    const documents = [...documentsOf(state)].toReversed();
    const { content, current } = assemble(new Map(documents));

    const { head: _, parts: __, ...wanted } = state;
    expect(toDocument(content)).toBe(
      toDocument({ ...wanted, catalog: { ...wanted.catalog, kernels: content.catalog.kernels } }),
    );
    expect(new Set(content.catalog.kernels.map(({ kversion }) => kversion)).size).toBe(10_000);
    expect([...current].sort()).toEqual([...texts.keys()].sort());
  });

  test("changes in one part of each kind where one element does", () => {
    const element = state.matrix[4321] ?? makeElement();
    const next = nextState(state, state.catalog, [makeOutcome(element, { content: "otherwise" })]);

    const changed = [...textsOf(next)].filter(([name, text]) => texts.get(name) !== text);

    // Only what a stable artifact is made of is otherwise: the note says the same.
    expect(kindsOf(changed.map(([name]) => name))).toEqual(["indices"]);
  });

  test.each([0, 5000, 9999])("moves few cuts where element %i goes, and none far away", (index) => {
    const [before, after] = [partsOf(state), partsOf({ ...state, matrix: state.matrix.toSpliced(index, 1) })];

    const changed = [...after].filter(([name, { items }]) => !hasSame(items, before.get(name)?.items ?? []));

    expect(kindsOf(changed.map(([name]) => name))).toEqual(changed.map(() => "matrix"));
    expect(changed.length).toBeLessThanOrEqual(3);
  });
});

test("what is in another part than it would be today is part of the state, and gets a part of its own", () => {
  const state = stateOf(3, 3);
  const documents = documentsOf(state);
  const [name = ""] = [...documents.keys()].filter((one) => one.startsWith("matrix/"));
  const { elements } = documents.get(name) as { elements: unknown[] };
  documents.set(name, { schema: "kmodfarm.elements/1", elements: elements.slice(0, 1) });
  documents.set("matrix/elsewhere", { schema: "kmodfarm.elements/1", elements: elements.slice(1) });

  const { content, current } = assemble(documents);

  expect(toDocument(content.matrix)).toBe(toDocument(state.matrix));
  expect(current.has(name)).toBe(false);
  expect(current.has("matrix/elsewhere")).toBe(false);
});

test("keys that are there twice do not give two parts one name", () => {
  const state = nextState(NOTHING, CATALOG, [makeOutcome(makeElement())]);
  const twice = { ...state, matrix: Array(5000).fill(state.matrix[0]) as Published["matrix"] };

  const parts = partsOf(twice);

  expect([...parts].flatMap(([name, { items }]) => (name.startsWith("matrix/") ? items : []))).toHaveLength(
    5000,
  );
});

test("large documents are packed, small ones are not, and what cannot be unpacked is damage", async () => {
  const store = await openFolderStore(await temporaryDirectory());
  const [small, large] = ['{"a":1}\n', JSON.stringify({ a: "x".repeat(1 << 20) })];

  expect((await packed(small)).toString()).toBe(small);
  const bytes = await packed(large);
  expect(bytes.length).toBeLessThan(10_000);
  expect((await unpacked(store, "a", bytes, "a")).toString()).toBe(large);
  await expect(unpacked(store, "a", bytes.subarray(0, 20), "a")).rejects.toMatchObject({
    code: "STORE_CORRUPT",
  });
  await expect(unpacked(store, "a", bytes, "a", 1 << 20)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
});
