import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { canonicalJson } from "../base/json.ts";
import { readStrictJson } from "./strict-json.ts";

const read = (text: string | Uint8Array) => readStrictJson(Buffer.from(text as string), "x");
const bytes = (...parts: (string | number[])[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string)));

describe("strict JSON", () => {
  test("is JSON", () => {
    expect(read(' {"a": [1, true, null, "\\u00e4", {"a": {}}], "b": {"a": -7}} \n')).toEqual({
      a: [1, true, null, "ä", { a: {} }],
      b: { a: -7 },
    });
  });

  test.each<[string, Uint8Array | string]>([
    ["a name that stands twice", '{"a":1,"b":2,"a":3}'],
    ["a name that stands twice, spelt differently", '{"a":1,"\\u0061":3}'],
    ["a name that stands twice further inside", '[{"b":{"a":1,"x":{"a":1},"a":1}}]'],
    ["an empty name twice", '{"":1,"":2}'],
    ["bytes after the value", '{"a":1}x'],
    ["a second value", '{"a":1}{"a":1}'],
    ["a NUL after the value", '{"a":1}\0'],
    ["a byte order mark", bytes([0xef, 0xbb, 0xbf], "{}")],
    ["UTF-16", Buffer.from('{"a":1}', "utf16le")],
    ["bytes that are no UTF-8", bytes('{"a":"', [0xc3], '"}')],
    ["an overlong form", bytes('{"a":"', [0xc0, 0xaf], '"}')],
    ["half a character", '{"a":"\\ud800"}'],
    ["half a character in a name", '{"\\udc00":1}'],
    ["a number that loses digits", "[9007199254740993]"],
    ["a fraction", "[0.1]"],
    ["an endless number", "[1e999]"],
    ["minus nothing", "[-0]"],
    ["a number that is none", "[NaN]"],
    ["a comment", '{"a":1 /* b */}'],
    ["single quotes", "{'a':1}"],
    ["a comma too many", "[1,]"],
    ["__proto__", '{"__proto__":{"a":1}}'],
    ["no value", ""],
    ["a string without end", '{"a'],
    ["an escape without end", '{"a\\'],
    ["a name that is none", "{1:2}"],
    ["a colon without a name", "{:2}"],
    ["a bomb of depth", "[".repeat(100_000)],
    ["too many values", `[${"1,".repeat(250_000)}1]`],
    ["too many objects", `[${"{},".repeat(250_000)}{}]`],
    ["too many bytes", `"${"a".repeat(1024 * 1024)}"`],
  ])("refuses %s", (_, text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: "PROVENANCE_MALFORMED" }));
  });

  test("reads what canonical JSON writes, as it was", () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 5 },
        ...[fc.maxSafeInteger().filter((one) => !Object.is(one, -0)), fc.boolean(), fc.constant(null)],
        fc.string({ unit: "grapheme" }),
        fc.array(tie("any")),
        fc.dictionary(
          fc.string({ unit: "grapheme" }).filter((name) => name !== "__proto__"),
          tie("any"),
        ),
      ),
    })).any;

    fc.assert(
      fc.property(value, (one) => {
        expect(canonicalJson(read(canonicalJson(one)))).toBe(canonicalJson(one));
      }),
    );
  });

  test("gives a value that JSON.parse gives too, or one error, for any text", () => {
    const TEXT = '{}[]:,"\\au0061 1-e.\0é';
    const text = fc.string({
      unit: fc.constantFrom(...Array.from({ length: TEXT.length }, (_, at) => TEXT.charAt(at))),
    });

    fc.assert(
      fc.property(text, (one) => {
        try {
          expect(read(one)).toEqual(JSON.parse(one));
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(FarmError);
          expect((thrown as FarmError).code).toBe("PROVENANCE_MALFORMED");
        }
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ["a name outside of any object", `"${"\\n".repeat(200_000)}"${":".repeat(200_000)}`],
    ["a name in a list", '["a":1]'],
    ["one string as two names", '{"a"::1}'],
    ["a name that is no string", "{:1}"],
  ])("refuses %s at once", (_, text) => {
    expect(() => read(text)).toThrow(/it is not JSON/);
  });

  test("takes a million quotation marks in its stride", () => {
    const began = performance.now();

    expect(() => read(`["${'\\"'.repeat(500_000)}`)).toThrow();
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
