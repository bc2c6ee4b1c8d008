import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { makePackage } from "../../test/support/kernels.ts";
import type { Digest } from "../base/json.ts";
import { architecture } from "../kernel/architecture.ts";
import type { Element } from "../matrix/element.ts";
import type { DriverBuild, LoadedDriver } from "./driver.ts";
import {
  buildPackages,
  type RecipeInput,
  recipeChanges,
  recipeKey,
  recipeOf,
  relevantPackages,
} from "./recipe.ts";

const ROOT = [
  { name: "binutils", version: "2.40-2" },
  { name: "binutils-aarch64-linux-gnu", version: "2.40-2" },
  { name: "binutils-common", version: "2.40-2" },
  { name: "binutils-x86-64-linux-gnu", version: "2.40-2" },
  { name: "cpp-12", version: "12.2.0-14" },
  { name: "gcc-12", version: "12.2.0-14" },
  { name: "gcc-12-aarch64-linux-gnu", version: "12.2.0-14" },
  { name: "gcc-12-base", version: "12.2.0-14" },
  { name: "kmod", version: "30" },
  { name: "libc6", version: "2.36-9" },
  { name: "make", version: "4.3-4.1" },
  { name: "pahole", version: "1.24-4.1" },
  { name: "tzdata", version: "2024a-0" },
];

function makeDriver(
  changes: { digest?: Digest; modules?: readonly string[] } = {},
  build: Partial<DriverBuild> = {},
): LoadedDriver {
  return {
    name: "doorbell",
    version: "0.1.1",
    source: { directory: "/driver", files: [], digest: changes.digest ?? "sha256:aa", leftovers: [] },
    origin: { kind: "directory", place: "/driver" },
    modules: changes.modules ?? ["doorbell"],
    build: { kind: "kbuild", packages: [], files: [], ...build },
  };
}

/** As it was before registries kept anything for rebuilds: a changed key would build everything anew. */
const KEY = "sha256:47d8b8b7f0fe54e32f7f1f89bcb7e84e3383107136070e5eab565705817c4526";

test("what a registry keeps for rebuilds is no part of a recipe", () => {
  const files = ROOT.map((one) => ({
    ...one,
    architecture: "amd64",
    sha256: "a".repeat(64),
    size: 1,
    place: "",
  }));

  expect(keyOf()).toBe(KEY);
  expect(keyOf({ root: files, driver: { ...makeDriver(), isPrivate: true } })).toBe(KEY);
});

function keyOf(changes: Partial<RecipeInput> = {}): string {
  return recipeKey(recipeOf({ ...inputOf(), ...changes }));
}

function inputOf(): RecipeInput {
  return {
    element: makeElement(),
    driver: makeDriver(),
    builder: "x86_64",
    root: ROOT,
    scripts: "sha256:bb",
  };
}

/** The root with one package in another version. */
const bumped = (name: string) => {
  expect(ROOT.map((one) => one.name)).toContain(name);
  return ROOT.map((one) => (one.name === name ? { name, version: `${one.version}+deb12u1` } : one));
};

const withHeaders = (element: Element, headers: Element["packages"]["headers"]): Element => ({
  ...element,
  packages: { ...element.packages, headers },
});

describe("the recipe key", () => {
  const element = makeElement();
  const KEY = keyOf();

  test("is a digest, the same for the same recipe", () => {
    expect(KEY).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(keyOf()).toBe(KEY);
  });

  test.each(["libc6", "tzdata", "gcc-12-base"])("stays with another %s in the root", (name) => {
    expect(keyOf({ root: bumped(name) })).toBe(KEY);
  });

  test.each(["gcc-12", "cpp-12", "binutils", "binutils-x86-64-linux-gnu", "make", "kmod", "pahole"])(
    "changes with another %s in the root",
    (name) => {
      expect(keyOf({ root: bumped(name) })).not.toBe(KEY);
    },
  );

  test.each(["gcc-12-aarch64-linux-gnu", "binutils-aarch64-linux-gnu"])(
    "of a native build does not know %s; of a cross build it does",
    (name) => {
      const arm = makeElement({ kversion: "6.1.0-56-arm64", architecture: "aarch64" });

      expect(keyOf({ root: bumped(name) })).toBe(KEY);
      expect(keyOf({ element: arm, root: bumped(name) })).not.toBe(keyOf({ element: arm }));
    },
  );

  test.each<[string, Partial<RecipeInput>]>([
    ["the order of packages in the root", { root: ROOT.toReversed() }],
    ["the order of headers", { element: withHeaders(element, element.packages.headers.toReversed()) }],
    [
      "where headers lie",
      {
        element: withHeaders(
          element,
          element.packages.headers.map((one) => ({ ...one, source: "elsewhere", path: `x/${one.path}` })),
        ),
      },
    ],
    ["other URLs", { element: { ...element, kernelurls: [] } }],
    [
      "another boot image",
      { element: { ...element, packages: { ...element.packages, image: [], modules: [] } } },
    ],
    ["what the element says of itself", { element: { ...element, recipe: "sha256:00", output: "x" } }],
  ])("stays with %s", (_, changes) => {
    expect(keyOf(changes)).toBe(KEY);
  });

  test.each<[string, Partial<RecipeInput>]>([
    ["another source", { driver: makeDriver({ digest: "sha256:cc" }) }],
    ["other modules", { driver: makeDriver({ modules: ["doorbell", "tally"] }) }],
    ["a tree of DKMS", { driver: makeDriver({}, { kind: "dkms" }) }],
    ["another directory", { driver: makeDriver({}, { directory: "src" }) }],
    ["a step before", { driver: makeDriver({}, { prepare: ["./configure"] }) }],
    ["a make of its own", { driver: makeDriver({}, { make: ["make"] }) }],
    ["files to keep", { driver: makeDriver({}, { files: ["*.bin"] }) }],
    ["stripping", { driver: makeDriver({}, { strip: true }) }],
    ["compression", { driver: makeDriver({}, { compress: "xz" }) }],
    ["a package that is in the root", { driver: makeDriver({}, { packages: ["libc6"] }) }],
    ["other scripts", { scripts: "sha256:cc" }],
    ["another driver version", { element: { ...element, driverversion: "0.1.2" } }],
    ["another package version of the kernel", { element: { ...element, packageVersion: "6.1.172-1" } }],
    ["another distribution release", { element: { ...element, distribution: "debian13" } }],
    [
      "other bytes of a header package",
      {
        element: withHeaders(
          element,
          element.packages.headers.map((one) => ({ ...one, sha256: "0".repeat(64) })),
        ),
      },
    ],
    ["one header package less", { element: withHeaders(element, element.packages.headers.slice(1)) }],
  ])("changes with %s", (_, changes) => {
    expect(keyOf(changes)).not.toBe(KEY);
  });

  test("knows the compressor only where it takes part", () => {
    const root = [...ROOT, { name: "xz-utils", version: "5.4.1-1" }];
    const key = (version: string, build: Partial<DriverBuild>) =>
      keyOf({ root: [...ROOT, { name: "xz-utils", version }], driver: makeDriver({}, build) });

    expect(keyOf({ root })).toBe(KEY);
    expect(key("5.4.1-1", { compress: "xz" })).not.toBe(key("5.6.0-1", { compress: "xz" }));
  });

  test("does not say what is as usual", () => {
    expect(keyOf({ driver: makeDriver({}, { strip: false }) })).toBe(KEY);
    expect(keyOf({ driver: makeDriver({}, { kind: "dkms", strip: false }) })).not.toBe(
      keyOf({ driver: makeDriver({}, { kind: "dkms" }) }),
    );
  });

  test("of a cross build is another than that of a native one", () => {
    const arm = makeElement({ kversion: "6.1.0-56-arm64", architecture: "aarch64" });

    expect(keyOf({ element: arm })).not.toBe(keyOf({ element: arm, builder: "aarch64" }));
  });
});

describe("relevantPackages", () => {
  test("leaves out what cannot change the bytes, and sorts", () => {
    const names = relevantPackages(ROOT.toReversed(), architecture("x86_64")).map(({ name }) => name);

    expect(names).toEqual([
      "binutils",
      "binutils-common",
      "binutils-x86-64-linux-gnu",
      "cpp-12",
      "gcc-12",
      "kmod",
      "make",
      "pahole",
    ]);
  });
});

describe("relevantPackages of a driver with needs of its own", () => {
  const root = [
    ...ROOT,
    { name: "libelf-dev", version: "0.188-2.1" },
    { name: "libelf1", version: "0.188-2.1" },
  ];

  test("has those it named, and not what they brought along", () => {
    const names = relevantPackages(root, architecture("x86_64"), ["libelf-dev"]).map(({ name }) => name);

    expect(names).toContain("libelf-dev");
    expect(names).not.toContain("libelf1");
    expect(names).toContain("gcc-12");
  });
});

describe("buildPackages", () => {
  const arm = makeElement({ kversion: "6.1.0-56-arm64", architecture: "aarch64" });

  test("are the headers as they are on a machine of the kernel's own architecture", () => {
    expect(buildPackages(arm, "aarch64")).toEqual(arm.packages.headers);
  });

  test("have the build tools of the machine that builds", () => {
    const common = makePackage({ name: "linux-headers-6.1.0-56-common", architecture: "all" });
    const packages = buildPackages(withHeaders(arm, [...arm.packages.headers, common]), "x86_64");

    expect(packages.map(({ name, architecture: its }) => [name, its])).toEqual([
      ["linux-headers-6.1.0-56-arm64", "aarch64"],
      ["linux-kbuild-6.1", "x86_64"],
      ["linux-headers-6.1.0-56-common", "all"],
    ]);
  });

  test.each([
    ["for that machine", [makePackage({ name: "linux-kbuild-6.1", architecture: "aarch64" })]],
    ["at all", []],
  ])("cannot be had when no index has those tools %s", (_, crossTools) => {
    const lacking = { ...arm, packages: { ...arm.packages, crossTools } };

    expect(() => buildPackages(lacking, "x86_64")).toThrow(
      expect.objectContaining({ code: "NOT_FETCHABLE" }),
    );
  });
});

describe("what differs between two recipes", () => {
  const before = recipeOf(inputOf());
  test.each<[string, Partial<RecipeInput>, string[]]>([
    ["nothing", {}, []],
    [
      "the source and the scripts",
      { driver: makeDriver({ digest: "sha256:bb" }), scripts: "sha256:cc" },
      ["the driver's source changed", "kmodfarm's own build scripts changed"],
    ],
    ["a setting", { driver: makeDriver({}, { make: ["V=1"] }) }, ["how the driver is built changed"]],
    [
      "a compiler",
      { root: ROOT.map((one) => (one.name === "gcc-12" ? { ...one, version: "12.2.0-15" } : one)) },
      ["toolchain: gcc-12 12.2.0-14 → 12.2.0-15"],
    ],
    [
      "every tool",
      { root: ROOT.map((one) => ({ ...one, version: "9" })) },
      ["toolchain: binutils 2.40-2 → 9, binutils-common 2.40-2 → 9 and 6 more"],
    ],
    [
      "a tool that is gone",
      { root: ROOT.filter(({ name }) => name !== "pahole") },
      ["toolchain: pahole 1.24-4.1 → not there"],
    ],
  ])("%s", (_, changes, said) => {
    expect(recipeChanges(before, recipeOf({ ...inputOf(), ...changes }))).toEqual(said);
  });
});
