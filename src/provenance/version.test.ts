import fc from "fast-check";
import { expect, test } from "vitest";
import { compareVersions, isBelow } from "./version.ts";

test("versions compare by the numbers that they begin with", () => {
  const below = ["0.0.9", "0.1", "0.1.0-rc1", "0", "beta", ""].map((version) => isBelow(version, "0.1.1"));

  expect(below).toEqual([true, true, true, true, true, true]);
  expect(
    ["0.1.1", "0.1.1+deb1", "0.1.10", "1", "0.2-rc1", "0.1.1.0"].some((one) => isBelow(one, "0.1.1")),
  ).toBe(false);
  expect(isBelow("beta", undefined)).toBe(false);
  expect(isBelow("beta", "beta")).toBe(false);
});

test("versions have one order", () => {
  const version = fc.oneof(
    fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }).map((parts) => parts.join(".")),
    fc.constantFrom("beta", "1.0-rc1", ""),
  );
  fc.assert(
    fc.property(version, version, version, (a, b, c) => {
      expect(compareVersions(a, b)).toBe(0 - compareVersions(b, a));
      if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0)
        expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
    }),
  );
});
