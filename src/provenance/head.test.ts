import { expect, test } from "vitest";
import {
  changedBytes,
  changedLines,
  makeTestKey,
  ORIGIN,
  signed,
  trustOf,
} from "../../test/support/notes.ts";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { acceptHead, HEAD_LIMIT_BYTES, type Head, readHead, writeHead } from "./head.ts";
import { readNote, writeNote } from "./signed-note.ts";

const [root, key, oldKey] = [makeTestKey(), makeTestKey(), makeTestKey()];
const trust = trustOf([root], [key]);
const coded = (code: string) => expect.objectContaining({ code });
const NOW = new Date("2026-11-29T00:00:00Z");
const head: Head = {
  ...{ origin: ORIGIN, serial: 412, issued: "2026-11-28T02:10:00Z", expires: "2026-12-05T02:10:00Z" },
  generation: { number: 300, digest: sha256("a generation") },
  indices: [
    { driver: "doorbell", machine: "aarch64", widths: "1", top: sha256("a"), floor: "0.1.0" },
    { driver: "doorbell", machine: "x86_64", widths: "2+1", top: sha256("b") },
  ],
};
const note = (change: Partial<Head> = {}, by = key) =>
  signed(writeHead({ ...head, ...change }), ORIGIN, [by]);
const accept =
  (one: ReturnType<typeof note>, last?: ReturnType<typeof note>, now = NOW) =>
  () =>
    acceptHead(trust, one, last, now, "the head");

test("reads what was written, in the order of the grammar", () => {
  expect(readHead(writeHead(head), "a head")).toEqual(head);
  expect(writeHead({ ...head, indices: head.indices.toReversed() })).toBe(writeHead(head));
  expect(writeHead(head).split("\n")).toEqual([
    "kmodfarm head v1",
    "origin farm.example.org/drivers",
    "serial 412",
    "issued 2026-11-28T02:10:00Z",
    "expires 2026-12-05T02:10:00Z",
    `generation 300 ${sha256("a generation").slice(7)}`,
    `index doorbell aarch64 1 ${sha256("a").slice(7)} floor 0.1.0`,
    `index doorbell x86_64 2+1 ${sha256("b").slice(7)} floor -`,
    "",
  ]);
});

test("2,000 drivers and machines fit, whatever their names, with every signature that a note may have", () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, at) => ({
      driver: `d${at}`.padEnd(128, "x"),
      ...{ machine: "aarch64", widths: "2+2+1", top: sha256("a"), floor: "1".repeat(128) },
    }));
  const indices = many(2000);
  const large = signed(writeHead({ ...head, indices }), ORIGIN, Array<typeof key>(16).fill(key));

  const again = readNote(Buffer.from(writeNote(large)), HEAD_LIMIT_BYTES, "a head");
  expect(readHead(again.text, "a head").indices).toHaveLength(2000);
  expect(() => writeHead({ ...head, indices: many(2300) })).toThrow(coded("NOTE_MALFORMED"));
});

test("a head is taken that a trusted key signed, once and again", () => {
  expect(accept(note())()).toEqual(head);
  expect(accept(note(), note())()).toEqual(head);
  expect(accept(note({ serial: 413 }), note())().serial).toBe(413);
});

test("a rotated-out key, a root's key and another registry's head are refused", () => {
  for (const by of [oldKey, root]) expect(accept(note({}, by))).toThrow(coded("METADATA_UNSIGNED"));
  expect(accept(note({ origin: "other.example.org" }))).toThrow(coded("METADATA_UNSIGNED"));
});

test("D27: neither serial nor generation falls", () => {
  expect(accept(note({ serial: 411 }), note())).toThrow(coded("METADATA_ROLLED_BACK"));
  expect(accept(note({ serial: 413, generation: { ...head.generation, number: 299 } }), note())).toThrow(
    coded("METADATA_ROLLED_BACK"),
  );
});

test("two heads of one serial are refused", () => {
  expect(accept(note({ indices: [] }), note())).toThrow(coded("METADATA_FORKED"));
});

test("D28: expiry ends what is new, and a clock before the last head proves nothing fresh", () => {
  const at = (time: string) => accept(note(), note(), new Date(time));

  expect(at("2026-12-05T02:09:59Z")).not.toThrow();
  expect(at("2026-12-05T02:10:00Z")).toThrow(coded("METADATA_EXPIRED"));
  expect(at("2026-11-28T02:09:59Z")).toThrow(coded("METADATA_EXPIRED"));
  expect(at("2026-11-28T02:10:00Z")).not.toThrow();
  const expired = { ...trust, expires: "2026-11-28T23:00:00Z" };
  expect(() => acceptHead(expired, note(), undefined, NOW, "the head")).toThrow(coded("METADATA_EXPIRED"));
});

test("every change of a head's text is refused", () => {
  const { text, signatures } = note();
  const survives = (changed: Buffer): boolean => {
    try {
      acceptHead(trust, { text: changed.toString("utf8"), signatures }, undefined, NOW, "the head");
      return true;
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(FarmError);
      return false;
    }
  };

  expect([...changedLines(text)].filter(({ changed }) => survives(changed)).map(({ what }) => what)).toEqual(
    [],
  );
  expect(
    [...changedBytes(Buffer.from(text))].filter(({ changed }) => survives(changed)).map(({ at }) => at),
  ).toEqual([]);
});

test("whoever signs it, a change of a line is refused or says something else", () => {
  const text = writeHead(head);
  const changes = [...changedLines(text)];
  const same = changes.filter(({ changed }) => {
    try {
      return writeHead(readHead(changed.toString("utf8"), "a head")) === text;
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: "NOTE_MALFORMED" });
      return false;
    }
  });

  expect(changes.length).toBeGreaterThan(400);
  expect(same.map(({ what }) => what)).toEqual([]);
});
