import { describe, expect, test } from "vitest";
import { type BuildSettings, driverBuild } from "./driver.ts";
import type { SourceTree } from "./source-tree.ts";

function treeOf(...paths: string[]): SourceTree {
  const files = paths.map((path) => ({ path, kind: "file" as const, sizeBytes: 0, content: "0" }));
  return { directory: "/driver", files, digest: "sha256:00", leftovers: [] };
}

describe("how a tree is built", () => {
  test.each<[string, SourceTree, BuildSettings, "kbuild" | "dkms"]>([
    ["a Kbuild file", treeOf("Kbuild"), {}, "kbuild"],
    ["a Makefile", treeOf("Makefile"), {}, "kbuild"],
    ["a dkms.conf beside it", treeOf("Makefile", "dkms.conf"), {}, "dkms"],
    ["a dkms.conf and a make of its own", treeOf("Makefile", "dkms.conf"), { make: "make" }, "kbuild"],
    ["a dkms.conf that is not wanted", treeOf("Makefile", "dkms.conf"), { build: "kbuild" }, "kbuild"],
    ["a Kbuild in its directory", treeOf("src/Kbuild", "dkms.conf"), { directory: "src" }, "kbuild"],
    ["a dkms.conf in its directory", treeOf("src/dkms.conf"), { directory: "src" }, "dkms"],
    ["a step that will make the Makefile", treeOf("configure"), { prepare: "./configure" }, "kbuild"],
  ])("with %s", (_, tree, settings, kind) => {
    expect(driverBuild(tree, settings).kind).toBe(kind);
  });

  test.each<[string, SourceTree, BuildSettings, RegExp]>([
    ["nothing at its top", treeOf("src/Makefile"), {}, /\/driver has neither .* at its top/],
    ["nothing in its directory", treeOf("Makefile"), { directory: "src" }, / in src$/],
    ["no dkms.conf where one is wanted", treeOf("Makefile"), { build: "dkms" }, /no dkms\.conf at its top/],
    ["no dkms.conf whatever prepares it", treeOf("x"), { build: "dkms", prepare: "make" }, /no dkms\.conf/],
  ])("is refused with %s", (_, tree, settings, words) => {
    expect(() => driverBuild(tree, settings)).toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringMatching(words) }),
    );
  });

  test("has what its package depends on, unless packages are configured", () => {
    const tree = treeOf("dkms.conf");

    expect(driverBuild(tree, {}, ["libc6-dev"])).toMatchObject({ packages: [], depends: ["libc6-dev"] });
    expect(driverBuild(tree, { packages: ["pkgconf"] }, ["libc6-dev"])).toEqual(
      driverBuild(tree, { packages: ["pkgconf"] }),
    );
  });

  test("takes one shell line as a list of one", () => {
    expect(driverBuild(treeOf("Makefile"), { make: "make all", prepare: ["a", "b"] })).toEqual({
      kind: "kbuild",
      packages: [],
      files: [],
      make: ["make all"],
      prepare: ["a", "b"],
    });
  });
});
