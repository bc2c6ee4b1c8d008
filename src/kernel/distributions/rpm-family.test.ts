import { describe, expect, test } from "vitest";
import { makeListedPackage } from "../../../test/support/kernels.ts";
import { almalinux } from "./almalinux.ts";
import type { ListedPackage } from "./distribution.ts";

const VERSION = "5.14.0-427.13.1.el9_4";
const UNAME = `${VERSION}.x86_64`;

/** A `-devel` package, with what it says `uname -r` is. */
function devel(stem: string, uname: string, source = "almalinux9.4/BaseOS"): ListedPackage {
  const provides = [{ name: "kernel-devel-uname-r", version: uname }];
  return { ...makeListedPackage({ name: `${stem}-devel`, version: VERSION, source }), provides };
}

describe("several header packages of one uname -r", () => {
  test.each([
    ["the plain one first", ["kernel", "kernel-debug", "kernel-rt"]],
    ["the plain one last", ["kernel-rt", "kernel-debug", "kernel"]],
  ])("count as the plain kernel, and the others are told: %s", (_, stems) => {
    const kernels = almalinux.kernelsOf(stems.map((stem) => devel(stem, UNAME)));

    expect(kernels).toHaveLength(1);
    expect(kernels[0]).toMatchObject({
      kversion: UNAME,
      flavour: "generic",
      rivals: ["kernel-debug-devel", "kernel-rt-devel"],
      packages: { headers: [{ name: "kernel-devel" }] },
    });
  });

  test("have the same winner in any order where none is plain", () => {
    const packages = ["kernel-rt-debug", "kernel-rt", "kernel-64k"].map((stem) => devel(stem, UNAME));
    const winners = [packages, packages.toReversed()].map((some) => almalinux.kernelsOf(some)[0]?.flavour);

    expect(winners).toEqual(["rt", "rt"]);
  });

  test("are no rivals when two repositories list the same one", () => {
    const kernels = almalinux.kernelsOf([devel("kernel", UNAME, "a"), devel("kernel", UNAME, "b")]);

    expect(kernels).toMatchObject([{ sources: ["a", "b"] }]);
    expect(kernels[0]).not.toHaveProperty("rivals");
  });

  test("are no rivals when each says its own", () => {
    const kernels = almalinux.kernelsOf([devel("kernel", UNAME), devel("kernel-debug", `${UNAME}+debug`)]);

    expect(kernels.map(({ kversion, rivals }) => [kversion, rivals])).toEqual([
      [UNAME, undefined],
      [`${UNAME}+debug`, undefined],
    ]);
  });
});
