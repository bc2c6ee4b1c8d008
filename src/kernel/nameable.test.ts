import { describe, expect, test } from "vitest";
import { leafOf, nameFault } from "./nameable.ts";

const KERNEL = {
  distribution: "debian12",
  architecture: "x86_64" as const,
  kversion: "6.1.0-56-amd64",
  packageVersion: "6.1.170-3",
  flavour: "generic",
};

describe("a kernel's name as a part of paths", () => {
  test.each([
    [{}, "6.1.0-56-amd64_6.1.170-3"],
    [{ packageVersion: "1:6.1.170-3" }, "6.1.0-56-amd64_1+6.1.170-3"],
    [
      { distribution: "almalinux9.4", kversion: "5.14.0-427.el9.x86_64", packageVersion: "5.14.0-427.el9" },
      "5.14.0-427.el9.x86_64",
    ],
  ])("%j", (change, leaf) => {
    expect(leafOf({ ...KERNEL, ...change })).toBe(leaf);
    expect(nameFault({ ...KERNEL, ...change })).toBeUndefined();
  });

  test.each([
    [{ flavour: "+x" }, "its flavour is not a safe name"],
    [{ flavour: "" }, "its flavour is not a safe name"],
    [{ distribution: `debian${"1".repeat(200)}` }, "its distribution release is not a safe name"],
    [{ kversion: "../6.1" }, "its kernel release is not a safe name"],
    [
      { kversion: "6".repeat(100), packageVersion: "1".repeat(80) },
      "its release and version are not a safe name",
    ],
    [{ packageVersion: "1:2:3" }, "its release and version are not a safe name"],
  ])("a stranger's that cannot be one: %j", (change, fault) => {
    expect(nameFault({ ...KERNEL, ...change })).toBe(fault);
  });
});
