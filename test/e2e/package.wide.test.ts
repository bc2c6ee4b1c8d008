/** What `make install` installs: the package as npm packs it, in a prefix of its own, as somebody without a checkout has it. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import { sharedDirectory, temporaryDirectory } from "../support/temporary.ts";

describe("make install", () => {
  const prefix = sharedDirectory();
  const home = join(prefix, "lib/node_modules/kmodfarm");

  /** Where nothing of the checkout is near, and with the Node of the system, whatever that is. */
  function installed(program: string, ...argv: readonly string[]) {
    const { status, stdout, stderr } = spawnSync(join(prefix, "bin", program), argv, {
      cwd: prefix,
      encoding: "utf8",
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", HOME: prefix },
    });
    return { status, stdout, stderr };
  }

  beforeAll(() => {
    execFileSync("make", ["install", `PREFIX=${prefix}`], { cwd: CHECKOUT, stdio: "pipe" });
  });

  it("runs doctor, which finds no problem that the checkout does not have", () => {
    const own = spawnSync(join(CHECKOUT, "bin/kmodfarm"), ["doctor"], { cwd: prefix, encoding: "utf8" });
    const { status, stdout, stderr } = installed("kmodfarm", "doctor");

    expect([status, stderr]).toEqual([own.status, ""]);
    expect(stdout).toMatch(/^ok +sandbox bwrap/m);
    expect(stdout.split("\n").at(-2)).toBe(own.stdout.split("\n").at(-2));
  });

  it("explains its commands and its pages", () => {
    expect(installed("kmodfarm", "try", "--help")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Usage: kmodfarm try /),
    });
    expect(installed("kmodfarm", "help", "getting-started")).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("make install"),
    });
    expect(installed("matrix-gen", "--help").stdout).toContain("Usage: kmodfarm matrix");
  });

  it("has all that its own words point to", () => {
    for (const path of [
      "docs/config.md",
      "docs/kmodfarm.schema.json",
      "examples/demo.yaml",
      "images/debian12",
    ])
      expect([path, existsSync(join(home, path))]).toEqual([path, true]);
    for (const path of ["deploy/node/kmodfarm-fetch", "deploy/serve/mirror.sh", "dist/kmodfarm-fetch.mjs"])
      expect([path, statSync(join(home, path)).mode & 0o111]).toEqual([
        path,
        path.endsWith(".mjs") ? 0 : 0o111,
      ]);
    expect(statSync(join(prefix, "share/man/man1/kmodfarm.1")).isFile()).toBe(true);
    expect(existsSync(join(home, "src"))).toBe(false);
    expect(existsSync(join(home, "test"))).toBe(false);
  });

  it("writes a configuration that its own schema is named in", async () => {
    const tree = await temporaryDirectory();
    await cp(join(CHECKOUT, "examples/driver"), tree, { recursive: true });

    const { status, stderr } = spawnSync(join(prefix, "bin/kmodfarm"), ["init", "--yes"], {
      cwd: tree,
      encoding: "utf8",
    });

    expect([status, stderr]).toEqual([0, expect.any(String)]);
    expect(readFileSync(join(tree, "kmodfarm.yaml"), "utf8")).toContain("$schema=");
  });
});

it("a checkout without its packages says so in the same words, whatever Node there is", async () => {
  const checkout = await temporaryDirectory();
  for (const place of ["bin", "src"])
    await cp(join(CHECKOUT, place), join(checkout, place), { recursive: true });
  const none = join(checkout, "none");
  await mkdir(none);

  const words = [`${join(process.execPath, "..")}:/usr/bin:/bin`, "/usr/bin:/bin", none].map((path) => {
    const { status, stderr } = spawnSync("/bin/sh", [join(checkout, "bin/kmodfarm"), "run"], {
      encoding: "utf8",
      env: { PATH: path },
    });
    return [status, stderr];
  });

  expect(words).toEqual(
    Array(3).fill([3, expect.stringMatching(/^kmodfarm: its packages are not installed; run 'npm ci' in /)]),
  );
});
