import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilerOfConfig, compilerOfHeader, readVersionText } from "./compiler-record.ts";

describe("the compiler's own words", () => {
  test.each([
    ["gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)", "gcc", "11.4.1"],
    ["gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-20)", "gcc", "8.5.0"],
    ["gcc version 8.5.0 20210514 (Red Hat 8.5.0-20) (GCC)", "gcc", "8.5.0"],
    ["gcc version 7.3.1 20180712 (Red Hat 7.3.1-17) (GCC)", "gcc", "7.3.1"],
    ["gcc version 4.8.5 20150623 (Red Hat 4.8.5-44) (GCC)", "gcc", "4.8.5"],
    ["gcc10-gcc (GCC) 10.5.0 20230707 (Red Hat 10.5.0-1)", "gcc", "10.5.0"],
    ["gcc (GCC) 14.2.1 20240912 (Red Hat 14.2.1-3)", "gcc", "14.2.1"],
    ["x86_64-linux-gnu-gcc-13 (Ubuntu 13.3.0-6ubuntu2~24.04) 13.3.0", "gcc", "13.3.0"],
    ["aarch64-linux-gnu-gcc-11 (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", "gcc", "11.4.0"],
    ["gcc (Ubuntu 9.4.0-1ubuntu1~20.04.2) 9.4.0", "gcc", "9.4.0"],
    ["gcc version 5.4.0 20160609 (Ubuntu 5.4.0-6ubuntu1~16.04.12) ", "gcc", "5.4.0"],
    ["gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0", "gcc", "12.2.0"],
    ["x86_64-linux-gnu-gcc-16 (Debian 16.1.0-3) 16.1.0", "gcc", "16.1.0"],
    ["x86_64-cros-linux-gnu-gcc (Gentoo Hardened 13.3.1_p20240614 p17) 13.3.1 20240614", "gcc", "13.3.1"],
    ["gcc (SUSE Linux) 7.5.0", "gcc", "7.5.0"],
    ["Debian clang version 19.1.7 (3)", "clang", "19.1.7"],
    ["Ubuntu clang version 18.1.3 (1ubuntu1)", "clang", "18.1.3"],
    ["clang version 17.0.6 (Fedora 17.0.6-2.fc39)", "clang", "17.0.6"],
    [
      "Android (11368308, +pgo, +bolt, +lto, +mlgo, based on r510928) clang version 18.0.0 (https://android.googlesource.com/toolchain/llvm-project 477610d4d0d988e69dbc3fae4fe86bff3f07f2b5)",
      "clang",
      "18.0.0",
    ],
  ])("%s", (text, family, version) => {
    expect(readVersionText(text)).toEqual({ family, version });
  });

  test.each(["", "unknown", "tcc version 0.9.27", "gcc (GCC)", "11.4.1", "gcc-13"])(
    "that say too little: %j",
    (text) => {
      expect(readVersionText(text)).toBeUndefined();
    },
  );

  test("never take long, whatever they are", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("(", ")", "1", ".", " ", "gcc", "-"), maxLength: 3000 }),
        (text) => {
          const started = performance.now();
          readVersionText(text);
          expect(performance.now() - started).toBeLessThan(500);
        },
      ),
      { numRuns: 50 },
    );
  });
});

/** Lines of real configurations, as they stand among thousands of others. */
const CONFIGS = {
  alma9: `#
# Automatically generated file; DO NOT EDIT.
# Linux/x86_64 5.14.0-427.13.1.el9_4.x86_64 Kernel Configuration
#
CONFIG_CC_VERSION_TEXT="gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3)"
CONFIG_CC_IS_GCC=y
CONFIG_GCC_VERSION=110401
CONFIG_CLANG_VERSION=0
CONFIG_AS_IS_GNU=y
CONFIG_LD_IS_BFD=y
CONFIG_LD_VERSION=23502
CONFIG_LLD_VERSION=0
`,
  alma8: `# Linux/x86_64 4.18.0-553.5.1.el8_10.x86_64 Kernel Configuration
CONFIG_CC_IS_GCC=y
CONFIG_GCC_VERSION=80500
CONFIG_CLANG_VERSION=0
CONFIG_CC_HAS_ASM_GOTO=y
`,
  amazon2: `# Linux/x86_64 5.10.216-204.855.amzn2.x86_64 Kernel Configuration
CONFIG_CC_VERSION_TEXT="gcc10-gcc (GCC) 10.5.0 20230707 (Red Hat 10.5.0-1)"
CONFIG_CC_IS_GCC=y
CONFIG_GCC_VERSION=100500
CONFIG_LD_VERSION=235020000
CONFIG_CLANG_VERSION=0
`,
  amazon2old: `# Linux/x86_64 4.14.355-271.569.amzn2.x86_64 Kernel Configuration
CONFIG_64BIT=y
CONFIG_X86_64=y
`,
  clang: `CONFIG_CC_VERSION_TEXT="Debian clang version 19.1.7 (3)"
CONFIG_GCC_VERSION=0
CONFIG_CC_IS_CLANG=y
CONFIG_CLANG_VERSION=190107
CONFIG_AS_IS_LLVM=y
CONFIG_LD_IS_LLD=y
CONFIG_LLD_VERSION=190107
CONFIG_LTO_CLANG_THIN=y
`,
  clangWithBfd: `CONFIG_CC_IS_CLANG=y
CONFIG_GCC_VERSION=0
CONFIG_CLANG_VERSION=140006
CONFIG_LD_IS_BFD=y
`,
};

describe("a configuration", () => {
  test.each<[keyof typeof CONFIGS, unknown]>([
    ["alma9", { family: "gcc", version: "11.4.1", source: "config" }],
    ["alma8", { family: "gcc", version: "8.5.0", source: "config" }],
    ["amazon2", { family: "gcc", version: "10.5.0", source: "config" }],
    ["amazon2old", undefined],
    ["clang", { family: "clang", version: "19.1.7", source: "config", linker: "lld" }],
    ["clangWithBfd", { family: "clang", version: "14.0.6", source: "config" }],
  ])("of %s", (name, compiler) => {
    expect(compilerOfConfig(CONFIGS[name])).toEqual(compiler);
  });

  test("reads the same as a C header", () => {
    const header = CONFIGS.alma9
      .replaceAll(/^(CONFIG_\w+)=y$/gm, "#define $1 1")
      .replaceAll(/^(CONFIG_\w+)=/gm, "#define $1 ");

    expect(header).toContain("#define CONFIG_CC_IS_GCC 1");
    expect(compilerOfConfig(header)).toEqual(compilerOfConfig(CONFIGS.alma9));
  });
});

describe("compile.h", () => {
  test.each([
    [
      `#define UTS_MACHINE		"x86_64"
#define LINUX_COMPILE_BY	"mockbuild"
#define LINUX_COMPILE_HOST	"x64-builder02.almalinux.org"
#define LINUX_COMPILER	"gcc (GCC) 11.4.1 20231218 (Red Hat 11.4.1-3), GNU ld version 2.35.2-43.el9"
`,
      { family: "gcc", version: "11.4.1", source: "header" },
    ],
    [
      `/* This file is auto generated, version 1 */
/* SMP */
#define UTS_MACHINE "x86_64"
#define UTS_VERSION "#1 SMP Fri Dec 6 18:10:36 UTC 2024"
#define LINUX_COMPILE_BY "mockbuild"
#define LINUX_COMPILER "gcc version 7.3.1 20180712 (Red Hat 7.3.1-17) (GCC)"
`,
      { family: "gcc", version: "7.3.1", source: "header" },
    ],
    [
      `#define LINUX_COMPILER "clang version 18.1.8 (Fedora 18.1.8-1.fc40), LLD 18.1.8"\n`,
      { family: "clang", version: "18.1.8", source: "header", linker: "lld" },
    ],
    ["#define LINUX_COMPILE_BY x\n", undefined],
  ])("%#", (text, compiler) => {
    expect(compilerOfHeader(text.replaceAll("\t", " ").replaceAll(/ +/g, " "))).toEqual(compiler);
    expect(compilerOfHeader(text)).toEqual(compiler);
  });
});
