import { expect, test } from "vitest";
import { visible } from "./visible.ts";

test("spells out what steers a terminal and leaves the rest", () => {
  expect(visible("a\u001b[31mb\u009bc\u202ed\rä\n\te")).toBe("a\\u{1b}[31mb\\u{9b}c\\u{202e}d\\u{d}ä\n\te");
});
