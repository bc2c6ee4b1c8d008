import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  changedBytes,
  changedLines,
  makeTestKey,
  ORIGIN,
  signature,
  signed,
} from "../../test/support/notes.ts";
import { FarmError } from "../base/error.ts";
import { noteSignature, readNote, signersOf, writeNote } from "./signed-note.ts";

const LIMIT = 16 << 10;
const TEXT = "kmodfarm head v1\norigin farm.example.org/drivers\n";
const [key, other] = [makeTestKey(), makeTestKey()];
const keys = [key.publicKey, other.publicKey];
const noteOf = (bytes: Buffer | string) => readNote(Buffer.from(bytes), LIMIT, "a note");

test("reads what was written, and knows who signed", () => {
  const note = noteOf(writeNote(signed(TEXT, ORIGIN, [key, other])));

  expect(note.text).toBe(TEXT);
  expect(signersOf(note, ORIGIN, keys, "a note")).toEqual(
    new Set(keys.map(({ fingerprint }) => fingerprint)),
  );
});

test("openssl verifies the signature of a note over its text", () => {
  const folder = mkdtempSync(join(tmpdir(), "note-"));
  try {
    const [text, pem, der] = ["text", "key.pem", "signature"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(text, TEXT);
    writeFileSync(pem, key.publicKey.key.export({ format: "pem", type: "spki" }));
    writeFileSync(der, noteOf(writeNote(signed(TEXT, ORIGIN, [key]))).signatures[0]?.signature ?? "");

    const said = execFileSync("openssl", ["dgst", "-sha256", "-verify", pem, "-signature", der, text]);

    expect(said.toString()).toBe("Verified OK\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a key id is the first four bytes of the fingerprint, before the signature", () => {
  const [line = ""] = writeNote(signed(TEXT, ORIGIN, [key]))
    .split("\n")
    .slice(3);
  const [dash, name, encoded = ""] = line.split(" ");

  expect([dash, name]).toEqual(["—", ORIGIN]);
  expect(Buffer.from(encoded, "base64").subarray(0, 4).toString("hex")).toBe(
    key.publicKey.fingerprint.slice(7, 15),
  );
});

test("C17: one key counts once, however many lines and signatures it has", () => {
  const note = signed(TEXT, ORIGIN, [key, key, key]);

  expect(signersOf(noteOf(writeNote(note)), ORIGIN, keys, "a note").size).toBe(1);
});

test("B15: a signature counts for its key alone: names, key ids and others' lines decide nothing", () => {
  const by = (name: string, who = key) => [noteSignature(name, who.publicKey, signature(TEXT, who))];
  const count = (signatures: ReturnType<typeof by>) =>
    signersOf({ text: TEXT, signatures }, ORIGIN, [key.publicKey], "a note").size;

  expect(count(by(ORIGIN))).toBe(1);
  for (const name of ["farm.example.org", `${ORIGIN}s`, "example.org/drivers", ORIGIN.toUpperCase()])
    expect(count(by(name)), name).toBe(0);
  expect(count(by(ORIGIN, other))).toBe(0);
  expect(count([...by("junk", other), ...by(ORIGIN)])).toBe(1);
});

test("a line that claims to be of a trusted key and is not makes the note worthless", () => {
  const forged = { text: TEXT, signatures: [noteSignature(ORIGIN, key.publicKey, signature(TEXT, other))] };
  const good = signed(TEXT, ORIGIN, [key]).signatures;

  for (const signatures of [forged.signatures, [...good, ...forged.signatures]])
    expect(() => signersOf({ text: TEXT, signatures }, ORIGIN, keys, "a note")).toThrow(
      expect.objectContaining({ code: "METADATA_UNSIGNED" }),
    );
});

test("B15: the text ends at the only blank line", () => {
  const note = writeNote(signed(TEXT, ORIGIN, [key]));

  expect(() => noteOf(`kmodfarm head v1\n\n${note}`)).toThrow(/not a signature/);
  expect(() => noteOf(note.replace("\n\n", "\n\n\n"))).toThrow(/not a signature/);
  expect(() => noteOf(note.replace("\n\n", "\n"))).toThrow(/no blank line/);
  expect(() => noteOf(`${TEXT}\n`)).toThrow(/end with a newline|not a signature/);
  expect(() => noteOf(`${TEXT}\n${"— a AAAAAAAAAAAA\n".repeat(17)}`)).toThrow(/more than 16/);
});

test("no change of a byte or a line leaves a note that is signed as before", () => {
  const note = writeNote(signed(TEXT, ORIGIN, [key]));
  const survives = (changed: Buffer): boolean => {
    try {
      return signersOf(noteOf(changed), ORIGIN, [key.publicKey], "a note").size > 0;
    } catch (thrown) {
      if (!(thrown instanceof FarmError)) throw thrown;
      expect(["NOTE_MALFORMED", "METADATA_UNSIGNED"]).toContain(thrown.code);
      return false;
    }
  };

  const bytes = [...changedBytes(Buffer.from(note))].filter(({ changed }) => survives(changed));
  const lines = [...changedLines(note)].filter(({ changed }) => survives(changed));

  expect(bytes.map(({ at }) => at)).toEqual([]);
  // Its one signature twice is one signature.
  expect(lines.map(({ what }) => what)).toEqual(["line 3 twice"]);
});

test("any bytes are a note or one error", () => {
  const pieces = fc.constantFrom(
    "kmodfarm\n",
    "\n",
    "— ",
    "a ",
    "AAAAAAAAAAAA",
    "=",
    "é",
    "\r",
    "\0",
    " ",
    "\n\n— a b\n",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.array(pieces).map((some) => Buffer.from(some.join(""))),
        fc.uint8Array().map((some) => Buffer.from(some)),
      ),
      (bytes) => {
        try {
          const note = noteOf(bytes);
          expect(Buffer.from(writeNote(note))).toEqual(bytes);
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "NOTE_MALFORMED" });
        }
      },
    ),
  );
});
