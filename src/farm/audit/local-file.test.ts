import { execFileSync } from "node:child_process";
import { mkdir, open, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { auditDirectory } from "./audit-thread.ts";
import { kernelsBeside } from "./kernels-beside.ts";
import { readLocalFile } from "./local-file.ts";
import { openPlace } from "./place.ts";

/** So long that Node reads it in no one go; it takes no room on the disk. */
const GIANT_BYTES = 3 * 1024 ** 3;

async function makeGiant(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, "w");
  await handle.truncate(GIANT_BYTES);
  await handle.close();
}

test("a file is read whole, or it is said why not", async () => {
  const directory = await temporaryDirectory();
  const place = (name: string) => join(directory, name);
  const bytes = Buffer.from("module".repeat(50_000));
  await writeFile(place("good"), bytes);
  await makeGiant(place("giant"));
  execFileSync("mkfifo", [place("pipe")]);

  expect(readLocalFile(place("good"), bytes.length).equals(bytes)).toBe(true);
  for (const [name, why] of [
    ["good", /^it is larger than 5 bytes$/],
    ["giant", /^it is larger than 5 bytes$/],
    ["pipe", /^it is no longer a regular file$/],
    ["gone", /^it cannot be read \(ENOENT\)$/],
  ] as const)
    expect(() => readLocalFile(place(name), 5)).toThrow(
      expect.objectContaining({ code: "FILE_UNREADABLE", message: expect.stringMatching(why) }),
    );
});

test("a module that is larger than any is unread, and the others are looked at", async () => {
  const directory = await temporaryDirectory();
  await makeGiant(join(directory, "giant.ko"));
  await writeFile(join(directory, "good.ko"), craftModule("good", {}));

  const audited = await auditDirectory({ directory, paths: ["giant.ko", "good.ko"], keys: new Map() });

  expect(audited).toMatchObject([
    { path: "giant.ko", unread: expect.stringMatching(/^it is larger than \d+ bytes$/) },
    { path: "good.ko", facts: { name: "good" } },
  ]);
});

test("what lies beside modules and is larger than any is named, and the others are read", async () => {
  const directory = await temporaryDirectory();
  await makeGiant(join(directory, "boot/vmlinuz-6.1.0-1"));
  for (const [release, content] of [
    ["6.1.0-1", "\n".repeat(5 << 20)],
    ["6.1.0-2", "kernel/net/unix/unix.ko\n"],
  ] as const) {
    await mkdir(join(directory, release));
    await writeFile(join(directory, release, "modules.builtin"), content);
  }
  await using place = await openPlace(directory);

  const { gaps, builtin, keys, releases } = await kernelsBeside(place);

  expect(gaps).toEqual([
    { place: "boot/vmlinuz-6.1.0-1", why: expect.stringMatching(/^it is larger than \d+ bytes$/) },
    { place: "6.1.0-1/modules.builtin", why: expect.stringMatching(/^it is larger than \d+ bytes$/) },
  ]);
  expect([...builtin.keys()]).toEqual(["6.1.0-2"]);
  expect([keys.size, releases]).toEqual([0, new Set(["6.1.0-1"])]);
});
