import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { inspectTree, nativePaths, readInTrees } from "./tree.ts";

const KERNEL = "6.1.0-56-amd64";

interface Laid {
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
}

async function treeOf({ files = {}, links = {} }: Laid): Promise<string> {
  const tree = await temporaryDirectory();
  for (const path of [...Object.keys(files), ...Object.keys(links)])
    await mkdir(dirname(join(tree, path)), { recursive: true });
  for (const [path, content] of Object.entries(files)) await writeFile(join(tree, path), content);
  for (const [path, target] of Object.entries(links)) await symlink(target, join(tree, path));
  return tree;
}

describe("what a build sees of a package", () => {
  const shown = async (name: string, laid: Laid) => {
    const tree = await treeOf(laid);
    return nativePaths([{ tree, record: { name } }], KERNEL).map(([outside, inside]) => {
      expect(outside).toBe(join(tree, inside));
      return inside;
    });
  };

  test.each([
    [`linux-headers-${KERNEL}`, `usr/src/linux-headers-${KERNEL}/Makefile`],
    ["linux-headers-6.1.0-56-common", "usr/src/linux-headers-6.1.0-56-common/Makefile"],
    ["linux-kbuild-6.1", "usr/lib/linux-kbuild-6.1/scripts/fixdep"],
    ["kernel-devel", `usr/src/kernels/${KERNEL}/Makefile`],
    ["linux-hwe-6.5-headers-6.5.0-14", "usr/src/linux-hwe-6.5-headers-6.5.0-14/Makefile"],
  ])("%s: its own directory", async (name, file) => {
    expect(await shown(name, { files: { [file]: "" } })).toEqual([
      `/${dirname(file).replace("/scripts", "")}`,
    ]);
  });

  test("linux-kbuild-6.1: what the link below /usr/src leads to", async () => {
    const laid = {
      files: { "usr/lib/linux-kbuild-6.1/scripts/fixdep": "" },
      links: { "usr/src/linux-kbuild-6.1": "../lib/linux-kbuild-6.1" },
    };

    expect(await shown("linux-kbuild-6.1", laid)).toEqual(["/usr/lib/linux-kbuild-6.1"]);
  });

  test("nothing else that it brings", async () => {
    const files = {
      "usr/src/linux-headers-other/Makefile": "",
      "usr/src/kernels/other/Makefile": "",
      "usr/lib/linux-kbuild-6.1/x": "",
      "etc/x": "",
    };

    expect(await shown(`linux-headers-${KERNEL}`, { files })).toEqual([]);
  });

  test.each<[string, Record<string, string>]>([
    ["a link in its place", { [`usr/src/linux-headers-${KERNEL}`]: "../../etc" }],
    ["a link to a neighbour in its place", { [`usr/src/linux-headers-${KERNEL}`]: "x" }],
    ["a link above it", { "usr/src": "/etc" }],
    ["a link at the top", { usr: "/" }],
  ])("%s is refused", async (_name, links) => {
    await expect(shown(`linux-headers-${KERNEL}`, { links })).rejects.toThrow(
      expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringContaining("is a link") }),
    );
  });

  test("refuses a name that would be another place", async () => {
    await expect(shown("../../etc", {})).rejects.toThrow("not a safe name");
  });
});

describe("links of a package", () => {
  test.each<[string, Record<string, string>, RegExp]>([
    [
      "that lead out together, and none alone",
      { "usr/deep/d/d/l": "../../../..", "usr/deep/d/d/x": "l/../etc", "usr/src/kernels": "../deep/d/d/x" },
      /link out of the package/,
    ],
    ["that lead out by an absolute one", { "usr/src/a": "/usr/src/b/../../../..", x: "usr/src/a" }, /out of/],
    ["that lead elsewhere by another one", { "usr/src/a": "b", "usr/src/b": "/etc" }, /is a link to \/etc/],
    ["that lead nowhere", { "usr/a": "b", "usr/b": "a" }, /leads to no end/],
  ])("%s are refused", async (_name, links, words) => {
    await expect(inspectTree(await treeOf({ links }), "x.deb")).rejects.toThrow(words);
  });
});

describe("reading in several trees", () => {
  test("gives up on a chain of links that all of them have", async () => {
    const chain = Array.from({ length: 14 }, (_, index) => [`usr/l${index}`, `l${index + 1}`]);
    const links = Object.fromEntries(chain);
    const trees = await Promise.all([1, 2, 3].map(() => treeOf({ links })));
    const before = performance.now();

    expect(readInTrees(trees, "usr/l0", 100)).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(500);
  });

  test("gives up on a long way up and down", async () => {
    const deep = "d/".repeat(90);
    const tree = await treeOf({
      files: { [`${deep}e/x`]: "", [`${deep}y`]: "" },
      links: { l: `${deep}${"e/../".repeat(700)}y` },
    });
    const before = performance.now();

    expect(readInTrees([tree], "l", 100)).toBeUndefined();
    expect(readInTrees([tree], `${deep}y`, 100)?.toString()).toBe("");
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test("follows a link of one into another", async () => {
    const one = await treeOf({
      links: { "usr/src/a/.config": "../b/.config" },
      files: { "usr/src/a/x": "" },
    });
    const other = await treeOf({ files: { "usr/src/b/.config": "CONFIG_X=y" } });

    expect(readInTrees([one, other], "/usr/src/a/.config", 100)?.toString()).toBe("CONFIG_X=y");
  });
});

describe("the seal of a tree", () => {
  const files = { "usr/a": "content", "usr/b": "" };

  test("is the same when it is looked at again, whatever is read in it", async () => {
    const tree = await treeOf({ files, links: { "usr/l": "a" } });
    const seal = await inspectTree(tree, "x");
    readInTrees([tree], "/usr/a", 100);

    expect(await inspectTree(tree, "x")).toBe(seal);
  });

  test.each<[string, (tree: string) => Promise<unknown>]>([
    ["a file that was cut short", (tree) => writeFile(join(tree, "usr/a"), "cont")],
    ["a file of the same size that was written later", (tree) => writeFile(join(tree, "usr/a"), "CONTENT")],
    ["one file more", (tree) => writeFile(join(tree, "usr/c"), "")],
    ["one link more", (tree) => symlink("a", join(tree, "usr/c"))],
  ])("is another one after %s", async (_name, change) => {
    const tree = await treeOf({ files });
    const seal = await inspectTree(tree, "x");
    await change(tree);

    expect(await inspectTree(tree, "x")).not.toBe(seal);
  });
});
