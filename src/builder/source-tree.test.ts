import { execFileSync } from "node:child_process";
import {
  appendFile,
  chmod,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { copySourceTree, givenModules, LAID_AT, readSourceTree } from "./source-tree.ts";

const FILES = {
  Kbuild: "obj-m := doorbell.o\n",
  "doorbell.c": "int ring;\n",
  "include/doorbell.h": "extern int ring;\n",
  "scripts/version.sh": "echo 1\n",
};

async function makeTree(files: Readonly<Record<string, string>> = FILES): Promise<string> {
  const directory = await temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content);
  }
  return directory;
}

const digestOf = async (directory: string) => (await readSourceTree(directory)).digest;
const invalid = expect.objectContaining({ code: "DRIVER_INVALID" });

describe("the digest of a driver's source", () => {
  test("does not depend on where it lies, when, whose it is, or in which order it was written", async () => {
    const directory = await makeTree();
    const other = await makeTree(Object.fromEntries(Object.entries(FILES).toReversed()));
    for (const path of Object.keys(FILES)) {
      await utimes(join(other, path), 0, 0);
      await chmod(join(other, path), 0o600);
    }
    execFileSync("chown", ["-R", "1234:5678", other]);

    expect(await digestOf(other)).toBe(await digestOf(directory));
  });

  test.each<[string, (directory: string) => Promise<unknown>]>([
    ["a byte", (directory) => writeFile(join(directory, "doorbell.c"), "int rang;\n")],
    ["a file's name", (directory) => rename(join(directory, "doorbell.c"), join(directory, "bell.c"))],
    [
      "a file's place",
      (directory) => rename(join(directory, "doorbell.c"), join(directory, "include/doorbell.c")),
    ],
    ["whether a file can be executed", (directory) => chmod(join(directory, "scripts/version.sh"), 0o755)],
    ["one file more", (directory) => writeFile(join(directory, "empty"), "")],
    ["a link more", (directory) => symlink("doorbell.c", join(directory, "link.c"))],
    ["a blob that was shipped", (directory) => writeFile(join(directory, "firmware.o"), "ELF")],
  ])("changes with %s", async (_, change) => {
    const directory = await makeTree();
    const before = await digestOf(directory);

    await change(directory);

    expect(await digestOf(directory)).not.toBe(before);
  });

  test("says what was left over, and which modules were given", async () => {
    const directory = await makeTree({
      ...FILES,
      "tools/base.ko": "ELF",
      "doorbell.o": "",
      ".doorbell.o.cmd": "",
      "vendor/engine.o": "ELF",
      "vendor/.engine.o.cmd": "",
      ".gitignore": "*.o",
    });

    const source = await readSourceTree(directory);

    expect(source.leftovers).toEqual([".doorbell.o.cmd", "doorbell.o"]);
    expect(givenModules(source).map(({ path }) => path)).toEqual(["tools/base.ko"]);
    expect(source.files.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["vendor/engine.o", "vendor/.engine.o.cmd"]),
    );
  });

  test("tells a file from a link whose target reads like it", async () => {
    const [file, link] = [await makeTree(), await makeTree()];
    await writeFile(join(file, "a"), "doorbell.c");
    await symlink("doorbell.c", join(link, "a"));

    expect(await digestOf(file)).not.toBe(await digestOf(link));
  });

  test("does not change with what a build and version control leave in the tree", async () => {
    const directory = await makeTree();
    const before = await digestOf(directory);
    const leftovers = [
      ...["doorbell.o", "doorbell.ko", "doorbell.mod", "doorbell.mod.o"].flatMap((name) => [
        name,
        `.${name}.cmd`,
      ]),
      ...["doorbell.mod.c", "Module.symvers", "modules.order", ".Module.symvers.cmd", ".gitignore"],
      ...[
        "include/helper.o",
        "include/.helper.o.cmd",
        ".git/HEAD",
        ".kmodfarm/store/channels/stable",
        ".tmp_versions/doorbell.mod",
      ],
    ];

    for (const path of leftovers) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), "left");
    }

    expect(await digestOf(directory)).toBe(before);
  });

  test("is the same for a copy, whatever the tree", async () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9._ -]{0,8}$/);
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => `d/${parts.join("/")}.c`);
    await fc.assert(
      fc.asyncProperty(fc.dictionary(path, fc.string()), async (files) => {
        const directory = await makeTree({ Makefile: "", ...files });
        const target = await temporaryDirectory();
        const source = await readSourceTree(directory);

        await copySourceTree(source, target);

        const copy = await readSourceTree(target);
        expect([copy.digest, copy.files]).toEqual([source.digest, source.files]);
      }),
      { numRuns: 20 },
    );
  });
});

describe("a tree that is no driver", () => {
  test("is one that is not there, or is a file", async () => {
    const directory = await makeTree();

    await expect(readSourceTree(join(directory, "none"))).rejects.toThrow(invalid);
    await expect(readSourceTree(join(directory, "Kbuild"))).rejects.toThrow(invalid);
  });

  test.each([
    ["an absolute path", "/etc/passwd"],
    ["a path that leads out", "../../etc/passwd"],
    ["a path that leads out by a way through the tree", "include/../../a"],
    ["the directory above", ".."],
  ])("is one with a link to %s", async (_, target) => {
    const directory = await makeTree();
    await symlink(target, join(directory, "link"));

    await expect(readSourceTree(directory)).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringContaining(`to ${target}`) }),
    );
  });

  test("is one with a pipe in it", async () => {
    const directory = await makeTree();
    execFileSync("mkfifo", [join(directory, "include", "pipe")]);

    await expect(readSourceTree(directory)).rejects.toThrow(
      expect.objectContaining({ message: expect.stringContaining("include/pipe") }),
    );
  });
});

describe("copySourceTree", () => {
  test("copies files and links with the same modes everywhere, and nothing that is left over", async () => {
    const directory = await makeTree({ ...FILES, "doorbell.o": "left", ".doorbell.o.cmd": "" });
    await chmod(join(directory, "doorbell.c"), 0o600);
    await chmod(join(directory, "scripts/version.sh"), 0o700);
    await symlink("../doorbell.c", join(directory, "include", "link.c"));
    const target = join(await temporaryDirectory(), "build");

    await copySourceTree(await readSourceTree(directory), target);

    const mode = async (path: string) => ((await lstat(join(target, path))).mode & 0o777).toString(8);
    expect(await mode("doorbell.c")).toBe("644");
    expect(await mode("scripts/version.sh")).toBe("755");
    expect(await readlink(join(target, "include/link.c"))).toBe("../doorbell.c");
    expect(await readFile(join(target, "include/doorbell.h"), "utf8")).toBe(FILES["include/doorbell.h"]);
    await expect(lstat(join(target, "doorbell.o"))).rejects.toThrow("ENOENT");
  });

  test("gives all files, links and directories one time that is long past", async () => {
    const directory = await makeTree({ "configure.ac": "", "a/b/configure": "#!/bin/sh\n", Kbuild: "" });
    await utimes(join(directory, "configure.ac"), 2_000_000_000, 2_000_000_000);
    await symlink("b/configure", join(directory, "a", "link"));
    const target = join(await temporaryDirectory(), "build");

    await copySourceTree(await readSourceTree(directory), target);

    const entries = await readdir(target, { recursive: true });
    expect(entries.length).toBe(6);
    for (const path of ["", ...entries])
      expect((await lstat(join(target, path), { bigint: true })).mtimeNs, path).toBe(
        BigInt(LAID_AT.getTime()) * 1_000_000n,
      );
    expect(LAID_AT.getUTCFullYear()).toBeGreaterThan(1980);
    expect(LAID_AT.getTime()).toBeLessThan(Date.now() - 1e11);
  });

  test.each<[string, (file: string) => unknown]>([
    ["has other bytes", (file) => writeFile(file, "int rang;\n")],
    ["has grown", (file) => appendFile(file, "x".repeat(3_000_000))],
    ["is shorter", (file) => writeFile(file, "int")],
    ["is gone", (file) => rm(file)],
    ["is a link to the same bytes", (file) => rename(file, `${file}2`).then(() => symlink(`${file}2`, file))],
  ])("refuses a file that, after it was read, %s", async (_name, change) => {
    const directory = await makeTree();
    const source = await readSourceTree(directory);
    const target = join(await temporaryDirectory(), "build");
    await change(join(directory, "doorbell.c"));

    await expect(copySourceTree(source, target)).rejects.toThrow(
      expect.objectContaining({
        code: "SOURCE_CHANGED",
        message: `the source changed while it was read: ${join(directory, "doorbell.c")}`,
        hint: expect.stringContaining("Run again"),
        blame: "infra",
      }),
    );
    const laid = await lstat(join(target, "doorbell.c")).catch(() => undefined);
    expect(laid?.size ?? 0).toBeLessThanOrEqual(FILES["doorbell.c"].length + 1);
  });

  test("leaves the driver's own tree as it was when the copy is changed", async () => {
    const directory = await makeTree();
    const target = join(await temporaryDirectory(), "build");
    const source = await readSourceTree(directory);
    await copySourceTree(source, target);

    await writeFile(join(target, "doorbell.c"), "changed");
    await cp(join(target, "Kbuild"), join(target, "doorbell.h"));

    expect(await digestOf(directory)).toBe(source.digest);
  });
});
