import { readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { findRelease } from "../../kernel/distributions/index.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import { chooseCompiler, compilerPackages, imageFolder, isCross, readImage } from "./image.ts";

const IMAGES = join(import.meta.dirname, "..", "..", "..", "images");
/** Folders of no release: what containers have in common, and the image that runs kmodfarm itself. */
const OTHERS = ["container", "kmodfarm"];
const FOLDERS = readdirSync(IMAGES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !OTHERS.includes(entry.name))
  .map(({ name }) => name);
const compiler = (family: Compiler["family"], version: string): Compiler => ({
  family,
  version,
  source: "config",
});

test("there are images for the distributions that the farm serves", () => {
  expect(FOLDERS.length).toBeGreaterThan(15);
});

describe.each(FOLDERS)("the image %s", (folder) => {
  test("offers compilers, each once, and installs what every build needs", async () => {
    const image = await readImage(IMAGES, folder);

    const names = image.compilers.map(({ family, version }) => `${family}-${version}`);
    expect(names.length).toBeGreaterThan(0);
    expect(new Set(names).size).toBe(names.length);
    expect(image.packages.map(({ name }) => name)).toEqual(expect.arrayContaining(["make", "kmod"]));
    for (const { packages } of image.compilers) {
      for (const name of packages) expect(name).toMatch(/^[a-z0-9][a-z0-9.+-]*(\{cross\})?$/);
    }
  });

  test("belongs to a release that is known, or to its minor ones", () => {
    const release = findRelease(folder) ?? findRelease(`${folder}.4`) ?? findRelease(`${folder}.0`);

    expect(release?.release.key.startsWith(folder)).toBe(true);
  });

  test("locks only packages that it names", async () => {
    const image = await readImage(IMAGES, folder);
    const named = new Set([
      ...image.packages.map(({ name }) => name),
      ...image.compilers.flatMap((one) =>
        (["x86_64", "aarch64"] as const).flatMap((builder) => compilerPackages(one, builder)),
      ),
    ]);

    expect(image.lock.filter(({ name }) => !named.has(name))).toEqual([]);
  });
});

describe("the folder of a release", () => {
  test.each([
    ["debian12", "debian12"],
    ["debiansid", "debiansid"],
    ["almalinux9.4", "almalinux9"],
    ["almalinux10.1", "almalinux10"],
    ["ubuntu22.04", "ubuntu22.04"],
    ["amazonlinux2", "amazonlinux2"],
    ["amazonlinux2023", "amazonlinux2023"],
  ])("%s is %s", async (release, folder) => {
    expect(await imageFolder(IMAGES, release)).toBe(folder);
  });

  test("a release without one is refused, and told how to name another", async () => {
    await expect(imageFolder(IMAGES, "rhel9.4")).rejects.toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", hint: expect.stringContaining("toolchains") }),
    );
  });
});

describe("an image", () => {
  async function imageOf(files: Readonly<Record<string, string>>) {
    const images = await temporaryDirectory();
    await mkdir(join(images, "x"));
    for (const [name, text] of Object.entries(files)) await writeFile(join(images, "x", name), text);
    return readImage(images, "x");
  }

  test("is read from its three lists, comments and all", async () => {
    const image = await imageOf({
      "packages.txt": "# words\nmake\n\ndwarves?   # where there is one\n",
      "compilers.txt": "gcc 10 gcc10-gcc gcc10\ngcc 12 gcc-12 gcc-12 gcc-12-{cross}\n",
      "packages.lock": "x86_64 make 4.3-4.1\n",
    });

    expect(image.packages).toEqual([
      { name: "make", isOptional: false },
      { name: "dwarves", isOptional: true },
    ]);
    expect(image.compilers.map(isCross)).toEqual([false, true]);
    expect(image.compilers.map((one) => compilerPackages(one, "x86_64"))).toEqual([
      ["gcc10"],
      ["gcc-12", "gcc-12-aarch64-linux-gnu"],
    ]);
    expect(compilerPackages(image.compilers[1] as never, "aarch64")).toEqual([
      "gcc-12",
      "gcc-12-x86-64-linux-gnu",
    ]);
    expect(image.lock).toEqual([{ architecture: "x86_64", name: "make", version: "4.3-4.1" }]);
  });

  test.each(["tcc 1 tcc tcc", "gcc twelve gcc gcc", "gcc 12 gcc-12", "gcc"])(
    "refuses the compiler %j",
    async (line) => {
      await expect(imageOf({ "compilers.txt": line })).rejects.toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }),
      );
    },
  );
});

describe("the compiler for a kernel", () => {
  const offered = (family: "gcc" | "clang", version: string) => ({
    family,
    version,
    command: `${family}-${version}`,
    packages: [`${family}-${version}`],
  });
  const image = {
    folder: "x",
    compilers: [offered("gcc", "4.8"), offered("gcc", "10"), offered("gcc", "12"), offered("clang", "19")],
  };
  const choose = (wanted: Compiler, policy: "exact" | "nearest" = "exact") =>
    chooseCompiler(image, wanted, policy).command;

  test.each([
    [compiler("gcc", "12"), "gcc-12"],
    [compiler("gcc", "12.2.0"), "gcc-12"],
    [compiler("gcc", "10.5.0"), "gcc-10"],
    [compiler("gcc", "4.8.5"), "gcc-4.8"],
    [compiler("clang", "19.1.7"), "clang-19"],
  ])("is the one that built it: %o", (wanted, command) => {
    expect(choose(wanted)).toBe(command);
    expect(choose(wanted, "nearest")).toBe(command);
  });

  test.each([
    compiler("gcc", "1"),
    compiler("gcc", "11.4.1"),
    compiler("gcc", "120"),
    compiler("clang", "18.0.0"),
  ])("is none where the image does not offer it: %o", (wanted) => {
    expect(() => choose(wanted)).toThrow(
      expect.objectContaining({
        code: "COMPILER_UNAVAILABLE",
        message: expect.stringContaining("offers gcc-4.8, gcc-10, gcc-12, clang-19"),
      }),
    );
  });

  test.each([
    [compiler("gcc", "11.4.1"), "gcc-12"],
    [compiler("gcc", "8.5.0"), "gcc-10"],
    [compiler("gcc", "16.1.0"), "gcc-12"],
    [compiler("clang", "17.0.6"), "clang-19"],
  ])("is the nearest of its family where that is allowed: %o", (wanted, command) => {
    expect(choose(wanted, "nearest")).toBe(command);
  });

  test("is never one of another family", () => {
    const onlyGcc = { folder: "x", compilers: [offered("gcc", "12")] };

    expect(() => chooseCompiler(onlyGcc, compiler("clang", "12.0.0"), "nearest")).toThrow(
      expect.objectContaining({ code: "COMPILER_UNAVAILABLE" }),
    );
  });
});
