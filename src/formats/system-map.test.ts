import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FarmError } from "../base/error.ts";
import { readKernelModule } from "./kernel-module.ts";
import { readSystemMap } from "./system-map.ts";

const MAP = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff8173fa40 r __ksymtab_kmalloc
ffffffff8173fa40 r __start___ksymtab_gpl
ffffffff8173fa4c r __ksymtab_printk
ffffffff81b0f000 ? __nosave_begin
`;
const CRC7 = fileURLToPath(new URL("../../test/fixtures/modules/crc7.ko", import.meta.url));

test("knows what a kernel exports", () => {
  expect(readSystemMap(MAP, "System.map")).toEqual({ size: 6, exports: new Set(["kmalloc", "printk"]) });
});

test("reads what nm writes: the exports of a module are those of its symbol table", () => {
  const said = execFileSync("nm", ["-n", "--defined-only", CRC7]).toString("utf8");

  const { exports } = readSystemMap(said, "crc7.ko");

  const known = readKernelModule(readFileSync(CRC7), "crc7.ko").exports.map(({ name }) => name);
  expect([...exports].toSorted()).toEqual(known);
  expect(known.length).toBeGreaterThan(0);
});

describe("readSystemMap refuses", () => {
  test.each([
    ["a file that is cut off", MAP.slice(0, -3), /line 6: its last line is cut off/],
    ["an empty file", "", /System\.map(, line 1)?.*(cut off|nothing)/],
    ["another order", MAP.replace("ffffffff8173fa4c", "ffffffff8073fa4c"), /line 5: it is not in the order/],
    [
      "another width",
      MAP.replace("ffffffff81000000", "c1000000"),
      /line 2: its address has a different width/,
    ],
    ["what is no such line", MAP.replace("_stext", "_stext [module]"), /line 2: it is no address/],
    [
      "Debian's note that it is elsewhere",
      "ffffffffffffffff B The real System.map is in the linux-image-6.1.0-56-amd64-dbg package\n",
      /only says that the real one is in the package linux-image-6\.1\.0-56-amd64-dbg$/,
    ],
  ])("%s", (_, text, fact) => {
    expect(() => readSystemMap(text, "System.map")).toThrow(fact);
  });
});

test("answers any text with a value or the one error", () => {
  const lines = fc.array(fc.oneof(fc.constantFrom(...MAP.split("\n")), fc.string()), { maxLength: 8 });
  fc.assert(
    fc.property(lines, (parts) => {
      try {
        readSystemMap(parts.join("\n"), "it");
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(FarmError);
        expect((thrown as FarmError).code).toBe("MODULE_MALFORMED");
      }
    }),
  );
});
