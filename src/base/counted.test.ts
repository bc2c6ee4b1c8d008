import { expect, test } from "vitest";
import { counted } from "./counted.ts";

test.each([
  [0, "file", "0 files"],
  [1, "file", "1 file"],
  [1, "entry", "1 entry"],
  [3, "entry", "3 entries"],
  [3, "key", "3 keys"],
])("%i %s: %s", (count, one, said) => {
  expect(counted(count, one)).toBe(said);
});
