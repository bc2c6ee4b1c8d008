import fc from "fast-check";
import { expect, test } from "vitest";
import { visible, visibleJson } from "./visible.ts";

const STEERING = /[\p{Cc}\p{Bidi_Control}]|##\[/u;

test("spells out what steers a terminal and leaves the rest", () => {
  expect(visible("a\u001b[31mb\u009bc\u202ed\rä\n\te")).toBe("a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{d}ä\n\te");
});

test.each([
  ["##vso[task.prependpath]/tmp", "#\\u{23}vso[task.prependpath]/tmp"],
  ["a\n::error::b\n  ::stop-commands::c", "a\n\\u{3a}:error::b\n  \\u{3a}:stop-commands::c"],
  ["std::vector ::x ## vso[a]", "std::vector ::x ## vso[a]"],
])("gives a runner that reads the log no command: %j", (text, shown) => {
  expect(visible(text)).toBe(shown);
});

test("gives a runner that reads the log no command", () => {
  expect(visible("a ##[set-output name=x]b ###[c] #[d] ##e")).toBe(
    "a #\\u{23}[set-output name=x]b ##\\u{23}[c] #[d] ##e",
  );
  expect(JSON.parse(visibleJson('{"a":"##[b]"}'))).toEqual({ a: "##[b]" });
  expect(visibleJson('{"a":"##[b]"}')).not.toContain("##[");
});

/** Any code unit, what steers a terminal more often than not, and halves of characters. */
const text = fc
  .array(
    fc.oneof(
      fc.nat(0xffff),
      fc.constantFrom(
        0x00,
        0x0a,
        0x1b,
        0x7f,
        0x80,
        0x9b,
        0x85,
        0x200e,
        0x2028,
        0x202e,
        0x2066,
        0xd83d,
        0xdc00,
        0x22,
        0x5c,
        0x23,
        0x5b,
      ),
    ),
  )
  .map((units) => String.fromCharCode(...units));

test.each([undefined, 2])("leaves JSON what it is, whatever is in it (indented by %s)", (indent) => {
  fc.assert(
    fc.property(fc.dictionary(text, fc.oneof(text, fc.array(text))), (value) => {
      const json = visibleJson(JSON.stringify(value, null, indent));

      expect(JSON.parse(json)).toEqual(value);
      expect(json.replaceAll("\n", "")).not.toMatch(STEERING);
    }),
  );
});
