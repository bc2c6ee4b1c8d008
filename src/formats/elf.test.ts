import { globSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareStructure } from "../../test/support/module-tools.ts";
import { FarmError } from "../base/error.ts";
import { readElf, readNotes } from "./elf.ts";

const FIXTURES = globSync(`${import.meta.dirname}/../../test/fixtures/modules/*.ko`).sort();
const SAMPLE = readFileSync(FIXTURES.find((file) => file.endsWith("crc7.ko")) ?? "");

describe("readElf", () => {
  test("reads header, sections and symbols of a real file", () => {
    const elf = readElf(SAMPLE, "crc7.ko");

    const text = elf.sections.find(({ name }) => name === ".text");
    expect(elf.machine).toBe(62);
    expect(text?.bytes).toEqual(SAMPLE.subarray(text?.offset, (text?.offset ?? 0) + (text?.size ?? 0)));
    expect(elf.symbols.map(({ name }) => name)).toContain("crc7_be");
    expect(elf.symbols).not.toContainEqual(expect.objectContaining({ name: "", section: 0 }));
  });

  test("reads a view into a larger buffer", () => {
    const larger = Buffer.concat([Buffer.alloc(13, 0xff), SAMPLE]);

    expect(readElf(larger.subarray(13), "crc7.ko")).toEqual(readElf(SAMPLE, "crc7.ko"));
  });

  test.each([
    ["an empty file", (bytes: Buffer) => bytes.subarray(0, 0), "shorter than an ELF header"],
    ["another magic", (bytes: Buffer) => bytes.fill("MZ", 0, 2), "not ELF"],
    ["32 bits", (bytes: Buffer) => bytes.fill(1, 4, 5), "not 64-bit little-endian"],
    ["big-endian", (bytes: Buffer) => bytes.fill(2, 5, 6), "not 64-bit little-endian"],
    ["an executable", (bytes: Buffer) => bytes.fill(2, 16, 17), "its ELF type is 2"],
    ["a section table beyond 2^53", (bytes: Buffer) => bytes.fill(0xff, 40, 48), "beyond 2^53"],
    ["a section table behind the end", (bytes: Buffer) => bytes.fill(0x7f, 40, 43), "not inside the file"],
    ["a section table inside the header", (bytes: Buffer) => bytes.fill(0, 40, 48), "not inside the file"],
    ["no sections", (bytes: Buffer) => bytes.fill(0, 60, 62), "it has 0 sections"],
    ["65,535 sections", (bytes: Buffer) => bytes.fill(0xff, 60, 62), "it has 65535 sections"],
    [
      "section headers of another size",
      (bytes: Buffer) => bytes.fill(40, 58, 59),
      "headers have a wrong size",
    ],
    ["section names outside the table", (bytes: Buffer) => bytes.fill(0xff, 62, 64), "not a string table"],
    ["a null section with a size", (bytes: Buffer) => section(bytes, 0).fill(1, 32, 33), "section 0"],
    ["a section behind the end", (bytes: Buffer) => named(bytes, ".text").fill(0x7f, 24, 27), "not inside"],
    ["a link to nowhere", (bytes: Buffer) => named(bytes, ".text").fill(0xff, 40, 44), "links to section"],
    ["no symbol table", (bytes: Buffer) => named(bytes, ".symtab").fill(1, 4, 5), "0 symbol tables"],
    ["two symbol tables", (bytes: Buffer) => named(bytes, ".text").fill(2, 4, 5), "2 symbol tables"],
    ["half a symbol", (bytes: Buffer) => named(bytes, ".symtab").fill(0x19, 32, 33), "a wrong size"],
    [
      "a name outside",
      (bytes: Buffer) => named(bytes, ".text").fill(0x7f, 0, 4),
      "not inside its string table",
    ],
  ])("refuses %s", (_, spoil, fact) => {
    const bytes = spoiled(spoil);

    expect(() => readElf(bytes, "drivers/a.ko")).toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringContaining(fact) }),
    );
    expect(() => readElf(bytes, "drivers/a.ko")).toThrow(/^drivers\/a\.ko: /);
  });

  test("refuses names without end instead of collecting them a million times", () => {
    const bytes = Buffer.from(SAMPLE);
    const strings = readElf(bytes, "a").sections.find(({ name }) => name === ".strtab");
    const text = Buffer.concat([Buffer.alloc(1), Buffer.alloc(5000, "x"), Buffer.alloc(1)]);
    const header = named(bytes, ".strtab");
    header.writeBigUInt64LE(BigInt(bytes.length), 24);
    header.writeBigUInt64LE(BigInt(text.length), 32);

    expect(strings?.size).toBeLessThan(5000);
    expect(() => readElf(Buffer.concat([bytes, text]), "a.ko")).toThrow(/longer than 1024 bytes/);
  });

  test("gives a value or MODULE_MALFORMED for every truncation and every flipped bit", {
    tags: ["wide"],
  }, () => {
    for (let length = 0; length < SAMPLE.length; length++) attempt(SAMPLE.subarray(0, length));
    const bytes = Buffer.from(SAMPLE);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      attempt(bytes);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  test("gives a value or MODULE_MALFORMED for any bytes", () => {
    const edits = fc.array(
      fc.tuple(fc.nat(SAMPLE.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 })),
    );

    fc.assert(
      fc.property(edits, (changes) => {
        const bytes = Buffer.from(SAMPLE);
        for (const [at, replacement] of changes) bytes.set(replacement.subarray(0, bytes.length - at), at);
        attempt(bytes);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), attempt));
  });
});

describe("readNotes", () => {
  const note = (...parts: readonly string[]) => [
    ...readNotes(noteSection(Buffer.from(parts.join(""), "hex")), "a"),
  ];

  test("reads notes whose names and descriptions are padded", () => {
    const notes = note("06000000", "01000000", "00010000", "4c696e757800", "0000", "61000000");

    expect(notes).toEqual([{ owner: "Linux", type: 0x100, description: Buffer.from("a") }]);
  });

  test("reads a last note without padding, and no note at all", () => {
    expect(note("04000000", "01000000", "03000000", "474e5500", "61")).toHaveLength(1);
    expect(note()).toEqual([]);
  });

  test.each([
    ["a cut header", ["04000000", "01000000"], "cut off"],
    ["a name without end", ["ffffffff", "00000000", "00000000"], "longer than its section"],
    ["a description without end", ["00000000", "ffffffff", "00000000"], "longer than its section"],
  ])("refuses %s", (_, parts, fact) => {
    expect(() => note(...parts)).toThrow(fact);
  });
});

describe("readElf against readelf", () => {
  test("agrees on the fixtures", () => {
    expect(FIXTURES.length).toBeGreaterThan(1);
    compareStructure(FIXTURES);
  });
});

function attempt(bytes: Uint8Array): void {
  try {
    for (const section of readElf(bytes, "x").sections)
      if (section.type === 7) Array.from(readNotes(section, "x"));
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "MODULE_MALFORMED") throw thrown;
  }
}

/** A copy of the sample, changed; what `spoil` returns counts only when it is the copy or its beginning. */
function spoiled(spoil: (bytes: Buffer) => Buffer): Buffer {
  const bytes = Buffer.from(SAMPLE);
  return spoil(bytes).length === 0 ? Buffer.alloc(0) : bytes;
}

/** The header of a section, as a view to change. */
function section(bytes: Buffer, index: number): Buffer {
  const at = Number(bytes.readBigUInt64LE(40)) + index * 64;
  return bytes.subarray(at, at + 64);
}

function named(bytes: Buffer, name: string): Buffer {
  return section(
    bytes,
    readElf(SAMPLE, "").sections.findIndex((candidate) => candidate.name === name),
  );
}

function noteSection(bytes: Uint8Array) {
  return {
    name: ".note",
    type: 7,
    flags: 0,
    offset: 0,
    size: bytes.length,
    link: 0,
    info: 0,
    alignment: 4,
    bytes,
  };
}
