/**
 * What is said where somebody stands in the wrong place, or writes down what cannot be: the thing, the fact, the next step,
 * and nothing left behind.
 */
import { execFile } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import { inProcess } from "../support/in-process.ts";
import { temporaryDirectory } from "../support/temporary.ts";

it.each([
  [
    ["run", "--jobs", "100000000"],
    /option '--jobs <n>' argument '100000000' is invalid\. Give a whole number/,
  ],
  [
    ["matrix", "shard", "--target-minutes", "0.1"],
    /option '--target-minutes <n>' argument '0\.1' is invalid/,
  ],
  [["rollback", "latest", "--why", "x"], /'latest' is invalid for argument 'generation'/],
])("%j names the number that is none", async (argv, said) => {
  const { exitCode, stderr } = await inProcess(argv);

  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(said)]);
});

it("a directory that was removed is one line", async () => {
  const directory = await temporaryDirectory();
  const script = 'cd "$1" && rmdir "$1" && exec "$2" matrix show';
  const started = promisify(execFile)("sh", ["-c", script, "sh", directory, join(CHECKOUT, "bin/kmodfarm")]);

  const { code, stderr } = (await started.catch((error: unknown) => error)) as {
    code: number;
    stderr: string;
  };

  expect(code).toBe(2);
  expect(stderr).toMatch(/^kmodfarm: the current directory has been removed\n.*\[FILE_UNREADABLE\]\n$/m);
  expect(stderr).not.toContain("BUG");
});

it.each([
  [["matrix", "show"]],
  [["matrix", "generate"]],
  [["matrix", "shard"]],
  [["catalog", "list"]],
  [["catalog", "find", "--uname-r", "6.1.0-56-amd64"]],
  [["withdraw", "bell", "--why", "x"]],
])("a store that is not there is none: %j, and nothing is made", async (argv) => {
  const directory = await temporaryDirectory();

  const here = await inProcess(argv, { cwd: directory });

  expect([here.exitCode, here.stdout]).toEqual([2, ""]);
  expect(here.stderr).toMatch(
    /there is no store at \S+\.kmodfarm\/store \(and no kmodfarm\.yaml in this directory\)\n.*\[STORE_MISSING\]/,
  );
  expect(await readdir(directory)).toEqual([]);
});

it("a file is no store", async () => {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, "file"), "");

  const { exitCode, stderr } = await inProcess(["matrix", "show", "--store", "file"], { cwd: directory });

  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/there is a file, not a store, at \S+file/)]);
});

it("reading a store leaves nothing behind", async () => {
  const directory = await temporaryDirectory();
  await mkdir(join(directory, "store"));

  const { exitCode, stdout } = await inProcess(["matrix", "show", "--store", "store"], { cwd: directory });

  expect([exitCode, stdout]).toEqual([0, expect.stringContaining("The matrix is empty")]);
  expect(await readdir(directory)).toEqual(["store"]);
  expect(await readdir(join(directory, "store"))).toEqual([]);
});

it.each([
  ["select: {newest: 0}", /select.*newest: must be more than 0/],
  [
    "sources: [{kind: apt, releases: [debian12], mirror: foo bar}]",
    /mirror: must be an http or https URL \[|mirror: must be an http or https URL$/m,
  ],
  [
    'drivers: [{name: a, source: {git: "ftp://git.example/x/y.git", revision: v1}, versions: ["1"]}]',
    /only http\(s\) and ssh URLs and repositories on this machine are supported/,
  ],
  [
    'drivers: [{name: a, source: {package: a-dkms, release: debian13}, versions: ["1:3.1.0-1"]}]',
    /versions\[0\]: not a safe name: omit the epoch "1:", and write "3\.1\.0-1"/,
  ],
])("%s: what is wrong with it", async (text, said) => {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, "kmodfarm.yaml"), text);

  const { exitCode, stderr } = await inProcess(["matrix", "show"], { cwd: directory });

  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(said)]);
  expect(stderr).not.toContain("a user or a password");
});

it("the original tool's flags work under its name, without a command", async () => {
  const directory = await temporaryDirectory();
  const matrixGen = (...argv: string[]) =>
    promisify(execFile)(join(CHECKOUT, "bin/matrix-gen"), argv, { cwd: directory }).catch((error) => error);

  const flat = await matrixGen("--distro=debian12", "--arch=x86_64", "--driver-version=1.0.0");
  const help = await matrixGen("--help");

  // There is no catalog here, which is all that is wrong.
  expect([flat.code, flat.stderr]).toEqual([2, expect.stringContaining("[STORE_MISSING]")]);
  expect(help.stdout).toContain("generate [options]");
});
