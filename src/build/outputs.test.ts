import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { takeFiles, takeModules } from "./outputs.ts";

const CRC7 = await readFile(join(import.meta.dirname, "../../test/fixtures/modules/crc7.ko"));

/** What a build left, and where the evidence goes. */
async function leave(files: Readonly<Record<string, string | Buffer>>) {
  const place = await temporaryDirectory();
  const [output, evidence] = [join(place, "output"), join(place, "evidence")];
  await mkdir(output);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(output, path)), { recursive: true });
    await writeFile(join(output, path), content);
  }
  return { output, evidence };
}

const malformed = (words: RegExp) =>
  expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringMatching(words) });

describe("the modules that a build left", () => {
  test("are taken over in every shape, each with its digest", async () => {
    const { output, evidence } = await leave({
      "modules/crc7.ko": CRC7,
      "stripped/crc7.ko": CRC7,
      "compressed/crc7.ko.xz": "xz",
    });

    const modules = await takeModules(output, evidence, { compress: "xz" });

    const shape = { sha256: sha256(CRC7), size: CRC7.length };
    expect(modules).toEqual([
      { name: "crc7", ...shape, stripped: shape, compressed: { sha256: sha256("xz"), size: 2 } },
    ]);
    expect(await readFile(join(evidence, "modules/crc7.ko"))).toEqual(CRC7);
    expect(await readFile(join(evidence, "compressed/crc7.ko.xz"), "utf8")).toBe("xz");
  });

  test("must be some", async () => {
    const { output, evidence } = await leave({ "modules/notes.txt": "" });

    await expect(takeModules(output, evidence, {})).rejects.toThrow(
      expect.objectContaining({ code: "MODULE_MISSING" }),
    );
  });

  test("must be there compressed, where that was wanted", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7 });

    await expect(takeModules(output, evidence, { compress: "gz" })).rejects.toThrow(
      malformed(/crc7\.ko\.gz/),
    );
  });

  test.each<[string, Record<string, string | Buffer>, RegExp]>([
    ["no module", { "modules/a.ko": "no" }, /a\.ko/],
    ["another module than its file says", { "modules/other.ko": CRC7 }, /its name is crc7/],
    [
      "another module than its file says, stripped",
      { "modules/crc7.ko": CRC7, "stripped/crc7.ko": "no" },
      /crc7/,
    ],
  ])("are refused when one is %s", async (_, files, words) => {
    const { output, evidence } = await leave(files);

    await expect(takeModules(output, evidence, {})).rejects.toThrow(malformed(words));
  });

  test("are never read through a link", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7 });
    const outside = await leave({ "modules/crc7.ko": CRC7, "secret.bin": "secret" });
    await symlink(join(outside.output, "modules/crc7.ko"), join(output, "modules/link.ko"));

    await expect(takeModules(output, evidence, {})).rejects.toThrow(malformed(/not a plain file/));
  });

  test("are none when their directory is a link", async () => {
    const { output, evidence } = await leave({});
    const outside = await leave({ "modules/crc7.ko": CRC7 });
    await symlink(join(outside.output, "modules"), join(output, "modules"));

    await expect(takeModules(output, evidence, {})).rejects.toThrow(/no modules/);
  });
});

describe("the further files that a build left", () => {
  test("keep their paths", async () => {
    const { output, evidence } = await leave({ "files/b/c.bin": "c", "files/a.bin": "a" });

    expect(await takeFiles(output, evidence)).toEqual([
      { path: "a.bin", sha256: sha256("a"), size: 1 },
      { path: "b/c.bin", sha256: sha256("c"), size: 1 },
    ]);
    expect(await readFile(join(evidence, "files/b/c.bin"), "utf8")).toBe("c");
  });

  test("are none without a directory of them, or with a link in its place", async () => {
    const { output, evidence } = await leave({});
    const outside = await leave({ "files/secret": "x" });

    expect(await takeFiles(output, evidence)).toEqual([]);
    await symlink(join(outside.output, "files"), join(output, "files"));
    expect(await takeFiles(output, evidence)).toEqual([]);
  });

  test("with a name that cannot be part of a path are refused", async () => {
    const { output, evidence } = await leave({ "files/a b": "" });

    await expect(takeFiles(output, evidence)).rejects.toThrow(
      expect.objectContaining({ code: "UNSAFE_NAME" }),
    );
  });
});
