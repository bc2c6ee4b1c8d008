import { expect, test } from "vitest";
import type { Elf, ElfSection, ElfSymbol } from "./elf.ts";
import { readGuards } from "./module-guards.ts";

const section = (name: string, hex: string, flags = 6): ElfSection => {
  const bytes = Buffer.from(hex, "hex");
  return {
    ...{ name, type: 1, flags, offset: 64, size: bytes.length, link: 0, info: 0, alignment: 1 },
    bytes,
  };
};
const symbol = (name: string, of: number, value = 0n): ElfSymbol => ({
  ...{ name, value, binding: 1, type: 2, section: of },
});
const NOTHING = section("", "", 0);

function elf(sections: readonly ElfSection[], ...symbols: readonly ElfSymbol[]): Elf {
  return { machine: 62, sections: [NOTHING, ...sections], symbols };
}

test("the first bytes of what the kernel calls are read where they are", () => {
  const text = section(".init.text", "9090f30f1efa31c0");
  const exit = section(".exit.text", "c3");

  const { entries } = readGuards(
    elf([text, exit], symbol("cleanup_module", 2), symbol("init_module", 1, 2n), symbol("other", 1)),
    "m",
  );

  expect([...entries]).toEqual([
    ["init_module", "f30f1efa"],
    ["cleanup_module", "c3"],
  ]);
});

test.each([
  ["that is somebody else's", symbol("init_module", 0)],
  ["in a section that is not there", symbol("init_module", 7)],
  ["that is a number", symbol("init_module", 0xfff1, 5n)],
])("an entry %s is none", (_, entry) => {
  expect(readGuards(elf([section(".text", "c3")], entry), "m").entries.size).toBe(0);
});

test("an entry behind its section's end has no bytes", () => {
  expect([
    ...readGuards(elf([section(".text", "c3")], symbol("init_module", 1, 1n << 60n)), "m").entries,
  ]).toEqual([["init_module", ""]]);
});

test("code, types of functions and type information are seen", () => {
  const bare = readGuards(elf([section(".rodata", "00", 2), section(".text", "")]), "m");
  const whole = readGuards(
    elf([section(".text", "c3"), section(".BTF", "9feb", 0)], symbol("__cfi_bell_init", 1)),
    "m",
  );

  expect(bare).toMatchObject({ hasCode: false, hasCfi: false, hasBtf: false });
  expect(whole).toMatchObject({ hasCode: true, hasCfi: true, hasBtf: true });
});
