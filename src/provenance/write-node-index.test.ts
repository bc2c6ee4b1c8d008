import { expect, test } from "vitest";
import { sha256 } from "../base/json.ts";
import { keyOf, leafPrefix, NODE_LIMIT_BYTES, type NodeBlock, readLeaf } from "./node-index.ts";
import { requireWritable, type WrittenIndex, writeIndex } from "./write-node-index.ts";

const PLACE = { driver: "doorbell", machine: "x86_64" };
const RELEASE = "6.1.0-56-amd64";

function block(packageVersion: string, changes: Partial<NodeBlock> = {}): NodeBlock {
  return {
    ...{ release: RELEASE, distribution: "debian12", packageVersion, denied: [] },
    ...{ answer: { kind: "failed", why: "w".repeat(180) } },
    ...changes,
  };
}
const blocks = (count: number, distribution: string) =>
  Array.from({ length: count }, (_, at) => block(String(1000 + at), { distribution }));

/** What a node of the release reads. */
function read({ widths, files }: WrittenIndex): readonly NodeBlock[] {
  const prefix = leafPrefix(widths, keyOf({ ...PLACE, release: RELEASE }));
  const leaf = [...files.values()].find((text) => text.includes(`\nleaf doorbell x86_64 ${prefix}\n`)) ?? "";
  expect(leaf.length).toBeLessThanOrEqual(NODE_LIMIT_BYTES);
  return readLeaf(Buffer.from(leaf), PLACE, prefix, "a leaf");
}
const tooLarge = (fact: string) =>
  expect.objectContaining({ code: "REGISTRY_TOO_LARGE", message: expect.stringContaining(fact) });

test("claims fill what room a leaf has, the first ones first, and take none from a block", () => {
  const [needed, claims] = [blocks(100, "debian12"), blocks(400, "debian99")];
  const index = writeIndex(PLACE, needed, claims);
  const all = read(index);
  const kept = all.filter(({ distribution }) => distribution === "debian99");

  expect(all.filter(({ distribution }) => distribution === "debian12")).toHaveLength(100);
  expect(kept.length).toBeGreaterThan(50);
  expect(kept.map(({ packageVersion }) => packageVersion)).toEqual(
    claims.slice(0, kept.length).map(({ packageVersion }) => packageVersion),
  );
  expect(index.cut).toBe(400 - kept.length);
  expect(writeIndex(PLACE, needed).cut).toBe(0);
});

test("blocks that no leaf has room for are refused: the release, how much it is, and the limit", () => {
  const fact =
    /^the node index of doorbell for x86_64: what nodes would be told of 6\.1\.0-56-amd64 has \d{5,} bytes/;
  expect(() => writeIndex(PLACE, blocks(300, "debian12"))).toThrow(fact);
  expect(() => requireWritable(PLACE, blocks(300, "debian12"))).toThrow(tooLarge("6.1.0-56-amd64"));
  const apart = blocks(300, "debian12").map((one, at) => ({ ...one, release: `6.1.${at}-amd64` }));
  expect(() => requireWritable(PLACE, apart)).not.toThrow();
});

test("as many modules of a kernel are denied as nodes read, and no more", () => {
  const denying = (count: number) =>
    block("1", {
      denied: Array.from({ length: count }, (_, at) => ({ module: sha256(String(at)), why: "w" })),
    });

  expect(read(writeIndex(PLACE, [denying(256)]))[0]?.denied).toHaveLength(256);
  expect(() => writeIndex(PLACE, [denying(257)])).toThrow(tooLarge("257 modules are denied"));
});
