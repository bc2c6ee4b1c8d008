import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readGpgStatus } from "./gpg-status.ts";

const KEY = "99E617FE5DB527C0D8BD5F8E11CF1F95C87F5B1A";
const valid = (madeAt: string | number = 1_600_000_000, digest = 8) =>
  `VALIDSIG ${"B".repeat(40)} 2020-09-13 ${madeAt} 0 4 0 1 ${digest} 00 ${KEY}`;
const read = (...lines: readonly string[]) =>
  readGpgStatus(["gpgv: words", ...lines.map((line) => `[GNUPG:] ${line}`), ""].join("\n"));

describe("what gpgv says of a signature", () => {
  test.each<[string, readonly string[], ReturnType<typeof readGpgStatus>]>([
    ["good", ["NEWSIG", "GOODSIG 11CF A name", valid()], { kind: "good", key: KEY, digestAlgorithm: 8 }],
    [
      "good by a key whose time ended later",
      ["NEWSIG", "KEYEXPIRED 1600000001", "EXPKEYSIG 11CF A", valid()],
      { kind: "good", key: KEY, digestAlgorithm: 8 },
    ],
    [
      "the same with times as words",
      ["NEWSIG", "KEYEXPIRED 20200914T000000", "EXPKEYSIG 11CF A", valid("20200913T000000")],
      { kind: "good", key: KEY, digestAlgorithm: 8 },
    ],
    [
      "made after its key's time",
      ["NEWSIG", "KEYEXPIRED 1599999999", "EXPKEYSIG 11CF A", valid()],
      { kind: "expired", key: KEY },
    ],
    [
      "by a key of which one part's time was over",
      ["NEWSIG", "KEYEXPIRED 1599999999", "KEYEXPIRED 1700000000", "EXPKEYSIG 11CF A", valid()],
      { kind: "expired", key: KEY },
    ],
    [
      "by a key whose end it does not tell",
      ["NEWSIG", "EXPKEYSIG 11CF A", valid()],
      { kind: "expired", key: KEY },
    ],
    ["past its own time", ["NEWSIG", "EXPSIG 11CF A", valid()], { kind: "expired", key: KEY }],
    [
      "by a revoked key",
      ["NEWSIG", "KEYREVOKED", "REVKEYSIG 11CF A", valid()],
      { kind: "revoked", key: KEY },
    ],
    ["bad", ["NEWSIG", "BADSIG 11CF A"], { kind: "bad" }],
    ["bad, and good", ["NEWSIG", "BADSIG 11CF A", "GOODSIG 11CF A", valid()], { kind: "bad" }],
    [
      "by a key that it does not have",
      ["NEWSIG", "ERRSIG 11CF1F95C87F5B1A 1 8 00 1600000000 9 -", "NO_PUBKEY 11CF1F95C87F5B1A"],
      { kind: "strangeKey", key: "11CF1F95C87F5B1A" },
    ],
    [
      "of an algorithm that it does not know",
      ["NEWSIG", "ERRSIG 11CF 99 8 00 1 4 -"],
      { kind: "unreadable" },
    ],
    [
      "two good ones",
      ["NEWSIG", "GOODSIG 1 A", valid(), "NEWSIG", "GOODSIG 1 A", valid()],
      { kind: "several" },
    ],
    ["valid, and not whether good", ["NEWSIG", valid()], { kind: "unreadable" }],
    ["valid by no key", ["NEWSIG", "GOODSIG 1 A", "VALIDSIG 1 2 3"], { kind: "unreadable" }],
    ["nothing", ["NODATA 4"], { kind: "unreadable" }],
  ])("%s", (_, lines, answer) => {
    expect(read(...lines)).toEqual(answer);
  });

  test("is an answer, whatever it says, and good for nothing but one signature that is said to be good", () => {
    const word = fc.constantFrom(
      "NEWSIG",
      "GOODSIG 1 A",
      "BADSIG 1 A",
      "EXPSIG 1 A",
      "REVKEYSIG 1",
      valid(),
      "X",
    );
    const line = fc.oneof(word, fc.string());
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        const { kind } = read(...lines);

        const count = (start: string) => lines.filter((one) => one.split(" ")[0] === start).length;
        if (kind === "good") expect([count("NEWSIG"), count("BADSIG"), count("GOODSIG")]).toEqual([1, 0, 1]);
      }),
    );
    expect(readGpgStatus("NEWSIG\nGOODSIG\n").kind).toBe("unreadable");
  });
});
