/** The tree over a kernel's modules, by golden vectors and by attacks; attacks bear the ids of docs/security.md. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MERKLE, signatureTrailer, splitSignature } from "../../formats/module-signature.ts";
import {
  asLinuxHash,
  growTree,
  judgeProof,
  type LinuxHash,
  leafOf,
  PROOF_VERDICTS,
  type ProofVerdict,
  rootDefinition,
  rootFromText,
  rootOfKernel,
  rootText,
  writeProof,
} from "./linux-merkle.ts";

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../test/fixtures/integrity/${name}.json`, import.meta.url), "utf8"));
interface Vectors {
  readonly trees: readonly {
    readonly n: number;
    readonly levels: number;
    readonly root: string;
    readonly leaf0: string | null;
    readonly proofs: Readonly<Record<string, string>>;
  }[];
}
interface Attacks {
  readonly tree: { readonly levels: number; readonly root: string; readonly modules: readonly string[] };
  readonly cases: readonly { readonly name: string; readonly hex: string; readonly expect: string }[];
}
const { trees }: Vectors = read("merkle-vectors");
const { tree, cases }: Attacks = read("merkle-attacks");

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const moduleAt = (position: number) => Buffer.from(`module-${position}\n`);
const treeOf = (count: number) =>
  growTree(Array.from({ length: count }, (_, position) => leafOf(position, moduleAt(position))));
const proven = (position: number, of: ReturnType<typeof treeOf>, module = moduleAt(position)) =>
  Buffer.concat([module, writeProof(of.proof(position))]);
const FIVE = treeOf(5);

describe.each(trees)("the golden tree of $n modules", ({ n, levels, root, leaf0, proofs }) => {
  const grown = treeOf(n);

  test("has that root, and so many levels", () => {
    expect(rootText(grown.root)).toBe(`${root}/${levels}`);
    if (leaf0 !== null) expect(hex(leafOf(0, moduleAt(0)))).toBe(leaf0);
  });

  test("has these proofs, to the last byte", () => {
    for (const [position, bytes] of Object.entries(proofs))
      expect(hex(writeProof(grown.proof(Number(position))))).toBe(bytes);
  });

  test("authenticates each of its modules, and no other", () => {
    for (let position = 0; position < n; position++) {
      const file = proven(position, grown);
      expect(file.length - moduleAt(position).length).toBe(44 + 32 * levels);
      expect(judgeProof(file, grown.root)).toBe("authenticated");
      expect(judgeProof(proven(position, grown, Buffer.from("another")), grown.root)).toBe("otherRoot");
    }
  });
});

/** What the kernel calls its answers. */
const VERDICTS: Readonly<Record<string, readonly ProofVerdict[]>> = {
  ok: ["authenticated"],
  unsigned: ["unsigned"],
  EBADMSG: ["badMessage"],
  ENOPKG: ["wrongType", "wrongLength"],
  ENOKEY: ["otherRoot"],
};
/** Attack → its id in the list of attacks. */
const IDS: Readonly<Record<string, string>> = {
  "trailing-byte": "A2",
  "crlf-marker": "A2",
  "only-marker": "A2",
  "algo-nonzero": "A3",
  "pad-nonzero": "A3",
  "siglen-little-endian": "A3",
  "id-type-pkcs7": "A3",
  "empty-module": "A3",
  "proof-short": "B10",
  "proof-33": "B10",
  "inner-as-leaf": "B11",
  "dup-last-as-next": "B12",
  "pos-changed": "B13",
  "pos-high-bit": "B13",
  "swapped-trailers": "B13",
};

describe("a file with a proof", () => {
  const root = rootFromText(`${tree.root}/${tree.levels}`);
  if (root === undefined) throw new Error("no root");

  test.each(cases.map((one) => ({ ...one, id: IDS[one.name] ?? "-" })))(
    "$id $name is $expect",
    ({ hex: bytes, expect: expected }) => {
      expect(VERDICTS[expected]).toContain(judgeProof(Buffer.from(bytes, "hex"), root));
    },
  );

  test("B10 one hash too long, one too short, none, or of another tree is of no use", () => {
    const proof = FIVE.proof(0);
    const judged = (siblings: readonly LinuxHash[]) =>
      judgeProof(Buffer.concat([moduleAt(0), writeProof({ ...proof, siblings })]), FIVE.root);
    const [first = asLinuxHash(Buffer.alloc(32))] = proof.siblings;

    expect(judged(proof.siblings)).toBe("authenticated");
    expect(judged([...proof.siblings, first])).toBe("wrongLength");
    expect(judged(proof.siblings.slice(1))).toBe("wrongLength");
    expect(judged([])).toBe("wrongLength");
    expect(judgeProof(proven(0, treeOf(4)), FIVE.root)).toBe("wrongLength");
    expect(judgeProof(proven(0, treeOf(6)), FIVE.root)).toBe("otherRoot");
  });

  test("B11 does not pass two hashes off as a module", () => {
    const [left, right] = [leafOf(0, moduleAt(0)), leafOf(1, moduleAt(1))];
    const above = FIVE.proof(0).siblings.slice(1);
    const siblings = [...above, above[0] as LinuxHash];
    const inner = Buffer.concat([left, right, writeProof({ position: 0, siblings })]);

    expect(judgeProof(inner, FIVE.root)).toBe("otherRoot");
  });

  test("B12 does not claim the copy of the odd last leaf for the next place", () => {
    const { siblings } = FIVE.proof(4);
    const next = Buffer.concat([moduleAt(4), writeProof({ position: 5, siblings })]);

    expect(judgeProof(next, FIVE.root)).toBe("otherRoot");
  });

  test("B13 has one position, in all its bits", () => {
    const { siblings } = FIVE.proof(1);
    for (const bit of Array.from({ length: 32 }, (_, at) => 2 ** at)) {
      const position = (1 ^ bit) >>> 0;
      const file = Buffer.concat([moduleAt(1), writeProof({ position, siblings })]);
      expect(judgeProof(file, FIVE.root)).toBe("otherRoot");
    }
  });

  test("A4 below another trailer is refused, even where the tree was made over that", () => {
    const nested = Buffer.concat([moduleAt(0), Buffer.from("signature"), signatureTrailer(Buffer.alloc(9))]);
    const over = growTree([leafOf(0, nested)]);

    expect(judgeProof(Buffer.concat([nested, writeProof(over.proof(0))]), over.root)).toBe("signedTwice");
    const twice = Buffer.concat([proven(0, FIVE), writeProof(FIVE.proof(0))]);
    expect(judgeProof(twice, FIVE.root)).toBe("otherRoot");
    expect(() => splitSignature(twice, "a.ko")).toThrow(/signed twice/);
  });

  test("A3 finds the type wrong before the fields, and these before the length, as the kernel does", () => {
    const file = proven(0, FIVE);
    const record = file.length - 40;
    const changed = (...bytes: readonly (readonly [number, number])[]) => {
      const copy = Buffer.from(file);
      for (const [at, byte] of bytes) copy[record + at] = byte;
      return judgeProof(copy, FIVE.root);
    };

    expect(changed([2, 2], [0, 1])).toBe("wrongType");
    expect(changed([2, 2], [8, 0xff])).toBe("wrongType");
    expect(changed([8, 0xff])).toBe("badMessage");
    for (const field of [0, 1, 3, 4, 5, 6, 7]) expect(changed([field, 1], [11, 3])).toBe("badMessage");
    expect(changed([11, 3])).toBe("wrongLength");
    expect(changed([11, 0])).toBe("wrongLength");
  });

  test("A1 cut off anywhere, or with any bit of its end changed, is not authenticated, and nothing is thrown", () => {
    const file = proven(2, FIVE);
    for (let length = 0; length < file.length; length++)
      expect(judgeProof(file.subarray(0, length), FIVE.root)).not.toBe("authenticated");
    for (let bit = 0; bit < file.length * 8; bit++) {
      const copy = Buffer.from(file);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(judgeProof(copy, FIVE.root)).not.toBe("authenticated");
    }
  });

  test("is nothing by the root of no modules", () => {
    const none = growTree([]).root;

    expect(rootText(none)).toBe(`${"0".repeat(64)}/0`);
    expect(judgeProof(Buffer.concat([moduleAt(0), writeProof({ position: 0, siblings: [] })]), none)).toBe(
      "otherRoot",
    );
  });

  test("gets one of the verdicts, whatever its bytes are", () => {
    const tail = signatureTrailer(Buffer.alloc(100), "merkle");
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, hasTail) => {
        const file = hasTail ? Buffer.concat([bytes, tail]) : bytes;
        const verdict = judgeProof(file, FIVE.root);
        expect(PROOF_VERDICTS).toContain(verdict);
        expect(verdict).not.toBe("authenticated");
      }),
    );
  });
});

describe("trees of every shape", () => {
  const sizes = [
    0,
    1,
    2,
    3,
    ...[2, 3, 4, 5, 6, 7].flatMap((power) => [-1, 0, 1].map((by) => 2 ** power + by)),
  ];

  test.each([...new Set(sizes)])("of %i leaves prove each of them", (count) => {
    const grown = treeOf(count);

    expect(grown.root.levels).toBe(count < 2 ? count : Math.ceil(Math.log2(count)));
    for (let position = 0; position < count; position++)
      expect(judgeProof(proven(position, grown), grown.root)).toBe("authenticated");
    expect(() => grown.proof(count)).toThrow(RangeError);
  });

  test("are other trees when modules change places", () => {
    const swapped = growTree([1, 0, 2, 3, 4].map((module, position) => leafOf(position, moduleAt(module))));

    expect(rootText(swapped.root)).not.toBe(rootText(FIVE.root));
  });
});

describe("a root", () => {
  test("is read from its text, and from nothing that is only like it", () => {
    const text = rootText(FIVE.root);

    expect(rootFromText(text)).toEqual({ levels: 3, hash: asLinuxHash(Buffer.from(FIVE.root.hash)) });
    const [digits = ""] = text.split("/");
    for (const wrong of [
      digits,
      `${digits}/33`,
      `${digits}/03`,
      `${digits.toUpperCase()}/3`,
      `${text} `,
      `0${text}`,
      "",
    ])
      expect(rootFromText(wrong)).toBeUndefined();
    expect(rootFromText(`${digits}/32`)?.levels).toBe(32);
  });

  test("is in a kernel, or not", () => {
    expect(rootOfKernel({ kind: "none" })).toBeUndefined();
    expect(rootOfKernel({ kind: "noSections" })).toBeUndefined();
    expect(rootOfKernel({ kind: "root", ...FIVE.root })).toEqual(FIVE.root);
  });

  test("as C is what the kernel's own tool writes", () => {
    const definition = rootDefinition(FIVE.root);

    expect(definition).toBe(`#include <linux/module_hashes.h>

const struct
module_hashes_root module_hashes_root __module_hashes_section = {
\t.levels = 3,
\t.hash = {
\t\t0xa0, 0xc6, 0x90, 0x8a, 0x67, 0x1d, 0xbe, 0x4e,
\t\t0x1f, 0x2b, 0x42, 0x16, 0xf0, 0x5f, 0xfa, 0x33,
\t\t0x87, 0x56, 0xc8, 0xc7, 0x3f, 0xb2, 0x69, 0x95,
\t\t0xeb, 0xbf, 0x64, 0x5d, 0x3f, 0x1c, 0x61, 0x36,
\t},
};
`);
  });
});

test("hashes of other lengths, and of other trees, are none of these", () => {
  expect(() => asLinuxHash(Buffer.alloc(31))).toThrow(RangeError);
  expect(() => asLinuxHash(Buffer.alloc(33))).toThrow(RangeError);
  // @ts-expect-error: bytes are no hash of this tree until somebody says so.
  growTree([new Uint8Array(32)]);
  expect(MERKLE).toBe(3);
});
