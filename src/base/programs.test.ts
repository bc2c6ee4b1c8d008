import { copyFile, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { boxedProgram, findProgram, isInstalled, searchFirst, searchPath } from "./programs.ts";
import { run } from "./run.ts";
import { shutIn } from "./shut-in.ts";

afterEach(() => searchFirst(""));

/** A tool that is installed below a directory of its own, as in /opt or by Homebrew. */
async function installed(name: string, says: string) {
  // A box has a /dev of its own, where temporary directories may be.
  const prefix = join(await temporaryDirectory("/var/tmp"), "opt");
  for (const part of ["bin", "lib", "share/secret"]) await mkdir(join(prefix, part), { recursive: true });
  await writeFile(join(prefix, "lib/word"), says);
  await writeFile(join(prefix, "share/secret/key"), "no");
  const script = `#!/bin/sh\nread word <"$(dirname "$0")/../lib/word"; echo "$word"; ls "$(dirname "$0")/.."\n`;
  await writeFile(join(prefix, "bin", name), script, { mode: 0o755 });
  return prefix;
}

describe("programs", () => {
  test("are found on the PATH of whoever started us, first", async () => {
    const prefix = await installed("true", "ours\n");
    searchFirst(`relative::.:${prefix}/bin:/usr/bin`);

    expect(findProgram("true")).toBe(`${prefix}/bin/true`);
    expect((await run(["true"])).stdout).toMatch(/^ours\n/);
    expect(searchPath()).toMatch(new RegExp(`^${prefix}/bin:/usr/local/sbin:[^.]*$`));
    expect(isInstalled("kmodfarm-no-such-program")).toBe(false);
  });

  test("of elsewhere start in a box, which shows where they are and nothing else of it", async () => {
    const prefix = await installed("kmodfarm-tool", "boxed\n");
    searchFirst(`${prefix}/bin`);

    const { stdout, stderr } = await run(shutIn(["kmodfarm-tool"]));

    expect(stderr).toBe("");
    expect(stdout.split("\n").toSorted().join(" ").trim()).toBe("bin boxed lib");
  });

  test("that a profile links to are started where they are", async () => {
    const prefix = await installed("kmodfarm-tool", "boxed\n");
    const profile = await temporaryDirectory();
    await symlink(`${prefix}/bin/kmodfarm-tool`, join(profile, "kmodfarm-tool"));
    searchFirst(profile);

    expect(boxedProgram("kmodfarm-tool").path).toBe(`${prefix}/bin/kmodfarm-tool`);
    expect((await run(shutIn(["kmodfarm-tool"]))).stdout).toMatch(/^boxed\n/);
  });

  test("of the system are shown by what every box shows", async () => {
    expect(boxedProgram("sh")).toEqual({ path: "sh", shows: [] });
    const copy = join(await temporaryDirectory(), "sh");
    await copyFile("/bin/sh", copy);
    expect(boxedProgram(copy).path).toBe(copy);
  });
});
