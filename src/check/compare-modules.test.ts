import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readElf } from "../formats/elf.ts";
import { compareModules } from "./compare-modules.ts";

const MODULE = readFileSync(join(import.meta.dirname, "../../test/fixtures/modules/crc7.ko"));
const PLACES = [["directory", "/build", "/somewhere/else"]] as const;

/** The module with some bytes of one section replaced. */
function changed(section: string, change: (bytes: Uint8Array) => void): Uint8Array {
  const copy = Uint8Array.from(MODULE);
  const found = readElf(copy, "crc7.ko").sections.find(({ name }) => name === section);
  if (found === undefined) throw new Error(`the fixture has no ${section}`);
  change(found.bytes);
  return copy;
}

const flip = (bytes: Uint8Array) => {
  bytes[0] = (bytes[0] ?? 0) ^ 0xff;
};

describe("compareModules", () => {
  test("says equal of equal bytes", () => {
    expect(compareModules("crc7", MODULE, Uint8Array.from(MODULE))).toEqual({
      name: "crc7",
      isEqual: true,
      isCodeEqual: true,
      differences: [],
      causes: [],
    });
  });

  test("names the section, where it differs and how much", () => {
    const { differences, isEqual, isCodeEqual, causes } = compareModules(
      "crc7",
      MODULE,
      changed(".text", flip),
    );

    expect(differences).toEqual([
      expect.objectContaining({ section: ".text", kind: "bytes", firstAt: 0, differingBytes: 1 }),
    ]);
    expect({ isEqual, isCodeEqual }).toEqual({ isEqual: false, isCodeEqual: false });
    expect(causes).toEqual([expect.stringContaining("the code itself")]);
  });

  test("knows a build id that differs alone, and that the code is the same", () => {
    const comparison = compareModules(
      "crc7",
      MODULE,
      changed(".note.gnu.build-id", (bytes) => flip(bytes.subarray(16))),
    );

    expect(comparison).toMatchObject({ isEqual: false, isCodeEqual: true });
    expect(comparison.causes).toEqual([expect.stringContaining("build id alone")]);
  });

  test("tells which texts only one of them holds", () => {
    const other = changed(".modinfo", (bytes) => {
      const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf("license=");
      bytes[at + 8] = "X".charCodeAt(0);
    });

    const { differences } = compareModules("crc7", MODULE, other);

    expect(differences[0]?.strings.first).toEqual([expect.stringMatching(/^license=/)]);
    expect(differences[0]?.strings.second).toEqual([expect.stringMatching(/^license=X/)]);
  });

  test("knows an attached signature as bytes after the sections", () => {
    const { differences, isCodeEqual } = compareModules(
      "crc7",
      MODULE,
      Buffer.concat([MODULE, Buffer.from("signed")]),
    );

    expect(differences.map(({ section }) => section)).toEqual(["(after the sections)"]);
    expect(isCodeEqual).toBe(true);
  });

  test("knows a difference between the sections as one of the layout", () => {
    const copy = Uint8Array.from(MODULE);
    const table = Number(new DataView(copy.buffer).getBigUint64(40, true));
    copy[table + 64 + 48] = (copy[table + 64 + 48] ?? 0) ^ 1; // sh_addralign of section 1

    const { differences, isCodeEqual, causes } = compareModules("crc7", MODULE, copy);

    expect(differences).toEqual([expect.objectContaining({ section: "(layout)", differingBytes: 1 })]);
    expect(isCodeEqual).toBe(false);
    expect(causes).toEqual([expect.stringContaining("the code itself")]);
  });

  test("compares what is no ELF as a whole", () => {
    const { differences } = compareModules(
      "x",
      Buffer.from("built in /build/a"),
      Buffer.from("built in /somewhere/else/a"),
      PLACES,
    );

    expect(differences).toEqual([expect.objectContaining({ section: "(whole file)", kind: "size" })]);
  });

  test.each([
    ["built in /build now", "built in /somewhere/else now", /build directory/],
    ["made Nov 24 2026 12:00:01", "made Nov 24 2026 12:00:07", /a date or a time/],
    ["at 1795500000 seconds", "at 1795500007 seconds", /a date or a time/],
    ["id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7", /random/],
    // Digits of chance that look like a time, and like the number of a user.
    ["id 0f8fad5b-d9cb-469f-a165-1595867289ae", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7", /random/],
    ["id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e04321f90ae7", /random/],
  ])("guesses why: %s", (first, second, cause) => {
    const places = [...PLACES, ["user", "1000", "4321"]] as const;
    const { causes } = compareModules("x", Buffer.from(first), Buffer.from(second), places);

    expect(causes).toEqual([expect.stringMatching(cause)]);
  });

  test("finds any difference there is, and none where there is none, whatever the bytes are", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.tuple(fc.nat(MODULE.length - 1), fc.nat(255)).map(([at, value]) => {
        const copy = Uint8Array.from(MODULE);
        copy[at] = value;
        return copy;
      }),
      fc.nat(MODULE.length).map((length) => MODULE.subarray(0, length)),
    );
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        const forth = compareModules("x", a, b, PLACES);
        const back = compareModules("x", b, a, PLACES);

        const isEqual = Buffer.compare(a, b) === 0;
        expect(forth.isEqual).toBe(isEqual);
        expect(back.isEqual).toBe(isEqual);
        expect(forth.causes.length > 0).toBe(!isEqual);
        expect(back.differences.map(({ section }) => section).toSorted()).toEqual(
          forth.differences.map(({ section }) => section).toSorted(),
        );
        expect(JSON.stringify(forth).length).toBeLessThan(200_000);
      }),
      { numRuns: 300 },
    );
  });
});
