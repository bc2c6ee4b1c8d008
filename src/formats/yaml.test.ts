import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readYaml } from "./yaml.ts";

describe("readYaml", () => {
  test("reads what a configuration holds", () => {
    const text = "# ours\na: &x [1, two]\nb: *x\nc: |\n  lines\n  of text\n'd e': {f: null}\n";

    expect(readYaml(text)).toEqual({ kind: "read", value: parse(text) });
  });

  test("reads JSON, on one line or on many", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 20 }), fc.constantFrom(undefined, 2), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent);
        expect(readYaml(text)).toEqual({ kind: "read", value: parse(text) });
      }),
    );
  });

  test.each([
    ["a key twice", "a: 1\nb: 2\na: 3\n", "Map keys must be unique at line 3, column 1"],
    ["a key twice, further down", "x:\n  - {b: 1, b: 2}\n", "Map keys must be unique at line 2, column 12"],
    ["a bracket that is not closed", "a: [\n", /at line 2, column 1$/],
    ["more aliases than anybody writes", `- &a [x]\n${"- *a\n".repeat(200)}`, /[aA]lias/],
    ["too many brackets", "[".repeat(101), /deeper than 100/],
    ["too many keys in a row", "a: ".repeat(101), /deeper than 100/],
    ["too many anchors that are keys in a row", `${"&a: ".repeat(101)}x`, /deeper than 100/],
    ["too many long keys in a row", `${"k".repeat(200)}: `.repeat(101), /deeper than 100/],
    ["too many lists in a row", `${"- ".repeat(101)}x`, /deeper than 100/],
    ["more than a megabyte", `a: ${"x".repeat(1024 * 1024)}`, /longer than 1048576 characters/],
  ])("refuses %s, and says where", (_, text, fault) => {
    expect(readYaml(text)).toEqual({ kind: "refused", fault: expect.stringMatching(fault) });
  });

  test.each(["&a: ", "!a: ", "&a:: ", "- &a: ", ":: "])(
    "takes no time over %j as often as it may stand",
    (mark) => {
      expect(
        cpuMs(() => readYaml(`${mark.repeat(Math.floor(98 / mark.trim().split(" ").length))}x`)),
      ).toBeLessThan(500);
    },
  );

  test("has a value or a fault on one line for any text", () => {
    const pieces = fc.constantFrom(
      ..."[]{},:?-&*!|>'\"%@#\t\n \\axé".split(""),
      "- ",
      ": ",
      "? ",
      "<<: ",
      "---\n",
      "__proto__: ",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 200 }), (parts) => {
        const yaml = readYaml(parts.join(""));
        if (yaml.kind === "refused") expect(yaml.fault).not.toContain("\n");
      }),
    );
  });

  test.each([
    ["keys", "", (index: number) => `k${index}: 1\n`],
    ["keys of one map on a line", "{", (index: number) => `k${index}: 1, `],
    ["the same key", "", () => "a: 1\n"],
    ["anchors", "", (index: number) => `- &x${index} 1\n`],
    ["commas", "[", () => ","],
    ["quotes", "", () => '"\n'],
    ["errors", "", () => "a: b: c\n"],
    ["empty lists", "", () => "[]"],
  ])("costs eight times as much for eight times as many %s", (_, begin, piece) => {
    const cost = (count: number) => {
      const text = begin + Array.from({ length: count }, (_one, index) => piece(index)).join("");
      return Math.min(...Array.from({ length: 4 }, () => cpuMs(() => readYaml(text))));
    };

    // What compares each with all others would cost sixty-four times as much.
    expect(cost(4_000)).toBeLessThan(40 * Math.max(cost(500), 4));
  });
});

function cpuMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
