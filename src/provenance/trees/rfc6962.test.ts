/** The log's tree, by the vectors of Certificate Transparency and by attacks; these bear the ids of docs/security.md. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  asLogHash,
  EMPTY_ROOT,
  entryHash,
  isConsistent,
  isIncluded,
  type LogHash,
  nodeHash,
  proveConsistency,
  proveInclusion,
  rootAt,
} from "./rfc6962.ts";

interface Vectors {
  readonly leaves: readonly string[];
  readonly roots_by_size: readonly string[];
  readonly inclusion: readonly {
    readonly index: number;
    readonly size: number;
    readonly proof: readonly string[];
  }[];
  readonly consistency: readonly {
    readonly m: number;
    readonly n: number;
    readonly proof: readonly string[];
  }[];
}
const vectors: Vectors = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/integrity/tlog-vectors.json", import.meta.url), "utf8"),
);
const bytes = (hex: string) => Buffer.from(hex, "hex");
const hashes = (all: readonly string[]) => all.map((hex) => asLogHash(bytes(hex)));
const hex = (hash: Uint8Array) => Buffer.from(hash).toString("hex");
const LEAVES = vectors.leaves.map((leaf) => entryHash(bytes(leaf)));
const rootOf = (size: number) => asLogHash(bytes(vectors.roots_by_size[size] ?? ""));

/** Straight from the leaves. */
function nodesOver(leaves: readonly LogHash[]) {
  return (level: number, index: number): LogHash => {
    if (level === 0) return leaves[index] as LogHash;
    const below = nodesOver(leaves);
    return nodeHash(below(level - 1, index * 2), below(level - 1, index * 2 + 1));
  };
}
const nodeAt = nodesOver(LEAVES);

describe("the vectors", () => {
  test.each(vectors.roots_by_size.map((root, size) => ({ root, size })))(
    "root of $size",
    async ({ root, size }) => {
      expect(hex(await rootAt(size, nodeAt))).toBe(root);
    },
  );

  test.each(vectors.inclusion)("entry $index of $size", async ({ index, size, proof }) => {
    expect((await proveInclusion(index, size, nodeAt)).map(hex)).toEqual(proof);
    expect(isIncluded(LEAVES[index] as LogHash, { index, size, proof: hashes(proof) }, rootOf(size))).toBe(
      true,
    );
  });

  test.each(vectors.consistency)("$m before $n", async ({ m, n, proof }) => {
    expect((await proveConsistency(m, n, nodeAt)).map(hex)).toEqual(proof);
    const [before, after] = [m, n].map((size) => ({ size, root: rootOf(size) })) as [
      { size: number; root: LogHash },
      { size: number; root: LogHash },
    ];
    expect(isConsistent(before, after, hashes(proof))).toBe(true);
  });
});

const log = (count: number) =>
  Array.from({ length: count }, (_, at) => entryHash(Buffer.from(`entry ${at}`)));
const SIZES = [1, 2, 3, ...[2, 3, 4, 5].flatMap((power) => [-1, 0, 1].map((by) => 2 ** power + by)), 100];

describe("a log of any size", () => {
  test.each([...new Set(SIZES)])("of %i proves every entry, and every size before", async (size) => {
    const leaves = log(size);
    const nodes = nodesOver(leaves);
    const root = await rootAt(size, nodes);
    for (let at = 0; at < size; at++) {
      const proof = await proveInclusion(at, size, nodes);
      expect(isIncluded(leaves[at] as LogHash, { index: at, size, proof }, root)).toBe(true);
      const before = { size: at + 1, root: await rootAt(at + 1, nodes) };
      expect(isConsistent(before, { size, root }, await proveConsistency(at + 1, size, nodes))).toBe(true);
    }
  });

  test("begins with nothing", async () => {
    const nodes = nodesOver(log(5));
    const empty = { size: 0, root: EMPTY_ROOT };
    const five = { size: 5, root: await rootAt(5, nodes) };

    expect(await rootAt(0, nodes)).toBe(EMPTY_ROOT);
    expect(isConsistent(empty, five, [])).toBe(true);
    expect(isConsistent({ size: 0, root: five.root }, five, [])).toBe(false);
    expect(isConsistent(empty, five, [five.root])).toBe(false);
  });

  test("has no entry beyond its end, and was never larger", async () => {
    await expect(proveInclusion(5, 5, nodeAt)).rejects.toThrow(RangeError);
    await expect(proveInclusion(-1, 5, nodeAt)).rejects.toThrow(RangeError);
    await expect(proveConsistency(0, 5, nodeAt)).rejects.toThrow(RangeError);
    await expect(proveConsistency(6, 5, nodeAt)).rejects.toThrow(RangeError);
    expect(() => asLogHash(Buffer.alloc(31))).toThrow(RangeError);
  });
});

describe("a proof", () => {
  const SIZE = 7;

  test("B10 one hash short or long proves nothing", async () => {
    const root = rootOf(SIZE);
    const extra = EMPTY_ROOT;
    for (let index = 0; index < SIZE; index++) {
      const proof = await proveInclusion(index, SIZE, nodeAt);
      for (const wrong of [proof.slice(1), proof.slice(0, -1), [...proof, extra], [extra, ...proof]])
        expect(isIncluded(LEAVES[index] as LogHash, { index, size: SIZE, proof: wrong }, root)).toBe(false);
    }
    for (let size = 1; size < SIZE; size++) {
      const [before, after] = [
        { size, root: rootOf(size) },
        { size: SIZE, root },
      ];
      const proof = await proveConsistency(size, SIZE, nodeAt);
      for (const wrong of [proof.slice(1), proof.slice(0, -1), [...proof, extra], [extra, ...proof], []])
        expect(isConsistent(before, after, wrong)).toBe(false);
    }
  });

  test("B11 of a node does not pass it off as an entry", async () => {
    const [left, right] = LEAVES as [LogHash, LogHash];
    const proof = (await proveInclusion(0, 8, nodeAt)).slice(1);
    const inner = entryHash(Buffer.concat([left, right]));

    expect(isIncluded(inner, { index: 0, size: 4, proof }, rootOf(8))).toBe(false);
    expect(isIncluded(inner, { index: 0, size: 8, proof }, rootOf(8))).toBe(false);
  });

  test("B13 is of one place: below the size, and no other", async () => {
    const proof = await proveInclusion(3, SIZE, nodeAt);
    const at = (index: number, size = SIZE) =>
      isIncluded(LEAVES[3] as LogHash, { index, size, proof }, rootOf(SIZE));

    expect(at(3)).toBe(true);
    for (const index of [0, 1, 2, 4, 5, 6, 7, 8, 11, -1, 3.5, Number.NaN, 2 ** 53])
      expect(at(index)).toBe(false);
    for (const size of [0, 3, 4, 5, 6, 9, 16, -1, Number.POSITIVE_INFINITY]) {
      // The path of an entry is the same in logs of some sizes, and the root is not.
      if (size !== SIZE)
        expect(isIncluded(LEAVES[3] as LogHash, { index: 3, size, proof }, rootOf(4))).toBe(false);
    }
  });

  test("B14 of a log that forked, shrank or was rewritten does not exist", async () => {
    const other = nodesOver(LEAVES.with(2, EMPTY_ROOT));
    const rewritten = { size: 8, root: await rootAt(8, other) };
    const before = { size: 6, root: rootOf(6) };

    for (const nodes of [nodeAt, other])
      expect(isConsistent(before, rewritten, await proveConsistency(6, 8, nodes))).toBe(false);
    expect(isConsistent({ size: 8, root: rootOf(8) }, rewritten, [])).toBe(false);
    expect(isConsistent({ size: 8, root: rootOf(8) }, before, [])).toBe(false);
  });

  test("that was changed anywhere proves nothing", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 8 }),
        fc.nat(),
        fc.nat(),
        fc.nat(7),
        async (size, a, b, bit) => {
          const index = a % size;
          const proof = await proveInclusion(index, size, nodeAt);
          const copy = proof.map((one) => asLogHash(Buffer.from(one)));
          const at = copy[b % copy.length] as LogHash;
          at[b % 32] = (at[b % 32] as number) ^ (1 << bit);
          expect(isIncluded(LEAVES[index] as LogHash, { index, size, proof: copy }, rootOf(size))).toBe(
            false,
          );
        },
      ),
    );
  });
});

test("hashes of other trees are none of these", async () => {
  // @ts-expect-error: bytes are no hash of this tree until somebody says so.
  expect(() => nodeHash(new Uint8Array(32), EMPTY_ROOT)).not.toThrow();
});
