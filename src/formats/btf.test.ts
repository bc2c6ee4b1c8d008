import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readElf } from "./elf.ts";
import { readKernelModule } from "./kernel-module.ts";

const MODULE = readFileSync(`${import.meta.dirname}/../../test/fixtures/modules/crc7.ko`);

/** A real module whose `.BTF` was changed at one place. */
function withBtf(at: number, bytes: readonly number[]): Buffer {
  const changed = Buffer.from(MODULE);
  const section = readElf(MODULE, "").sections.find(({ name }) => name === ".BTF");
  changed.set(bytes, (section?.offset ?? Number.NaN) + at);
  return changed;
}

describe("checkBtf", () => {
  test("accepts what a kernel was built with", () => {
    expect(() => readKernelModule(withBtf(0, []), "crc7.ko")).not.toThrow();
  });

  test.each([
    ["another magic", 0, [0xeb, 0x9f], "does not begin as type information does"],
    ["another version", 2, [2], "has the version 2, not 1"],
    ["a short header", 4, [23, 0, 0, 0], "declares a header of 23 bytes"],
    ["a header beyond its end", 4, [0, 0, 0, 1], "declares a header of 16777216 bytes"],
    ["types beyond its end", 12, [0xff, 0xff, 0xff, 0x7f], "ends before its types"],
    ["strings beyond its end", 16, [0xff, 0xff, 0xff, 0xff], "ends before its strings"],
  ])("refuses %s", (_, at, bytes, fact) => {
    expect(() => readKernelModule(withBtf(at, bytes), "crc7.ko")).toThrow(
      `crc7.ko: its section .BTF ${fact}`,
    );
  });
});
