import { describe, expect, test } from "vitest";
import { readSymvers } from "../formats/module-symvers.ts";
import { checkSymbols } from "./checks/symbols.ts";
import { symbolFaults } from "./symbols.ts";

const SYMVERS = readSymvers(
  [
    "0x11111111\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t",
    "0x22222222\tprintk\tvmlinux\tEXPORT_SYMBOL\t",
    "0x33333333\tkobject_put\tvmlinux\tEXPORT_SYMBOL_GPL\t",
    "0x44444444\tdma_buf_get\tvmlinux\tEXPORT_SYMBOL_GPL\tDMA_BUF",
    "0x55555555\tkvm_init\tarch/x86/kvm/kvm\tEXPORT_SYMBOL_GPL\tmodule:kvm-amd,vfio-*",
    "",
  ].join("\n"),
  "Module.symvers",
);
const BARE = readSymvers("0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n", "Module.symvers");
const CRCS = [...SYMVERS.symbols].map(([name, { crc }]) => [name, crc] as const);

function makeModule(imports: readonly string[], changes = {}) {
  return {
    ...{ name: "bell", license: "GPL", imports, exports: [], versions: new Map(CRCS) },
    ...{ importNamespaces: [] as string[] },
    ...changes,
  };
}

const kindsOf = (module: ReturnType<typeof makeModule>, symvers = SYMVERS) =>
  symbolFaults([module], symvers).map(({ symbol, kind }) => `${symbol} ${kind}`);

test("modules of one set are held to each other's CRCs", () => {
  const tally = makeModule([], { name: "tally", exports: [{ name: "tally_add", gplOnly: false, crc: 7 }] });
  const user = (crc: number) =>
    makeModule(["tally_add"], { versions: new Map([...CRCS, ["tally_add", crc]]) });
  const kinds = (crc: number) =>
    symbolFaults([tally, user(crc)], SYMVERS).map(({ symbol, kind }) => [symbol, kind]);

  expect(kinds(7)).toEqual([]);
  expect(kinds(8)).toEqual([["tally_add", "version"]]);
});

test("other drivers' modules are held to like the kernel: their CRCs, namespaces and absence", () => {
  const base = (changes = {}) =>
    makeModule([], { name: "base", exports: [{ name: "base_answer", gplOnly: true, crc: 7, ...changes }] });
  const leaf = makeModule(["base_answer"], { versions: new Map([...CRCS, ["base_answer", 7]]) });
  const judged = (others: readonly ReturnType<typeof makeModule>[]) => checkSymbols([leaf], SYMVERS, others);

  expect(judged([base()])).toMatchObject({
    verdict: "pass",
    reasons: [{ text: "the kernel and base export all 1 symbols, each with the CRC it has there" }],
  });
  expect(judged([base({ crc: 8 })]).reasons[0]?.text).toContain("base_answer has CRC 0x00000008");
  expect(judged([base({ namespace: "BASE" })]).reasons[0]?.text).toContain("is in the namespace BASE");
  expect(judged([])).toMatchObject({
    verdict: "fail",
    reasons: [{ code: "missing", text: "bell: the kernel does not export base_answer" }],
  });
});

describe("checkSymbols", () => {
  test("passes what the kernel exports with the same CRCs", () => {
    expect(checkSymbols([makeModule(["printk", "kobject_put"])], SYMVERS)).toEqual({
      ...{ check: "symbols", verdict: "pass" },
      reasons: [{ code: "exported", text: "the kernel exports all 2 symbols, each with the kernel's CRC" }],
    });
  });

  test("says of a kernel without CRCs that symbols alone prove little", () => {
    const { verdict, reasons } = checkSymbols([makeModule(["printk"], { versions: undefined })], BARE);

    expect(verdict).toBe("pass");
    expect(reasons[0]?.text).toContain("without CRCs");
  });

  test("names module, symbol and both CRCs", () => {
    const versions = new Map([...CRCS, ["printk", 0xabc] as const]);

    expect(checkSymbols([makeModule(["printk", "gone"], { versions })], SYMVERS)).toEqual({
      ...{ check: "symbols", verdict: "fail" },
      reasons: [
        {
          code: "version",
          text: "bell: printk has CRC 0x22222222 in the kernel, but 0x00000abc in the module",
        },
        { code: "missing", text: "bell: the kernel does not export gone" },
      ],
    });
  });

  test.each([
    ["a symbol that nobody exports", makeModule(["gone"]), ["gone missing"]],
    [
      "another layout of struct module",
      makeModule([], { versions: new Map([["module_layout", 1]]) }),
      ["module_layout version"],
    ],
    [
      "no CRCs at all",
      makeModule(["printk"], { versions: undefined }),
      ["module_layout noVersion", "printk noVersion"],
    ],
    [
      "a symbol for GPL only",
      makeModule(["kobject_put"], { license: "Proprietary" }),
      ["kobject_put gplOnly"],
    ],
    ["no licence", makeModule(["kobject_put"], { license: undefined }), ["kobject_put gplOnly"]],
    ["a namespace that is not imported", makeModule(["dma_buf_get"]), ["dma_buf_get namespace"]],
    ["a symbol for other modules", makeModule(["kvm_init"]), ["kvm_init namespace"]],
  ])("refuses %s", (_, module, kinds) => {
    expect(kindsOf(module)).toEqual(kinds);
  });

  test.each([
    ["a namespace that is imported", makeModule(["dma_buf_get"], { importNamespaces: ["DMA_BUF"] })],
    ["a symbol for a module of this name", makeModule(["kvm_init"], { name: "kvm_amd" })],
    ["a symbol for modules of such names", makeModule(["kvm_init"], { name: "vfio_pci" })],
    ["a permissive licence beside the GPL", makeModule(["kobject_put"], { license: "Dual MIT/GPL" })],
  ])("takes %s", (_, module) => {
    expect(kindsOf(module)).toEqual([]);
  });

  test("lets modules of one set use each other, unless the licence forbids it", () => {
    const exporter = makeModule([], { name: "tally", exports: [{ name: "tally_add", gplOnly: true }] });

    expect(symbolFaults([exporter, makeModule(["tally_add"])], SYMVERS)).toEqual([]);
    expect(
      symbolFaults([exporter, makeModule(["tally_add"], { license: "Proprietary" })], SYMVERS),
    ).toHaveLength(1);
  });

  test("counts what it does not name", () => {
    const many = Array.from({ length: 25 }, (_, index) => `gone_${index}`);

    expect(checkSymbols([makeModule(many)], SYMVERS).reasons.at(-1)?.text).toBe("and 5 more");
  });
});
