import { describe, expect, test } from "vitest";
import {
  agreedBase,
  baseOf,
  baseProof,
  upstreamOfHeader,
  upstreamOfMakefile,
  upstreamOfPackage,
} from "./base.ts";

const define = (name: string, value: number | string) => `#define LINUX_VERSION_${name} ${value}\n`;

describe("version.h", () => {
  test.each([
    // Of linux-headers-6.12.118+deb13-amd64.
    [
      "6.12.118",
      `${define("CODE", 396406)}${define("MAJOR", 6)}${define("PATCHLEVEL", 12)}${define("SUBLEVEL", 118)}`,
    ],
    [
      "6.1.300",
      `${define("CODE", 0x0601ff)}${define("MAJOR", 6)}${define("PATCHLEVEL", 1)}${define("SUBLEVEL", 300)}`,
    ],
    // Ubuntu calls it 4.15.0, and the code is of 4.15.18.
    ["4.15.18", `${define("CODE", 266002)}#define KERNEL_VERSION(a,b,c) (((a) << 16) + ((b) << 8) + (c))\n`],
    ["5.4.0", define("CODE", 0x050400)],
  ])("says that a kernel was made from %s", (release, header) => {
    expect(upstreamOfHeader(header)).toBe(release);
  });

  test.each([
    ["nothing", ""],
    // Debian 11's 5.10.262: there is no SUBLEVEL, and the code stops at 255.
    ["a code that may stand for several", define("CODE", 0x0504ff)],
    ["a code of no kernel", define("CODE", 999_999_999)],
    ["words", define("CODE", "LATEST")],
    ["two of three numbers", `${define("MAJOR", 6)}${define("PATCHLEVEL", 1)}`],
  ])("says nothing with %s", (_, header) => {
    expect(upstreamOfHeader(header)).toBeUndefined();
  });
});

describe("a Makefile", () => {
  const makefile = (...values: string[]) =>
    `# SPDX-License-Identifier: GPL-2.0\nVERSION = ${values[0]}\nPATCHLEVEL = ${values[1]}\nSUBLEVEL = ${values[2]}\nEXTRAVERSION =${values[3] ?? ""}\nNAME = Curry Ramen\n\nKERNELVERSION = $(VERSION)\n`;

  test.each([
    ["5.10.262", makefile("5", "10", "262")],
    ["7.3.0-rc7", makefile("7", "3", "0", " -rc7")],
    ["5.14.0", makefile("5", "14", "0", " -611.el9")],
  ])("says %s", (release, text) => {
    expect(upstreamOfMakefile(text)).toBe(release);
  });

  test.each([
    ["the one that only leads to another", "include /usr/src/linux-headers-6.1.0-56-common/Makefile\n"],
    ["one that says it twice", `${makefile("6", "1", "3")}SUBLEVEL = 4\n`],
    ["one with words", makefile("6", "x", "3")],
    ["one with huge numbers", makefile("6", "1", "999999999")],
    ["one with very many blanks", makefile(`${" ".repeat(250_000)}x y`, "1", "3")],
  ])("says nothing in %s", (_, text) => {
    expect(upstreamOfMakefile(text)).toBeUndefined();
  });
});

test.each([
  ["6.1.170-3", "6.1.170"],
  ["6.1.174-1", "6.1.174"],
  ["7.3~rc7-1~exp1", "7.3-rc7"],
  ["6.12.90-2~bpo12+1", "6.12.90"],
  ["6.12.117-1~deb12u1", "6.12.117"],
  ["6.5.6-200.fc38", "6.5.6"],
  ["6.8.0-0.rc3.26.fc40", "6.8.0-rc3"],
  ["1:6.1.127-135.201.amzn2023", "6.1.127"],
  ["6.1.1x-1", undefined],
  ["2605.2.0", undefined],
  ["", undefined],
])("the package version %s says %s", (version, release) => {
  expect(upstreamOfPackage(version)).toBe(release);
});

describe("what three places say", () => {
  test("is what the first says if all agree", () => {
    expect(
      agreedBase([
        { from: "makefile", version: "6.1.170" },
        { from: "header", version: "6.1.170" },
        { from: "package", version: "6.1.170" },
      ]),
    ).toEqual({ version: "6.1.170", from: "makefile" });
  });

  test("is a candidate although the header cannot say so", () => {
    const header = { from: "header", version: "7.3.0" } as const;
    expect(agreedBase([{ from: "makefile", version: "7.3.0-rc7" }, header])).toEqual({
      version: "7.3-rc7",
      from: "makefile",
    });
    expect(agreedBase([header, { from: "package", version: "7.3-rc7" }])).toEqual({
      version: "7.3-rc7",
      from: "header",
    });
  });

  test("is disputed if two differ, and says who", () => {
    const said = { from: "package", version: "6.1.171" } as const;
    expect(agreedBase([{ from: "makefile", version: "6.1.170" }, said])).toEqual({
      version: "6.1.170",
      from: "makefile",
      disputed: [said],
    });
    expect(
      agreedBase([
        { from: "makefile", version: "7.3.0" },
        { from: "package", version: "7.3-rc7" },
      ]),
    ).toHaveProperty("disputed");
  });

  test("is nothing if nobody says anything", () => {
    expect(agreedBase([])).toBeUndefined();
    expect(agreedBase([{ from: "package", version: "trunk" }])).toBeUndefined();
  });
});

describe("the base of a kernel", () => {
  const of = { of: `sha256:${"0".repeat(64)}` } as const;

  test("is what its headers say, and else its version where that is named after it", () => {
    const kernel = { distribution: "debian12", packageVersion: "6.1.170-3" };

    expect(baseOf(kernel)).toEqual({ version: "6.1.170", from: "package" });
    expect(baseOf(kernel, { headers: { ...of, makefile: "6.1.170", upstream: "6.1.170" } })).toEqual({
      version: "6.1.170",
      from: "makefile",
    });
    expect(baseOf(kernel, { headers: { ...of, upstream: "6.1.171" } })).toMatchObject({
      disputed: [{ from: "package", version: "6.1.170" }],
    });
  });

  test("of Ubuntu never comes from its version", () => {
    const kernel = { distribution: "ubuntu22.04", packageVersion: "5.15.0-91.101" };

    expect(baseOf(kernel)).toBeUndefined();
    expect(baseOf(kernel, { headers: { ...of, upstream: "5.15.131" } })).toEqual({
      version: "5.15.131",
      from: "header",
    });
  });

  test.each(["almalinux9.4", "rhel8.10", "rocky9.4", "centos9", "ol8", "sles15.6", "flatcar", "photon4"])(
    "of %s is none: the number in its name is frozen, or another one",
    (distribution) => {
      expect(
        baseOf(
          { distribution, packageVersion: "5.14.0-611.el9" },
          { headers: { ...of, makefile: "5.14.0" } },
        ),
      ).toBeUndefined();
      expect(baseProof(distribution)).toBe("none");
    },
  );

  test.each([
    ["debian12", "both"],
    ["fedora42", "both"],
    ["amazonlinux2023", "fixed"],
    ["amazonlinux2", "fixed"],
    ["ubuntu24.04", "fixed"],
  ])("of %s proves %s", (distribution, proof) => {
    expect(baseProof(distribution)).toBe(proof);
  });
});
