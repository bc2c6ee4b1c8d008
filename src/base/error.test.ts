import { expect, test } from "vitest";
import { FarmError } from "./error.ts";

test.each([
  [{ about: "a.ko", detail: "it is cut off" }, "a.ko: it is cut off", "it is cut off"],
  [{ about: "a.ko", joint: " " as const, detail: "is cut off" }, "a.ko is cut off", "it is cut off"],
  [
    { about: "/store", joint: "/" as const, detail: "roots is gone" },
    "/store/roots is gone",
    "roots is gone",
  ],
])("an error is about a thing, which a place that names it leaves out: %o", (given, message, fact) => {
  const error = new FarmError("MODULE_MALFORMED", given);

  expect(error.message).toBe(message);
  expect(error.factAbout(given.about)).toBe(fact);
  expect(error.factAbout("another")).toBe(message);
});
