import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { type Elf, readElf, readNotes, SHF_ALLOC, SHT_NOBITS } from "./elf.ts";

const FIXTURES = globSync(`${import.meta.dirname}/../../test/fixtures/modules/*.ko`).sort();
const SAMPLE = readFileSync(FIXTURES.find((file) => file.endsWith("crc7.ko")) ?? "");
const REAL_MODULES = process.env.KMODFARM_MODULES;

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

  test("gives a value or MODULE_MALFORMED for every truncation and every flipped bit", () => {
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
    compareWithReadelf(FIXTURES);
  });

  test("agrees on every module under KMODFARM_MODULES", { timeout: 1_800_000 }, ({ skip }) => {
    if (REAL_MODULES === undefined) return skip("KMODFARM_MODULES names no directory of modules");
    const files = globSync(`${REAL_MODULES}/**/*.ko`);
    expect(files.length).toBeGreaterThan(0);
    for (let at = 0; at < files.length; at += 20) compareWithReadelf(files.slice(at, at + 20));
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
  return { name: ".note", type: 7, flags: 0, offset: 0, size: bytes.length, link: 0, info: 0, bytes };
}

function compareWithReadelf(files: readonly string[]): void {
  const output = execFileSync("readelf", ["-h", "-S", "-s", "-W", ...files], { maxBuffer: 1 << 30 });
  const parts = output
    .toString("latin1")
    .split(/^File: .*$/m)
    .filter((part) => part.trim() !== "");
  expect(parts).toHaveLength(files.length);
  for (const [index, file] of files.entries()) {
    const said = parts[index] ?? "";
    const elf = readElf(readFileSync(file), file);
    expect(sectionLines(elf), file).toEqual(saidSections(said));
    expect(symbolLines(elf), file).toEqual(saidSymbols(said, elf));
    const machine = /Machine: +(.*)/.exec(said)?.[1];
    expect(elf.machine, file).toBe(machine === "AArch64" ? 183 : 62);
  }
}

function sectionLines(elf: Elf): string[] {
  return elf.sections.map(({ name, type, flags, offset, size, link, info }) => {
    const kind = `${type === SHT_NOBITS ? "NOBITS" : ""} ${(flags & SHF_ALLOC) !== 0 ? "A" : ""}`;
    return `${name} ${kind} ${offset.toString(16)} ${size.toString(16)} ${link} ${info}`;
  });
}

function saidSections(said: string): string[] {
  const line =
    /^ +\[ *\d+\] (.*?) +([A-Z_][\w:]*) +[0-9a-f]{16} ([0-9a-f]+) ([0-9a-f]+) [0-9a-f]+ +([A-Za-z]*) +(\d+) +(\d+) +\d+$/gm;
  return [...said.matchAll(line)].map(([, name, type, offset, size, flags, link, info]) => {
    const kind = `${type === "NOBITS" ? "NOBITS" : ""} ${flags?.includes("A") ? "A" : ""}`;
    return `${name?.trim()} ${kind} ${hexadecimal(offset)} ${hexadecimal(size)} ${link} ${info}`;
  });
}

function symbolLines(elf: Elf): string[] {
  return elf.symbols.map(({ name, value, binding, section }) => {
    // As readelf shows control characters; the assembler's numbered labels have them.
    const shown = name.replaceAll(/\p{Cc}/gu, (c) => `^${String.fromCharCode(c.charCodeAt(0) + 64)}`);
    return `${value.toString(16)} ${binding} ${section} ${shown}`;
  });
}

function saidSymbols(said: string, elf: Elf): string[] {
  const bindings = ["LOCAL", "GLOBAL", "WEAK"];
  const special: Record<string, string> = { UND: "0", ABS: "65521", COM: "65522" };
  const line = /^ +[1-9]\d*: ([0-9a-f]{16}) +\S+ (\S+) +(\S+) +\S+ +(?:\[[^\]]*\] +)?(\w+)(?: (.*))?$/gm;
  return [...said.matchAll(line)].map(([, value, type, binding, place = "", name = ""]) => {
    const section = special[place] ?? place;
    // readelf shows a section's name where the symbol itself has none.
    const own = type === "SECTION" && elf.sections[Number(section)]?.name === name ? "" : name;
    return `${hexadecimal(value)} ${bindings.indexOf(binding ?? "")} ${section} ${own}`;
  });
}

function hexadecimal(digits: string | undefined): string {
  return BigInt(`0x${digits}`).toString(16);
}
