import { execFile } from "node:child_process";
import { chmod, chown, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { processName } from "../base/process-name.ts";
import { createKey } from "./create.ts";

const ANOTHER = 65534;
const PROCESS_NAME = new URL("../base/process-name.ts", import.meta.url).href;
const NAME = `import(${JSON.stringify(PROCESS_NAME)}).then(({ processName }) => console.log(processName()))`;
const keyIn = (directory: string, trusts: readonly string[] = []) =>
  createKey({ name: "mok", kind: "p256", directory, hasCertificate: true, trusts });

test("a key is its maker's alone, and nothing else stays", async () => {
  const directory = await temporaryDirectory();

  const { file } = await keyIn(directory);

  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await readdir(directory)).toSorted()).toEqual([".gitignore", "mok.der", "mok.pem", "mok.pub"]);
});

describe.skipIf(process.getuid?.() !== 0)("a directory for keys that others can write to", () => {
  test("is refused if it is another user's, unless the configuration is his too, or everybody's", async () => {
    const directory = await temporaryDirectory();
    await chown(directory, ANOTHER, ANOTHER);
    await expect(keyIn(directory)).rejects.toMatchObject({ code: "PLACE_UNUSABLE" });
    await expect(keyIn(directory, [directory])).resolves.toBeDefined();
    await chown(directory, 0, 0);
    await chmod(directory, 0o777);
    await expect(keyIn(directory)).rejects.toThrow(/everybody may replace/);
  });

  test("has no temporary directory in it that somebody else can make first", async () => {
    const directory = await temporaryDirectory();
    await chmod(directory, 0o1777);
    const theirs = join(directory, "tmp");
    await mkdir(theirs);
    await chown(theirs, ANOTHER, ANOTHER);
    const { mtimeMs } = await stat(theirs);

    await keyIn(directory);

    expect(await stat(theirs)).toMatchObject({ uid: ANOTHER, mtimeMs });
  });

  test("is refused below one that others can swap, too", async () => {
    const above = await temporaryDirectory();
    const directory = join(above, "keys");
    await keyIn(directory);
    await chmod(above, 0o777);
    await expect(keyIn(directory)).rejects.toThrow(/everybody may replace what is in/);
    await expect(keyIn(join(above, "new/keys"))).rejects.toThrow(/everybody may replace what is in/);
    await chmod(above, 0o755);
    await chown(above, ANOTHER, ANOTHER);
    await expect(keyIn(directory)).rejects.toThrow(/belongs to another user/);
  });
});

test("what a killed maker of keys left is removed, and nobody else's", async () => {
  const directory = await temporaryDirectory();
  const [dead = ""] = (await promisify(execFile)(process.execPath, ["--eval", NAME])).stdout.split("\n");
  const own = processName() ?? "";
  for (const name of [`.new-key-${dead}-a`, `.new-key-${own}-b`, ".new-key-c"]) {
    await mkdir(join(directory, name), { mode: 0o700 });
    await writeFile(join(directory, name, "key"), "");
  }

  await keyIn(directory);

  const left = (await readdir(directory)).filter((name) => name.startsWith("."));
  expect(left.toSorted()).toEqual([`.new-key-${own}-b`, ".new-key-c", ".gitignore"].toSorted());
});
