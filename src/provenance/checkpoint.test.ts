/** Checkpoints and who signs them, by vectors of C2SP; attacks bear the ids of docs/security.md. */
import { createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  changedBytes,
  changedLines,
  cosignature,
  flippedBytes,
  makeTestKey,
  ORIGIN,
  signed,
  trustOf,
  trustWithLog,
} from "../../test/support/notes.ts";
import {
  CHECKPOINT_LIMIT_BYTES,
  readCheckpoint,
  signedCheckpoint,
  verifiedCheckpoint,
  writeCheckpoint,
} from "./checkpoint.ts";
import { publicKeyOf } from "./public-key.ts";
import { readNote, signersOf, verifierKey, writeNote } from "./signed-note.ts";
import { asLogHash } from "./trees/rfc6962.ts";

const vectors = JSON.parse(
  readFileSync(new URL("../../test/fixtures/integrity/tlog-vectors.json", import.meta.url), "utf8"),
) as {
  checkpoint: string;
  vkey: string;
  signed_note_c2sp_example: { vkey: string; note: string };
  roots_by_size: string[];
};

/** `name+id+base64(type, key)` */
function keyOf(text: string) {
  const encoded = text.split("+").slice(2).join("+");
  const raw = Buffer.from(encoded, "base64").subarray(1);
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]);
  return publicKeyOf(createPublicKey({ key: spki, format: "der", type: "spki" }), "a vector");
}

describe.each([
  ["our vector", vectors.vkey, vectors.checkpoint],
  ["the example of C2SP", vectors.signed_note_c2sp_example.vkey, vectors.signed_note_c2sp_example.note],
])("%s", (_, vkey, note) => {
  const [name = ""] = vkey.split("+");
  const key = keyOf(vkey);

  test("is signed by its key, under its name alone", () => {
    const read = readNote(Buffer.from(note), CHECKPOINT_LIMIT_BYTES, "a note");

    expect(signersOf(read, name, [key], "a note")).toEqual(new Set([key.fingerprint]));
    expect(signersOf(read, `${name}x`, [key], "a note").size).toBe(0);
    expect(verifierKey(key, name)).toBe(vkey);
    expect(writeNote(read)).toBe(note);
  });
});

test("a checkpoint is three lines", () => {
  const root = asLogHash(Buffer.from(vectors.roots_by_size[8] ?? "", "hex"));
  const text = vectors.checkpoint.split("\n\n")[0] ?? "";

  expect(readCheckpoint(`${text}\n`, "a checkpoint")).toEqual({
    origin: "farm.example/modules",
    size: 8,
    root,
  });
  expect(writeCheckpoint({ origin: "farm.example/modules", size: 8, root })).toBe(`${text}\n`);
  for (const wrong of [
    `${text}\nmore\n`,
    `${text}`,
    text.replace("8", "08"),
    text.replace("8", "-1"),
    "a\n1\n",
  ])
    expect(() => readCheckpoint(wrong, "a checkpoint")).toThrow(
      expect.objectContaining({ code: "NOTE_MALFORMED" }),
    );
});

const [LOG, OTHER, ALICE, BOB] = [0, 1, 2, 3].map(() => makeTestKey("ed25519")) as [
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
];
const BASE = trustOf([makeTestKey()], [makeTestKey()]);
const TRUST = trustWithLog(BASE, [LOG]);
const TEXT = writeCheckpoint({ origin: ORIGIN, size: 3, root: asLogHash(Buffer.alloc(32, 7)) });
const bytesOf = (note: Parameters<typeof writeNote>[0]) => Buffer.from(writeNote(note));
const verified = (bytes: Buffer, trust = TRUST) =>
  verifiedCheckpoint(trust, readNote(bytes, CHECKPOINT_LIMIT_BYTES, "a checkpoint"), "a checkpoint");

describe("a signed checkpoint", () => {
  const GOOD = bytesOf(signed(TEXT, ORIGIN, [LOG]));

  test("is of the log's key, and of no other", () => {
    expect(verified(GOOD).size).toBe(3);
    for (const note of [
      signed(TEXT, ORIGIN, [OTHER]),
      signed(TEXT, "elsewhere", [LOG]),
      { text: TEXT, signatures: [] },
    ])
      expect(() => signedCheckpoint(TRUST, note, "a checkpoint")).toThrow(
        expect.objectContaining({ code: "METADATA_UNSIGNED" }),
      );
    expect(() => verified(GOOD, BASE)).toThrow(/does not say who signs the log/);
    const elsewhere = TEXT.replace(ORIGIN, "elsewhere");
    expect(() => verified(bytesOf(signed(elsewhere, ORIGIN, [LOG])))).toThrow(/of the registry elsewhere/);
  });

  test("B15 with two blank lines, another name, or anything changed is refused", () => {
    const two = Buffer.from(GOOD.toString().replace("\n\n", "\n\n\n"));
    const inside = Buffer.from(GOOD.toString().replace("\n", "\n\n"));
    const variants = [
      two,
      inside,
      ...[...flippedBytes(GOOD), ...changedBytes(GOOD)].map(({ changed }) => changed),
    ];
    for (const { changed } of changedLines(GOOD.toString())) variants.push(changed);
    for (const changed of variants) {
      let size: number | undefined;
      try {
        ({ size } = verified(changed));
      } catch (thrown) {
        expect(thrown).toMatchObject({ blame: "integrity" });
      }
      // One line twice is one signature.
      if (size !== undefined) expect(changed.toString().startsWith(TEXT)).toBe(true);
    }
  });
});

describe("witnesses", () => {
  const of = (trust: typeof TRUST, ...lines: ReturnType<typeof cosignature>[]) => {
    const { text, signatures } = signed(TEXT, ORIGIN, [LOG]);
    return () => verified(bytesOf({ text, signatures: [...signatures, ...lines] }), trust);
  };
  const two = trustWithLog(BASE, [LOG], [ALICE, BOB], 2);
  const unsigned = expect.objectContaining({ code: "METADATA_UNSIGNED" });

  test("are counted by their keys, whatever they call themselves", () => {
    const [alice, bob] = [cosignature("alice", TEXT, ALICE), cosignature("bob", TEXT, BOB)];

    expect(of(two, alice, bob)().size).toBe(3);
    expect(of(two, alice)).toThrow(unsigned);
    expect(of(two, alice, cosignature("bob", TEXT, ALICE))).toThrow(unsigned);
    expect(of(two, alice, alice)).toThrow(unsigned);
    expect(of(two, alice, cosignature("bob", TEXT, OTHER))).toThrow(unsigned);
    expect(of(trustWithLog(BASE, [LOG], [ALICE, BOB], 1), alice)().size).toBe(3);
  });

  test("B16 sign this text and this time", () => {
    const other = cosignature("bob", TEXT.replace("3", "4"), BOB);
    const late = cosignature("bob", TEXT, BOB, 1_764_000_000);
    const moved = { ...late, signature: Buffer.from(late.signature) };
    moved.signature[7] = (moved.signature[7] ?? 0) ^ 1;

    for (const wrong of [other, moved, { ...late, signature: late.signature.subarray(0, 8) }])
      expect(of(two, cosignature("alice", TEXT, ALICE), wrong)).toThrow(unsigned);
  });

  test("are not the log itself, and sign nothing without one", () => {
    expect(() => verified(bytesOf(signed(TEXT, ORIGIN, [LOG])), two)).toThrow(unsigned);
    const plain = signed(TEXT, ORIGIN, [ALICE, BOB]);
    expect(() => verified(bytesOf(plain), two)).toThrow(unsigned);
  });
});
