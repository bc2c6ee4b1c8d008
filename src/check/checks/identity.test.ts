import { describe, expect, test } from "vitest";
import type { KernelRecord } from "../../inputs/kernel-record.ts";
import { readKernelConfig } from "../../kernel/kernel-config.ts";
import { checkEnvironment } from "./environment.ts";
import { checkIdentity } from "./identity.ts";

const MAGIC = "6.1.0-56-amd64 SMP preempt mod_unload modversions ";
const KERNEL: KernelRecord = {
  release: "6.1.0-56-amd64",
  architecture: "x86_64",
  config: readKernelConfig("CONFIG_MODVERSIONS=y\n"),
  vermagic: MAGIC,
  buildSalt: "6.1.0-56-amd64",
  compiler: { family: "gcc", version: "12.2.0", source: "config" },
};
const NO_GUARDS = { entries: new Map(), hasCode: true, hasCfi: false, hasBtf: false };
const GCC = "GCC: (Debian 12.2.0-14+deb12u1) 12.2.0";

function makeModule(changes = {}) {
  return {
    name: "bell",
    architecture: "x86_64" as const,
    vermagic: MAGIC,
    buildSalt: "6.1.0-56-amd64",
    version: "1.2.0",
    compilers: [GCC],
    modinfo: [],
    imports: [],
    guards: NO_GUARDS,
    ...changes,
  };
}

describe("checkIdentity", () => {
  test("passes a module that says it is of this kernel", () => {
    expect(checkIdentity([makeModule()], KERNEL, { moduleVersion: "1.2.0" })).toMatchObject({
      check: "identity",
      verdict: "pass",
    });
  });

  test.each([
    ["another machine", { architecture: "aarch64" }, "bell is for aarch64, but the kernel is for x86_64"],
    [
      "another flavour",
      { vermagic: MAGIC.replace("amd64", "cloud-amd64"), buildSalt: "6.1.0-56-amd64" },
      "bell: it was built for 6.1.0-56-cloud-amd64, not for 6.1.0-56-amd64",
    ],
    [
      "another preemption",
      { vermagic: MAGIC.replace(" preempt", "") },
      `bell: its vermagic is "6.1.0-56-amd64 SMP mod_unload modversions ", but the kernel's is "${MAGIC}"`,
    ],
    [
      "no space at its end",
      { vermagic: MAGIC.trimEnd() },
      `bell: its vermagic is "${MAGIC.trimEnd()}", but the kernel's is "${MAGIC}"`,
    ],
    [
      "another build salt",
      { buildSalt: "6.1.0-55-amd64" },
      "bell has the build salt 6.1.0-55-amd64, but the kernel has 6.1.0-56-amd64",
    ],
    [
      "no build salt",
      { buildSalt: undefined },
      "bell has the build salt none, but the kernel has 6.1.0-56-amd64",
    ],
    ["another version", { version: "1.1.9" }, "bell has version 1.1.9, but 1.2.0 is wanted"],
    ["no version", { version: undefined }, "bell has version none, but 1.2.0 is wanted"],
  ])("refuses %s", (_, changes, reason) => {
    expect(checkIdentity([makeModule(), makeModule(changes)], KERNEL, { moduleVersion: "1.2.0" })).toEqual({
      check: "identity",
      verdict: "fail",
      reasons: [{ code: expect.any(String), text: reason }],
    });
  });

  test("minds no version that nobody named", () => {
    expect(checkIdentity([makeModule({ version: undefined })], KERNEL).verdict).toBe("pass");
  });

  test("knows nothing where the kernel's headers say nothing", () => {
    const { vermagic: _, ...kernel } = KERNEL;

    expect(checkIdentity([makeModule()], kernel).verdict).toBe("unknown");
  });

  test("asks a kernel without CRCs for a build salt", () => {
    const config = readKernelConfig("");

    expect(checkIdentity([makeModule()], { ...KERNEL, config }).verdict).toBe("pass");
    expect(checkIdentity([makeModule()], { ...KERNEL, config, buildSalt: "" }).verdict).toBe("unknown");
  });
});

describe("checkEnvironment", () => {
  test.each([
    ["the same compiler", [GCC], "pass", /built with gcc 12\.2\.0, like the kernel/],
    ["another patch level", ["GCC: (Debian 12.4.0-1) 12.4.0"], "pass", /12\.2\.0/],
    [
      "one major off",
      ["GCC: (Debian 11.2.0-14) 11.2.0"],
      "fail",
      /built with gcc 11\.2\.0, but the kernel with gcc 12\.2\.0/,
    ],
    [
      "another family",
      ["Debian clang version 14.0.6"],
      "fail",
      /with clang 14\.0\.6, but the kernel with gcc 12\.2\.0/,
    ],
    ["a part of another", [GCC, "GCC: (GNU) 9.1.0"], "fail", /gcc 9\.1\.0/],
    ["a word nobody knows", ["tcc"], "unknown", /an unknown compiler: "tcc"/],
    ["no word", [], "unknown", /does not name the compiler/],
  ])("of %s", (_, compilers, verdict, reason) => {
    const found = checkEnvironment([makeModule({ compilers })], KERNEL);

    expect(found.verdict).toBe(verdict);
    expect(found.reasons[0]?.text).toMatch(reason);
  });

  test("knows nothing of a kernel whose compiler nobody names", () => {
    const { compiler: _, ...kernel } = KERNEL;

    expect(checkEnvironment([makeModule()], kernel).verdict).toBe("unknown");
  });

  test("knows nothing of a kernel without a configuration: what guards it has stands there", () => {
    const { config: _, ...kernel } = KERNEL;

    expect(checkEnvironment([makeModule()], kernel)).toMatchObject({
      verdict: "unknown",
      reasons: [{ code: "unknownGuards" }],
    });
  });
});
