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

describe("the vermagic of a kernel", () => {
  const of = (text: string, architecture: "x86_64" | "aarch64" = "x86_64", seed?: string) =>
    vermagicOf("6.1.0", readKernelConfig(text), { architecture, seed });

  test("has the words of its configuration and a space at its end", () => {
    expect(vermagicOf("6.1.0-56-amd64", CONFIG, { architecture: "x86_64" })).toBe(
      "6.1.0-56-amd64 SMP preempt mod_unload ",
    );
  });

  test.each([
    ["CONFIG_SMP=y\nCONFIG_PREEMPT_RT=y\n", "6.1.0 SMP preempt_rt "],
    ["CONFIG_PREEMPT_RT=y\nCONFIG_PREEMPT_BUILD=y\n", "6.1.0 preempt "],
    ["CONFIG_PREEMPT=y\n", "6.1.0 preempt "],
    ["CONFIG_MODVERSIONS=y\n", "6.1.0 modversions "],
    ["", "6.1.0 "],
  ])("of %j is %j", (text, wanted) => {
    expect(of(text)).toBe(wanted);
  });

  test("ends with the machine on aarch64, and with the seed of a randomised layout", () => {
    expect(of("CONFIG_SMP=y\n", "aarch64")).toBe("6.1.0 SMP aarch64");
    expect(of("CONFIG_SMP=y\n", "x86_64", "abc")).toBe("6.1.0 SMP RANDSTRUCT_abc");
  });
});
