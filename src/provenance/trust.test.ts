import { expect, test } from "vitest";
import {
  changedLines,
  flippedBytes,
  makeTestKey,
  ORIGIN,
  signed,
  trustOf,
} from "../../test/support/notes.ts";
import { FarmError } from "../base/error.ts";
import { checkNotExpired, firstTrust, nextTrust, readTrust, writeTrust } from "./trust.ts";

const [a, b, c, d, head, newHead] = Array.from({ length: 6 }, makeTestKey) as [
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
  ReturnType<typeof makeTestKey>,
];
const coded = (code: string) => expect.objectContaining({ code });
const first = trustOf([a, b, c], [head], { threshold: 2 });

test("reads what was written", () => {
  expect(readTrust(writeTrust(first), "a root")).toEqual({
    ...first,
    keys: readTrust(writeTrust(first), "a root").keys,
  });
  expect([...readTrust(writeTrust(first), "a root").keys.keys()].toSorted()).toEqual(
    [...first.keys.keys()].toSorted(),
  );
});

test("the first root is signed by a threshold of its own keys", () => {
  const text = writeTrust(first);

  expect(firstTrust(signed(text, ORIGIN, [a, c]), "a root").version).toBe(1);
  for (const keys of [[], [a], [a, a], [a, d], [a, head]])
    expect(() => firstTrust(signed(text, ORIGIN, keys), "a root")).toThrow(coded("METADATA_UNSIGNED"));
  expect(() => firstTrust(signed(text, "other.example.org", [a, b]), "a root")).toThrow(
    coded("METADATA_UNSIGNED"),
  );
});

test("C17: rotation needs a threshold of the old keys and of the new ones", () => {
  const next = trustOf([c, d], [newHead], { version: 2, threshold: 2 });
  const text = writeTrust(next);

  expect(nextTrust(first, signed(text, ORIGIN, [a, c, d]), "root 2").roles.head.keys).toEqual([
    newHead.publicKey.fingerprint,
  ]);
  const tooFew = {
    "old alone": [a, b, c],
    "new alone": [c, d],
    "one old key": [a, d],
    "one twice": [a, a, c, c],
  };
  for (const [what, keys] of Object.entries(tooFew))
    expect(() => nextTrust(first, signed(text, ORIGIN, keys), "root 2"), what).toThrow(
      coded("METADATA_UNSIGNED"),
    );
});

test("D27: versions grow one by one, and stay with their origin", () => {
  const second = trustOf([a, b, c], [head], { version: 2, threshold: 2 });
  const of = (trust: typeof first) => signed(writeTrust(trust), trust.origin, [a, b]);

  expect(() => nextTrust(second, of(first), "root 2")).toThrow(coded("METADATA_ROLLED_BACK"));
  expect(() => nextTrust(second, of(second), "root 2")).toThrow(coded("METADATA_ROLLED_BACK"));
  expect(() => nextTrust(first, of({ ...second, version: 3 }), "root 2")).toThrow(
    coded("METADATA_ROLLED_BACK"),
  );
  expect(() => nextTrust(first, of({ ...second, origin: "other.example.org" }), "root 2")).toThrow(
    coded("METADATA_UNSIGNED"),
  );
});

test("a root expires at a moment", () => {
  const at = (time: string) => () => checkNotExpired(first, new Date(time), "a root");

  expect(at("2029-12-31T23:59:59Z")).not.toThrow();
  expect(at("2030-01-01T00:00:00Z")).toThrow(coded("METADATA_EXPIRED"));
});

test("every change of a root document is refused", () => {
  const note = signed(writeTrust(first), ORIGIN, [a, b, c]);
  const survives = (changed: Buffer): boolean => {
    try {
      firstTrust({ ...note, text: changed.toString("utf8") }, "a root");
      return true;
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(FarmError);
      return false;
    }
  };
  const text = writeTrust(first);

  expect([...changedLines(text)].filter(({ changed }) => survives(changed)).map(({ what }) => what)).toEqual(
    [],
  );
  expect(
    [...flippedBytes(Buffer.from(text))].filter(({ changed }) => survives(changed)).map(({ at }) => at),
  ).toEqual([]);
});

test("what says of itself what cannot be is refused, whoever signs it", () => {
  const text = writeTrust(first);
  const [A, B, C, H] = [a, b, c, head].map(({ publicKey }) => publicKey.fingerprint.slice(7)) as [
    string,
    string,
    string,
    string,
  ];
  const role = text.split("\n").find((line) => line.startsWith("role root")) ?? "";
  const changes: Record<string, (t: string) => string> = {
    "a threshold of none": (t) => t.replace("role root 2", "role root 0"),
    "a threshold that nobody reaches": (t) => t.replace("role root 2", "role root 4"),
    "a key twice in a role": (t) => t.replace(role, `role root 2 ${[A, A, B, C].toSorted().join(" ")}`),
    "a key that is not there": (t) => t.replace(`role head 1 ${H}`, `role head 1 ${"0".repeat(64)}`),
    "a key without a role": (t) => t.replace(`role head 1 ${H}`, `role head 1 ${A}`),
    "another fingerprint": (t) => t.replaceAll(H, "f".repeat(64)),
    "an upper-case fingerprint": (t) => t.replaceAll(H, H.toUpperCase()),
    "the 31st of June": (t) => t.replace("2030-01-01", "2030-06-31"),
    "a time elsewhere": (t) => t.replace("00:00:00Z", "00:00:00+01:00"),
    "version 0": (t) => t.replace("version 1", "version 0"),
    "version 01": (t) => t.replace("version 1", "version 01"),
    "a third role": (t) => `${t}role log 1 ${A}\n`,
  };

  for (const [what, change] of Object.entries(changes)) {
    expect(change(text), what).not.toBe(text);
    expect(() => readTrust(change(text), "a root"), what).toThrow(coded("NOTE_MALFORMED"));
  }
});
