import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { readCompiler } from "./compiler.ts";
import { readInTrees } from "./tree.ts";

const DIRECTORY = "/usr/src/linux-headers-6.1";
const TEXT = 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"\n';
const HEADER = '#define LINUX_COMPILER "gcc version 7.3.1 20180712 (Red Hat 7.3.1-17) (GCC)"\n';

async function treeOf(files: Readonly<Record<string, string>>, links: Readonly<Record<string, string>> = {}) {
  const tree = await temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await writeFile(join(tree, path), content);
  }
  for (const [path, target] of Object.entries(links)) {
    await mkdir(dirname(join(tree, path)), { recursive: true });
    await symlink(target, join(tree, path));
  }
  return tree;
}

describe("the compiler in a kernel's headers", () => {
  const gcc12 = { family: "gcc", version: "12.2.0", source: "config" };

  test.each([".config", "include/config/auto.conf"])("is read from %s", async (file) => {
    expect(readCompiler([await treeOf({ [`${DIRECTORY}/${file}`]: TEXT })], DIRECTORY)).toEqual(gcc12);
  });

  test("is read from compile.h where the configuration is too old to tell", async () => {
    const tree = await treeOf({
      [`${DIRECTORY}/.config`]: "CONFIG_X86=y\n",
      [`${DIRECTORY}/include/generated/compile.h`]: HEADER,
    });

    expect(readCompiler([tree], DIRECTORY)).toEqual({
      family: "gcc",
      version: "7.3.1",
      source: "header",
    });
  });

  test("is not known where nothing tells", async () => {
    expect(readCompiler([await treeOf({})], DIRECTORY)).toBeUndefined();
    expect(readCompiler([await treeOf({ [`${DIRECTORY}/.config`]: "" })], DIRECTORY)).toBeUndefined();
  });

  test("is found by links into another package of the kernel", async () => {
    const [own, common] = [
      await treeOf({}, { [`${DIRECTORY}/.config`]: "../linux-headers-6.1-common/config" }),
      await treeOf({ "usr/src/linux-headers-6.1-common/config": TEXT }),
    ];

    expect(readCompiler([own, common], DIRECTORY)).toEqual(gcc12);
  });
});

describe("reading in trees", () => {
  test.each([
    ["a link to a file of ours", "/etc/hostname"],
    ["a link up and out", "../../../../../etc/hostname"],
    ["a link to itself", "f"],
    ["a link to nothing", "nowhere"],
    ["a link to a directory", "."],
  ])("never leaves them by %s", async (_, target) => {
    const tree = await treeOf({}, { "usr/src/f": target });

    expect(readInTrees([tree], "/usr/src/f", 100)).toBeUndefined();
  });

  test("never leaves them by a directory that is a link", async () => {
    const outside = await treeOf({ f: "outside" });
    const tree = await treeOf({}, { "usr/src": outside });

    expect(readInTrees([tree], "/usr/src/f", 100)).toBeUndefined();
  });

  test("takes no more than asked for", async () => {
    expect(readInTrees([await treeOf({ f: "1234567890" })], "/f", 4)?.toString()).toBe("1234");
  });
});
