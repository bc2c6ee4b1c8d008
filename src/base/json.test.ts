import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { canonicalJson, digestOf, hexOf, parseDocument, sha256, toDocument } from "./json.ts";

describe("canonicalJson", () => {
  test("gives the text of RFC 8785, section 3.2.4", () => {
    const value = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`);

    const text = canonicalJson(value);

    const numbers = "[333333333.3333333,1e+30,4.5,0.002,1e-27]";
    const string = String.raw`"€$\u000f\nA'B\"\\\\\"/"`;
    expect(text).toBe(`{"literals":[null,true,false],"numbers":${numbers},"string":${string}}`);
  });

  test("sorts keys by UTF-16 code units, as RFC 8785, section 3.2.3 has it", () => {
    const value = {
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      1: "One",
      "\ud83d\ude00": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis",
    };

    const order = [...canonicalJson(value).matchAll(/":"([^"]+)"/g)].map(([, name]) => name);

    expect(order).toEqual([
      "Carriage Return",
      "One",
      "Control",
      "Latin Small Letter O With Diaeresis",
      "Euro Sign",
      "Emoji: Grinning Face",
      "Hebrew Letter Dalet With Dagesh",
    ]);
  });

  /** RFC 8785, appendix B. */
  test.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("writes the number with the bits %s as %s", (bits, text) => {
    expect(canonicalJson(Buffer.from(bits, "hex").readDoubleBE())).toBe(text);
  });

  test("leaves out members that are undefined", () => {
    expect(canonicalJson({ b: undefined, a: { c: undefined } })).toBe('{"a":{}}');
  });

  test.each([
    ["no number", Number.NaN],
    ["infinity", [Number.POSITIVE_INFINITY]],
    ["undefined in a list", [undefined]],
    ["a function", { a: () => 1 }],
    ["a big integer", 1n],
    ["a lone surrogate", "\ud83d"],
    ["a lone surrogate in a key", { "\ude00": 1 }],
  ])("refuses %s", (_, value) => {
    expect(() => canonicalJson(value)).toThrow(expect.objectContaining({ code: "BUG" }));
  });

  test("is the same whatever the order of keys, and says what JSON.stringify says", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.infiniteStream(fc.nat()), (value, choices) => {
        const text = canonicalJson(value);

        expect(canonicalJson(reordered(value, choices))).toBe(text);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(text).toHaveLength(JSON.stringify(value).length);
      }),
    );
  });
});

describe("digests", () => {
  test("are what sha256sum gives for the canonical text", () => {
    const digest = digestOf({ b: 1, a: "ä" });

    // printf '%s' '{"a":"ä","b":1}' | sha256sum
    const known = "507aab815f2bdfce1c740c0b1ae7b1c874f56b9aa5b9ab109a07b57365148233";
    expect(digest).toBe(sha256('{"a":"ä","b":1}'));
    expect(hexOf(digest)).toBe(known);
  });

  test("differ when a value does", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(digestOf(a) === digestOf(b)).toBe(canonicalJson(a) === canonicalJson(b));
      }),
    );
  });
});

describe("parseDocument", () => {
  const Kernel = z.object({ sources: z.array(z.object({ kind: z.string() })) });

  test("collects no million complaints of a document that is wrong in a million places", () => {
    const Long = z.object({ items: z.array(z.object({ a: z.string(), b: z.number() })) });
    const good = Array.from({ length: 100_000 }, (_, at) => ({ a: `${at}`, b: at }));

    expect(parseDocument(Long, JSON.stringify({ items: good }), "it").items).toEqual(good);
    const complaints = () => parseDocument(Long, `{"items":[${"{},".repeat(1_000_000)}0]}`, "it");
    expect(complaints).toThrow(/items\[0\]\.a: .* \(and \d{1,3} more\), in a sample of its lists$/);
    // A single one is found too, wherever it is.
    const one = JSON.stringify({ items: good.with(77_777, { a: "", b: "x" } as never) });
    expect(() => parseDocument(Long, one, "it")).toThrow(/items\[\d+\]\.b/);
  });

  test("reads what toDocument writes", () => {
    const value = { sources: [{ kind: "apt" }] };

    const text = toDocument(value);

    expect(text.endsWith("}\n")).toBe(true);
    expect(parseDocument(Kernel, text, "a.json")).toEqual(value);
  });

  test.each([
    ["text that is cut off", '{"sources":[', /^a\.json is not JSON: /],
    ["a wrong member", '{"sources":[{"kind":1}]}', /^a\.json: sources\[0\]\.kind: .*string/],
    ["another kind of value", "[]", /^a\.json: document: .*object/],
    ["several wrong members", '{"sources":[1,2]}', /^a\.json: sources\[0\]: .* \(and 1 more\)$/],
  ])("refuses %s", (_, text, words) => {
    expect(() => parseDocument(Kernel, text, "a.json")).toThrow(
      expect.objectContaining({ code: "DOCUMENT_INVALID", message: expect.stringMatching(words) }),
    );
  });
});

/** The same value with the members of each object in another order. */
function reordered(value: unknown, choices: Iterator<number>): unknown {
  if (Array.isArray(value)) return value.map((member) => reordered(member, choices));
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).map(([key, member]) => [key, reordered(member, choices)] as const);
  const keyed = members.map((member) => ({ member, place: choices.next().value as number }));
  return Object.fromEntries(keyed.toSorted((a, b) => a.place - b.place).map(({ member }) => member));
}
