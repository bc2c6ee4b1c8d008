import { describe, expect, test } from "vitest";
import { formatSize, parseSize, Size } from "./size.ts";

describe("sizes", () => {
  test.each([
    ["20G", 20 * 1024 ** 3],
    ["1.5M", 1.5 * 1024 ** 2],
    ["512", 512],
    ["4KiB", 4096],
    ["", undefined],
    ["-1G", undefined],
    ["1X", undefined],
    ["1e9", undefined],
  ])("%j is %j bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.5 KiB"],
    [20 * 1024 ** 3, "20.0 GiB"],
  ])("%j bytes are told as %j", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  test("are an error in a document that has another text there", () => {
    expect(Size.parse("1.5G")).toBe(1.5 * 1024 ** 3);
    expect(() => Size.parse("8 gigs")).toThrow(/must be a size such as/);
  });
});
