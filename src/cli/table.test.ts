import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tableText, tsvText } from "./table.ts";

const HEAD = ["KERNEL OF", "RELEASE", "COMPILER", "MODULES"];
const ROWS = [
  [
    "debian12/x86_64",
    "6.1.0-57-amd64",
    "gcc-12",
    "store/view/doorbell/1.0.0/debian12/x86_64/6.1.0-57-amd64_6.1.170-3",
  ],
  ["debian13/aarch64", "6.12.117+deb13-arm64", "gcc-14", "-"],
];

describe("a table", () => {
  test("without a width is as wide as it is", () => {
    expect(tableText(HEAD, ROWS)).toBe(`\
KERNEL OF         RELEASE               COMPILER  MODULES
debian12/x86_64   6.1.0-57-amd64        gcc-12    store/view/doorbell/1.0.0/debian12/x86_64/6.1.0-57-amd64_6.1.170-3
debian13/aarch64  6.12.117+deb13-arm64  gcc-14    -
`);
  });

  test("leaves out what it may, then cuts, a path at its beginning", () => {
    const layout = { spare: ["COMPILER"], paths: ["MODULES"] };

    expect(tableText(HEAD, ROWS, { width: 66, ...layout })).toBe(`\
KERNEL OF         RELEASE               MODULES
debian12/x86_64   6.1.0-57-amd64        …/6.1.0-57-amd64_6.1.170-3
debian13/aarch64  6.12.117+deb13-arm64  -
`);
    expect(tableText(HEAD, ROWS, { width: 50, ...layout })).toContain("…");
  });

  test("is never wider than it may be, and keeps its rows", () => {
    const cell = fc.string({ unit: "grapheme", maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cell, cell, cell, cell), { maxLength: 8 }),
        fc.integer({ min: 40, max: 200 }),
        (rows, width) => {
          const lines = tableText(HEAD, rows, { width, spare: ["COMPILER"] })
            .trimEnd()
            .split("\n");

          expect(Math.max(...lines.map((line) => Array.from(line).length))).toBeLessThanOrEqual(width);
          expect(lines.length).toBeLessThanOrEqual(rows.length + 1);
        },
      ),
    );
  });
});

test("TSV has a line for each row, whatever is in its cells", () => {
  expect(
    tsvText(
      ["A", "B"],
      [
        ["a\tb", "c\nd"],
        ["", "e\u001b[31m"],
      ],
    ),
  ).toBe("A\tB\na\\tb\tc\\nd\n\te\\u{1b}[31m\n");
});
