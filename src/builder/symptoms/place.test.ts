import { describe, expect, test } from "vitest";
import { diagnose } from "../diagnose.ts";

describe("the file of an error", () => {
  const error = (path: string) => `${path}:5:2: error: implicit declaration of function 'gone'\n`;
  const at = (directory: string, level: number) => `make[${level}]: Entering directory '${directory}'\n`;
  const left = (directory: string, level: number) => `make[${level}]: Leaving directory '${directory}'\n`;
  const KERNEL = "/usr/src/linux-headers-7.2.13";
  const files = ["a/x.c", "b/x.c", "b/only.c", "include/linux/own.h", "deep/er/one.c"];

  test.each([
    ["relative to where make is", at(KERNEL, 1) + at("/build/b", 2) + error("x.c"), "b/x.c"],
    ["relative, beside another directory", at("/build/a", 2) + error("../b/x.c"), "b/x.c"],
    [
      "after make left another directory",
      at("/build/a", 1) + left("/build/a", 1) + at("/build/b", 1) + error("x.c"),
      "b/x.c",
    ],
    ["while two makes are at one level", at("/build/b", 1) + at("/build/a", 1) + error("only.c"), "b/only.c"],
    [
      "after one of two makes left",
      at("/build/a", 1) + at("/build/b", 1) + left("/build/b", 1) + error("x.c"),
      "a/x.c",
    ],
    ["where make is silent, and one file has that name", error("one.c"), "deep/er/one.c"],
    ["where make is silent, by the end of its path", error("er/one.c"), "deep/er/one.c"],
    ["where nobody can know which is meant", error("x.c"), "x.c"],
    ["that the build made", at("/build/b", 1) + error("made.c"), "b/made.c"],
    ["that is the kernel's", at(KERNEL, 1) + error("include/linux/own.h"), undefined],
  ])("is found: %s", (_, log, file) => {
    expect(diagnose({ log, exitCode: 2, files }).file).toBe(file);
  });
});
