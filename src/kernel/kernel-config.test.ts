import { describe, expect, test } from "vitest";
import { readKernelConfig, vermagicOf } from "./kernel-config.ts";

const CONFIG = readKernelConfig(
  [
    "# CONFIG_PREEMPT_RT is not set",
    "CONFIG_SMP=y",
    "CONFIG_PREEMPT_BUILD=y",
    "CONFIG_MODULE_UNLOAD=y",
    'CONFIG_BUILD_SALT="6.1.0-56-amd64"',
    "CONFIG_LOOP=m",
    "",
  ].join("\n"),
);

test("a configuration is what is set in it", () => {
  expect([...CONFIG]).toEqual([
    ["SMP", "y"],
    ["PREEMPT_BUILD", "y"],
    ["MODULE_UNLOAD", "y"],
    ["BUILD_SALT", "6.1.0-56-amd64"],
    ["LOOP", "m"],
  ]);
});

const RT_FIRST = [
  "#ifdef CONFIG_PREEMPT_RT",
  '#define MODULE_VERMAGIC_PREEMPT "preempt_rt "',
  "#elif defined(CONFIG_PREEMPT_BUILD)",
  '#define MODULE_VERMAGIC_PREEMPT "preempt "',
  "#else",
  '#define MODULE_VERMAGIC_PREEMPT ""',
  "#endif",
].join("\n");
const BUILD_FIRST = [
  "#ifdef CONFIG_PREEMPT_BUILD",
  '#define MODULE_VERMAGIC_PREEMPT "preempt "',
  "#elif defined(CONFIG_PREEMPT_RT)",
  '#define MODULE_VERMAGIC_PREEMPT "preempt_rt "',
  "#endif",
].join("\n");

describe("the vermagic of a kernel", () => {
  const of = (text: string, rules = {}) =>
    vermagicOf("6.1.0", readKernelConfig(text), { architecture: "x86_64", header: RT_FIRST, ...rules });
  const BOTH = "CONFIG_PREEMPT_RT=y\nCONFIG_PREEMPT_BUILD=y\n";

  test("has the words of its configuration and a space at its end", () => {
    expect(vermagicOf("6.1.0-56-amd64", CONFIG, { architecture: "x86_64" })).toBe(
      "6.1.0-56-amd64 SMP preempt mod_unload ",
    );
  });

  test.each([
    ["CONFIG_SMP=y\nCONFIG_PREEMPT_RT=y\n", "6.1.0 SMP preempt_rt "],
    ["CONFIG_PREEMPT_BUILD=y\n", "6.1.0 preempt "],
    ["CONFIG_MODVERSIONS=y\n", "6.1.0 modversions "],
    ["", "6.1.0 "],
  ])("of %j is %j", (text, wanted) => {
    expect(of(text)).toBe(wanted);
  });

  test("names of two kinds of preemption the one that its own header asks for first", () => {
    expect(of(BOTH)).toBe("6.1.0 preempt_rt ");
    expect(of(BOTH, { header: BUILD_FIRST })).toBe("6.1.0 preempt ");
    expect(of(BOTH, { header: undefined })).toBeUndefined();
    // Up to 5.10 that was another setting.
    expect(of("CONFIG_PREEMPT=y\n", { header: BUILD_FIRST.replace("PREEMPT_BUILD", "PREEMPT") })).toBe(
      "6.1.0 preempt ",
    );
  });

  test("ends with the machine on aarch64, and with the seed of a randomised layout", () => {
    expect(of("CONFIG_SMP=y\n", { architecture: "aarch64" })).toBe("6.1.0 SMP aarch64");
    expect(of("CONFIG_SMP=y\n", { seed: "abc" })).toBe("6.1.0 SMP RANDSTRUCT_abc");
  });
});
