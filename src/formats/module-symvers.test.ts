import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readSymvers, symversText } from "./module-symvers.ts";

test("what modules export is written as it is read", () => {
  const text = symversText([
    { name: "base", exports: [{ name: "base_answer", gplOnly: true, crc: 0x12ab34, namespace: "BASE" }] },
    { name: "plain", exports: [{ name: "plain_one", gplOnly: false }] },
  ]);

  expect(Object.fromEntries(readSymvers(text, "Module.symvers").symbols)).toEqual({
    base_answer: { crc: 0x12ab34, exportedBy: "base", gplOnly: true, namespace: "BASE" },
    plain_one: { crc: 0, exportedBy: "plain", gplOnly: false, namespace: "" },
  });
});

describe("readSymvers", () => {
  test("reads symbols with CRCs, kinds and namespaces", () => {
    const { symbols, hasVersions } = readSymvers(
      "0x1b8b95ad\ti8042_remove_filter\tvmlinux\tEXPORT_SYMBOL\t\n" +
        "0xDEADBEEF\tkvm_init\tarch/x86/kvm/kvm\tEXPORT_SYMBOL_GPL\tmodule:kvm-amd,kvm-intel\n" +
        "0x00000000\told\tvmlinux\tEXPORT_SYMBOL\n",
      "Module.symvers",
    );

    expect(hasVersions).toBe(true);
    expect(Object.fromEntries(symbols)).toEqual({
      i8042_remove_filter: { crc: 0x1b8b95ad, exportedBy: "vmlinux", gplOnly: false, namespace: "" },
      kvm_init: {
        ...{ crc: 0xdeadbeef, exportedBy: "arch/x86/kvm/kvm" },
        ...{ gplOnly: true, namespace: "module:kvm-amd,kvm-intel" },
      },
      old: { crc: 0, exportedBy: "vmlinux", gplOnly: false, namespace: "" },
    });
  });

  test("tells a kernel without versions", () => {
    expect(readSymvers("0x00000000\ta\tvmlinux\tEXPORT_SYMBOL\t\n", "s").hasVersions).toBe(false);
  });

  test.each([
    ["a last line without end", "0x00000000\ta\tvmlinux\tEXPORT_SYMBOL", "its last line is cut off"],
    ["too few fields", "0x00000000\ta\tvmlinux\n", "line 1: it has 3 fields"],
    ["a CRC that is none", "0x123\ta\tvmlinux\tEXPORT_SYMBOL\t\n", '"0x123" is no CRC'],
    ["a symbol without a name", "0x00000000\t\tvmlinux\tEXPORT_SYMBOL\t\n", "it has no symbol"],
    ["an unknown kind", "0x00000000\ta\tvmlinux\tEXPORT\t\n", '"EXPORT" is no kind of export'],
    ["a symbol twice", "0x00000000\ta\tvmlinux\tEXPORT_SYMBOL\t\n".repeat(2), "line 2: a is exported twice"],
  ])("refuses %s", (_, text, fact) => {
    expect(() => readSymvers(text, "s")).toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringContaining(fact) }),
    );
  });

  test("gives a value or MODULE_MALFORMED for any text", () => {
    const cell = fc.oneof(fc.constantFrom("0x00000000", "a", "EXPORT_SYMBOL", "", "__proto__"), fc.string());
    const text = fc.array(fc.array(cell).map((cells) => cells.join("\t"))).map((lines) => lines.join("\n"));
    fc.assert(
      fc.property(text, (sample) => {
        try {
          readSymvers(sample, "s");
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "MODULE_MALFORMED" });
        }
      }),
    );
  });
});
