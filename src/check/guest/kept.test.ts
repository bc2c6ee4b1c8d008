import { chmod, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch, type Scratch } from "../../base/scratch.ts";
import { keep, readKept } from "./kept.ts";

const IMAGE = Buffer.from("a boot image");

describe("what is kept of a package", () => {
  let place = "";
  let scratch: Scratch;
  beforeEach(async () => {
    const directory = await temporaryDirectory();
    place = join(directory, "boot", "vmlinuz");
    scratch = await openScratch(join(directory, "tmp"));
    await keep(place, IMAGE, scratch);
  });

  test("is found as it was written, and readable for the user that a guest runs as", async () => {
    expect(await readKept(place)).toEqual(IMAGE);
    expect((await stat(place)).mode & 0o777).toBe(0o644);
  });

  test("is not found when it was never there", async () => {
    expect(await readKept(`${place}-other`)).toBeUndefined();
  });

  test.each<[string, (file: string) => Promise<void>]>([
    ["cut short", (file) => truncate(file, 5)],
    ["changed", (file) => writeFile(file, "a foot image")],
    ["emptied", (file) => writeFile(file, "")],
    ["without its digest", (file) => rm(`${file}.sha256`)],
    ["with half a digest", async (file) => truncate(`${file}.sha256`, 20)],
  ])("is not believed %s, and can be written anew", async (_, damage) => {
    await damage(place);

    expect(await readKept(place)).toBeUndefined();
    await keep(place, IMAGE, scratch);
    expect(await readKept(place)).toEqual(IMAGE);
  });

  test("is nobody's secret under a strict umask", async () => {
    await chmod(place, 0o600);
    await keep(place, IMAGE, scratch);

    expect((await stat(place)).mode & 0o777).toBe(0o644);
    expect(await readFile(`${place}.sha256`, "utf8")).toMatch(/^sha256:[0-9a-f]{64}$/);
  });
});
