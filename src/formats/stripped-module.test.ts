import { execFileSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { readElf, SHF_ALLOC } from "./elf.ts";
import { checkStripped } from "./stripped-module.ts";

const FIXTURES = join(import.meta.dirname, "../../test/fixtures/modules");
/** Of an architecture that this machine's own strip knows. */
const NAMES = ["crc7.ko", "processor_thermal_power_floor.ko"];

/** What real tools make of a fixture, with a section of debugging information put in first. */
async function made(name: string, ...changes: readonly (readonly string[])[]) {
  const place = await temporaryDirectory();
  const [built, stripped] = [join(place, "built.ko"), join(place, "stripped.ko")];
  await writeFile(join(place, "debug"), "what a debugger wants to know");
  const debug = ["--add-section", `.debug_more=${join(place, "debug")}`];
  execFileSync("objcopy", [...debug, join(FIXTURES, name), built]);
  execFileSync("strip", ["--strip-debug", "-o", stripped, built]);
  for (const change of changes) execFileSync("objcopy", [...change, stripped]);
  return { built: await readFile(built), stripped: await readFile(stripped) };
}

const differing = (part: string) =>
  expect.objectContaining({
    code: "MODULE_MALFORMED",
    message: expect.stringContaining(`crc7.ko: stripping it changed ${part}`),
  });

describe("a stripped module", () => {
  test.each(NAMES)("is still %s when strip(1) made it", async (name) => {
    const { built, stripped } = await made(name);

    expect(readElf(built, name).sections.map((one) => one.name)).toContain(".debug_more");
    expect(readElf(stripped, name).sections.map((one) => one.name)).not.toContain(".debug_more");
    expect(() => checkStripped(built, stripped, name)).not.toThrow();
    expect(() => checkStripped(built, built, name)).not.toThrow();
  });

  test.each<[string, string[], string]>([
    ["a section that the kernel loads", ["--remove-section", ".modinfo"], "which sections it has"],
    ["the compiler's name", ["--remove-section", ".comment"], "which sections it has"],
    ["an exported symbol", ["--redefine-sym", "crc7_be=crc8_be"], "its section .rela__ksymtab"],
    ["who sees a symbol", ["--weaken-symbol", "crc7_be"], "its section .rela__ksymtab"],
    ["a symbol that nothing refers to", ["--strip-symbol", "__ksymtab_crc7_be"], "its symbols"],
    ["how a section is aligned", ["--set-section-alignment", ".text=64"], "its section .text"],
  ])("is another one without, or with another one of, %s", async (_, change, part) => {
    const { built, stripped } = await made("crc7.ko", change);

    expect(() => checkStripped(built, stripped, "crc7.ko")).toThrow(differing(part));
  });
});

describe("a bit that changes in what the kernel loads", () => {
  test("is always found, in relocations too", async () => {
    const { built, stripped } = await made("crc7.ko");
    const elf = readElf(stripped, "crc7.ko");
    const isLoaded = ({ type, flags, info }: (typeof elf.sections)[number]) =>
      type === 4 ? ((elf.sections[info]?.flags ?? 0) & SHF_ALLOC) !== 0 : (flags & SHF_ALLOC) !== 0;
    const places = elf.sections
      .filter((one) => isLoaded(one) && one.bytes.length > 0)
      .flatMap(({ offset, size }) => Array.from({ length: size }, (_, index) => offset + index));
    expect(places.length).toBeGreaterThan(1000);

    fc.assert(
      fc.property(fc.constantFrom(...places), fc.integer({ min: 0, max: 7 }), (place, bit) => {
        const changed = Buffer.from(stripped);
        changed[place] = (changed[place] as number) ^ (1 << bit);
        expect(() => checkStripped(built, changed, "crc7.ko")).toThrow(FarmError);
      }),
      { numRuns: 500 },
    );
  });

  test("anywhere else is a value or MODULE_MALFORMED", async () => {
    const { built, stripped } = await made("crc7.ko");
    fc.assert(
      fc.property(fc.nat(stripped.length - 1), fc.integer({ min: 1, max: 255 }), (place, mask) => {
        const changed = Buffer.from(stripped);
        changed[place] = (changed[place] as number) ^ mask;
        try {
          checkStripped(built, changed, "crc7.ko");
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "MODULE_MALFORMED" });
        }
      }),
      { numRuns: 1000 },
    );
  });
});
