import { describe, expect, test } from "vitest";
import { readKernelConfig } from "../kernel/kernel-config.ts";
import { hardeningOf } from "./hardening.ts";

interface Changes {
  readonly entries?: Readonly<Record<string, string>>;
  readonly hasCode?: boolean;
  readonly hasCfi?: boolean;
  readonly hasBtf?: boolean;
  readonly architecture?: "x86_64" | "aarch64";
  readonly modinfo?: readonly (readonly [string, string])[];
  readonly imports?: readonly string[];
}

const WHOLE = {
  entries: { init_module: "f30f1efa", cleanup_module: "f30f1efa" },
  hasBtf: true,
  hasCfi: true,
};

function makeModule({ entries = {}, hasCode = true, hasCfi = false, hasBtf = false, ...rest }: Changes) {
  return {
    name: "bell",
    architecture: "x86_64" as const,
    modinfo: [["retpoline", "Y"]] as const,
    imports: ["__x86_return_thunk"],
    guards: { entries: new Map(Object.entries(entries)), hasCode, hasCfi, hasBtf },
    ...rest,
  };
}

const configOf = (...names: readonly string[]) =>
  readKernelConfig(names.map((name) => `CONFIG_${name}=y\n`).join(""));
const ALL = configOf(
  ...["X86_KERNEL_IBT", "CFI_CLANG", "MITIGATION_RETPOLINE", "MITIGATION_RETHUNK", "DEBUG_INFO_BTF_MODULES"],
);

describe("hardeningOf", () => {
  test("has nothing against a module that brings all that its kernel has", () => {
    expect(hardeningOf([makeModule(WHOLE)], "x86_64", ALL)).toEqual({ faults: [], notes: [] });
  });

  test("asks for nothing that a kernel does not have", () => {
    const bare = makeModule({ entries: { init_module: "31c0c300" }, modinfo: [], imports: [] });

    expect(hardeningOf([bare], "x86_64", configOf())).toEqual({ faults: [], notes: [] });
    expect(hardeningOf([bare], "x86_64", undefined)).toEqual({ faults: [], notes: [] });
    expect(hardeningOf([bare], "aarch64", ALL)).toEqual({ faults: [], notes: [] });
  });

  test.each<[string, readonly string[], Changes, RegExp]>([
    [
      "no endbr64 at either end",
      ["X86_KERNEL_IBT"],
      { entries: { init_module: "31c0c300", cleanup_module: "c3" } },
      /^bell has no endbr64 at init_module and cleanup_module, but the kernel has CONFIG_X86_KERNEL_IBT: .* stops the kernel/,
    ],
    [
      "no endbr64 at the way out",
      ["X86_KERNEL_IBT"],
      { entries: { init_module: "f30f1efa", cleanup_module: "" } },
      /no endbr64 at cleanup_module, but/,
    ],
    ["no types of its functions", ["CFI_CLANG"], { hasCfi: false }, /without type information \(kCFI\)/],
    ["no types, by the setting's newer name", ["CFI"], { hasCfi: false }, /CONFIG_CFI:/],
  ])("faults %s", (_, settings, changes, fact) => {
    const { faults, notes } = hardeningOf([makeModule(changes)], "x86_64", configOf(...settings));

    expect([faults, notes]).toEqual([[expect.stringMatching(fact)], []]);
  });

  test("lets a kernel that only reports calls of the wrong type take modules without types", () => {
    const config = configOf("CFI_CLANG", "CFI_PERMISSIVE");

    expect(hardeningOf([makeModule({})], "x86_64", config).faults).toEqual([]);
  });

  test.each<[string, Changes, RegExp]>([
    ["MITIGATION_RETPOLINE", { modinfo: [] }, /compiled without retpolines.* vulnerable to Spectre v2/],
    ["RETPOLINE", { modinfo: [] }, /compiled without retpolines/],
    ["MITIGATION_RETHUNK", { imports: [] }, /has no return thunks.*cannot protect/],
    ["RETHUNK", { imports: [] }, /has no return thunks.*cannot protect/],
    ["DEBUG_INFO_BTF_MODULES", { hasBtf: false }, /has no BTF.* BPF programs cannot/],
  ])("notes what a module lacks on a kernel with %s, and its consequence", (setting, changes, fact) => {
    const { faults, notes } = hardeningOf([makeModule(changes)], "x86_64", configOf(setting));

    expect([faults, notes]).toEqual([[], [expect.stringMatching(fact)]]);
  });

  test("says why there is no BTF, where that can be seen", () => {
    const config = configOf("DEBUG_INFO_BTF_MODULES");

    expect(hardeningOf([makeModule({})], "x86_64", config, false).notes).toEqual([
      expect.stringMatching(
        /^bell has no BTF \(the kernel's headers have no vmlinux to generate it from\), but/,
      ),
    ]);
  });

  test("knows a module of data alone", () => {
    expect(hardeningOf([makeModule({ hasCode: false, imports: [] })], "x86_64", configOf("RETHUNK"))).toEqual(
      {
        faults: [],
        notes: [],
      },
    );
  });

  test.each([
    ["5f2403d5", 0],
    ["3f2303d5", 0],
    ["fd7bbfa9", 1],
  ])("knows marks of aarch64: %s gives %d faults", (mark, count) => {
    const module = makeModule({ architecture: "aarch64", entries: { init_module: mark } });

    expect(hardeningOf([module], "aarch64", configOf("ARM64_BTI_KERNEL")).faults).toHaveLength(count);
  });
});
