import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asLogHash, entryHash, type LogHash, proveConsistency, proveInclusion, rootAt } from "./rfc6962.ts";
import {
  newBundles,
  newTiles,
  nodesInTiles,
  readBundle,
  readTile,
  type TileName,
  tilePath,
  topOf,
  writeBundle,
  writeTile,
} from "./tiles.ts";

const { tile_paths: PATHS } = JSON.parse(
  readFileSync(new URL("../../../test/fixtures/integrity/tlog-vectors.json", import.meta.url), "utf8"),
) as { tile_paths: { level: number | "entries"; index: number; width: number | null; path: string }[] };

test.each(PATHS)("$path", ({ level, index, width, path }) => {
  expect(tilePath({ level, index, width: width ?? 256 })).toBe(path);
});

/** Every tile that a log ever wrote while it grew by these steps. */
function grown(leaves: readonly LogHash[], sizes: readonly number[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  // Whole groups stay what they are while the log grows.
  const rows = [leaves];
  for (let row = leaves; row.length >= 256; rows.push(row)) {
    const below = row;
    row = Array.from({ length: Math.floor(below.length / 256) }, (_, at) =>
      topOf(below.slice(at * 256, at * 256 + 256)),
    );
  }
  let before = 0;
  for (const size of sizes) {
    for (const tile of newTiles(before, size)) {
      const part = (rows[tile.level] ?? []).slice(tile.index * 256, tile.index * 256 + tile.width);
      files.set(tilePath(tile), writeTile(part));
    }
    before = size;
  }
  return files;
}

const leaves = (count: number) =>
  Array.from({ length: count }, (_, at) => entryHash(Buffer.from(String(at))));
const reader = (files: ReadonlyMap<string, Buffer>) => async (tile: TileName) =>
  readTile(files.get(tilePath(tile)) ?? Buffer.alloc(0), tile.width, tilePath(tile));

describe("tiles", () => {
  test.each([[[1]], [[255, 256]], [[256, 257]], [[100, 600, 65_536, 65_537]], [[3, 70_000]]])(
    "of a log that grew by %j have every node of each of its sizes",
    async (sizes) => {
      const all = leaves(sizes.at(-1) ?? 0);
      const files = grown(all, sizes);
      for (const size of sizes) {
        const [first = 0] = sizes;
        const nodes = nodesInTiles(size, reader(files));
        const proof = await proveConsistency(first, size, nodes);
        const one = await proveInclusion(first - 1, size, nodes);
        expect(proof.length + one.length).toBeLessThan(60);
        expect(await rootAt(size, nodes)).toEqual(
          await rootAt(size, nodesInTiles(size, reader(grown(all, [size])))),
        );
      }
    },
  );

  test("are new only where something is", () => {
    const names = (before: number, size: number) => [...newTiles(before, size)].map(tilePath);

    expect(names(5, 5)).toEqual([]);
    expect(names(0, 5)).toEqual(["tile/0/000.p/5"]);
    expect(names(5, 6)).toEqual(["tile/0/000.p/6"]);
    expect(names(250, 260)).toEqual(["tile/0/000", "tile/0/001.p/4", "tile/1/000.p/1"]);
    expect(names(260, 261)).toEqual(["tile/0/001.p/5"]);
    expect(newBundles(250, 260).map(tilePath)).toEqual(["tile/entries/000", "tile/entries/001.p/4"]);
  });

  test("of another width are refused", () => {
    expect(() => readTile(Buffer.alloc(33), 1, "a tile")).toThrow(
      expect.objectContaining({ code: "NOTE_MALFORMED" }),
    );
    expect(readTile(Buffer.alloc(64), 2, "a tile")).toEqual([0, 1].map(() => asLogHash(Buffer.alloc(32))));
  });
});

describe("a bundle", () => {
  test("has the entries that were put there", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 256 }), (entries) => {
        const read = readBundle(writeBundle(entries), entries.length, "a bundle");
        expect(read.map((one) => [...one])).toEqual(entries.map((one) => [...one]));
      }),
    );
  });

  test("is a value or NOTE_MALFORMED, whatever its bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (bytes, width) => {
        try {
          const entries = readBundle(bytes, width, "a bundle");
          expect(Buffer.from(writeBundle(entries))).toEqual(Buffer.from(bytes));
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "NOTE_MALFORMED" });
        }
      }),
    );
  });
});
