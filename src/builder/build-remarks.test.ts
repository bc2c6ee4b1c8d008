import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { remarksOf } from "./build-remarks.ts";

test("a build without anything odd has no remarks", () => {
  expect(remarksOf("  CC [M]  bell.o\n  LD [M]  bell.ko\n")).toBeUndefined();
});

test("objtool's warnings are counted, and the first of them quoted", () => {
  const log = readFileSync(new URL("../../test/fixtures/logs/float-clang-19.log", import.meta.url), "utf8");

  expect(remarksOf(log)?.objtool).toEqual({
    warnings: 2,
    first: [
      "/build/f.o: warning: objtool: init_module+0x31: 'naked' return found in MITIGATION_RETHUNK build",
      "/build/f.o: warning: objtool: cleanup_module+0x4: 'naked' return found in MITIGATION_RETHUNK build",
    ],
  });
});

test("of thousands of warnings, or endless ones, only some are quoted", () => {
  const line = `blob.o: warning: objtool: ${"x".repeat(1000)}\n`;

  const { warnings, first } = remarksOf(line.repeat(3000))?.objtool ?? { warnings: 0, first: [] };

  expect([warnings, first.length, first[0]?.length]).toEqual([3000, 5, 300]);
});

test("type information that was left out is told with the reason, once each", () => {
  const log = [
    "  BTF [M] bell.ko",
    "Skipping BTF generation for bell.ko due to unavailability of vmlinux",
    "Skipping BTF generation for bell.ko due to unavailability of vmlinux",
  ].join("\n");

  expect(remarksOf(log)).toEqual({
    btf: ["Skipping BTF generation for bell.ko due to unavailability of vmlinux"],
  });
});
