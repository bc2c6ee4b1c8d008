import { randomUUID } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import { sealOf } from "../../inputs/seal.ts";
import { GitPlace, keepTree, UrlPlace, withOwnCopy } from "./origin.ts";

async function openCache() {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  let made = 0;
  const keep = () =>
    keepTree("one", { cache, scratch }, async (empty) => {
      made++;
      await writeFile(join(empty, "driver.c"), "int answer = 42;");
      return "";
    });
  return { keep, made: () => made };
}

/** As if the machine had been started anew since. */
async function forgetBoot(tree: string): Promise<void> {
  const [digest] = (await readFile(sealOf(tree), "utf8")).split(" ");
  await writeFile(sealOf(tree), `${digest} ${randomUUID()}\n`);
}

describe("keepTree", () => {
  test("makes a tree once, also for the next boot", async () => {
    const { keep, made } = await openCache();
    const tree = await keep();
    await forgetBoot(tree);

    expect(await keep()).toBe(tree);
    expect(made()).toBe(1);
  });

  test.each([
    ["a file was cut short", (tree: string) => writeFile(join(tree, "driver.c"), "int ans")],
    ["a file was lost", (tree: string) => rm(join(tree, "driver.c"))],
    ["its seal was cut short", (tree: string) => writeFile(sealOf(tree), "")],
    ["its seal was lost", (tree: string) => rm(sealOf(tree))],
  ])("makes a tree again when %s with the last boot", async (_, damage) => {
    const { keep, made } = await openCache();
    const tree = await keep();
    await forgetBoot(tree);
    await damage(tree);

    await keep();

    expect(made()).toBe(2);
    expect(await readFile(join(tree, "driver.c"), "utf8")).toBe("int answer = 42;");
  });
});

describe("the place of a source", () => {
  test.each([
    [GitPlace, { git: "https://me:sekret@host.example/x.git", revision: "v1" }],
    [GitPlace, { git: "https://token@host.example/x.git", revision: "v1" }],
    [UrlPlace, { url: "https://me:sekret@host.example/x.tar", sha256: "0".repeat(64) }],
  ])("names nobody's password", (place, value) => {
    const { error } = place.safeParse(value);

    expect(error?.issues.map(({ message }) => message)).toEqual([
      expect.stringMatching(/user name or a password/),
    ]);
    expect(String(error)).not.toContain("sekret");
  });
});

describe("a copy of our own", () => {
  const digestOfOne = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

  async function archiveOf(text: string) {
    const directory = await temporaryDirectory();
    const file = join(directory, "archive");
    await writeFile(file, text);
    return { file, scratch: await openScratch(join(directory, "tmp")) };
  }

  test("stays as it was digested, whatever becomes of the file", async () => {
    const { file, scratch } = await archiveOf("one");
    let read = "";

    await withOwnCopy(file, digestOfOne, { scratch }, async (copy) => {
      await writeFile(file, "another");
      read = await readFile(copy, "utf8");
    });

    expect(read).toBe("one");
  });

  test("is refused when the file changed after its digest was taken", async () => {
    const { file, scratch } = await archiveOf("another");

    const copying = withOwnCopy(file, digestOfOne, { scratch }, async () => {});

    await expect(copying).rejects.toThrow(
      expect.objectContaining({ code: "DRIVER_INVALID", message: expect.stringContaining("changed while") }),
    );
  });
});
