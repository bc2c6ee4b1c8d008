import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { type Element, elementKey } from "./element.ts";
import { githubMatrix, MAX_JOBS, MAX_OUTPUT_CHARACTERS, type Shard, shardMatrix } from "./shard.ts";

const TEN_SECONDS = { expectedSeconds: () => 10 };

function elements(count: number, distribution = "debian12"): Element[] {
  return Array.from({ length: count }, (_, index) =>
    makeElement({ distribution, kversion: `6.1.0-${index}-amd64` }),
  );
}

/** Element → shard id. */
function placesOf(shards: readonly Shard[]): Map<string, string> {
  return new Map(
    shards.flatMap(({ id, elements: members }) =>
      members.map((element) => [elementKey(element), id] as const),
    ),
  );
}

describe("shardMatrix", () => {
  test("holds every element exactly once, whatever the matrix and the limits", () => {
    const size = fc.integer({ min: 0, max: 60 });
    fc.assert(
      fc.property(
        size,
        size,
        fc.integer({ min: 2, max: 12 }),
        fc.integer({ min: 1, max: 300 }),
        (a, b, maxShards, targetSeconds) => {
          const all = [...elements(a), ...elements(b, "debian13")];

          const shards = shardMatrix(all, { ...TEN_SECONDS, maxShards, targetSeconds });

          expect(shards.length).toBeLessThanOrEqual(maxShards);
          expect(shards.flatMap(({ elements: members }) => members.map(elementKey)).sort()).toEqual(
            all.map(elementKey).sort(),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test("never mixes distribution releases or architectures", () => {
    const all = [...elements(20), ...elements(20, "debian13"), makeElement({ architecture: "aarch64" })];

    const shards = shardMatrix(all, { ...TEN_SECONDS, targetSeconds: 50 });

    expect(shards.length).toBeGreaterThan(3);
    for (const { distribution, architecture, elements: members } of shards) {
      expect(
        members.every(
          (element) => element.distribution === distribution && element.architecture === architecture,
        ),
      ).toBe(true);
    }
  });

  test("balances what is expected to take long", () => {
    const all = elements(200);

    const shards = shardMatrix(all, {
      expectedSeconds: ({ kversion }) => (kversion.length % 3) * 10 + 5,
      targetSeconds: 300,
    });

    const seconds = shards.map(({ expectedSeconds }) => expectedSeconds);
    expect(shards.length).toBeGreaterThan(4);
    expect(Math.max(...seconds)).toBeLessThan(1.25 * (seconds.reduce((a, b) => a + b) / shards.length));
  });

  test("moves few elements when few come or go", () => {
    const all = elements(300);
    const before = placesOf(shardMatrix(all, TEN_SECONDS));

    const after = placesOf(shardMatrix([...all.slice(3), ...elements(303).slice(300)], TEN_SECONDS));

    const moved = [...after].filter(([key, id]) => before.has(key) && before.get(key) !== id);
    expect(new Set(after.values()).size).toBeGreaterThan(4);
    expect(moved.length).toBeLessThan(30);
  });

  test("does not depend on the order of the matrix", () => {
    const all = elements(50);

    expect(shardMatrix(all.toReversed(), { ...TEN_SECONDS, targetSeconds: 60 })).toEqual(
      shardMatrix(all, { ...TEN_SECONDS, targetSeconds: 60 }),
    );
  });

  test("refuses limits that cannot be kept", () => {
    expect(() =>
      shardMatrix([...elements(1), ...elements(1, "debian13")], { ...TEN_SECONDS, maxShards: 1 }),
    ).toThrow(/2 distribution releases/);
  });
});

describe("githubMatrix", () => {
  test("stays within a job's limits for the largest matrix there can be, and carries ids only", () => {
    const shards = shardMatrix(elements(4000), { ...TEN_SECONDS, targetSeconds: 20 });

    const text = githubMatrix(shards);

    expect(shards.length).toBeLessThanOrEqual(MAX_JOBS);
    expect(shards.length).toBeGreaterThan(MAX_JOBS / 4);
    expect(text.length).toBeLessThan(MAX_OUTPUT_CHARACTERS);
    expect(JSON.parse(text).include[0]).toEqual({
      shard: expect.any(String),
      distribution: "debian12",
      architecture: "x86_64",
      elements: expect.any(Number),
    });
  });
});
