/** What commands are given to read: every wrapping, and what is wrong with the rest. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CHECKOUT } from "../support/e2e-mirror.ts";
import { inProcess } from "../support/in-process.ts";

const FIXTURES = join(CHECKOUT, "test", "fixtures");
const CONFIG = "almalinux_5.14.0-570.49.1.el9_6.x86_64_1.yaml";
let place: string;

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "kmodfarm-test-"));
  await writeFile(join(place, "list.json"), await readFile(join(FIXTURES, "kernel-crawler", "x86_64.json")));
});

afterAll(() => rm(place, { recursive: true, force: true }));

function run(...argv: string[]) {
  return inProcess([...argv, "--store", join(place, "store"), "--cache", join(place, "cache")], {
    cwd: place,
  });
}

describe("a list", () => {
  test.each(["gzip -nk", "xz -k", "zstd -qk"])("packed by %s is read as it is", async (command) => {
    const [program = "", ...options] = command.split(" ");
    const suffix = { gzip: "gz", xz: "xz", zstd: "zst" }[program] ?? "";
    execFileSync(program, [...options, "list.json"], { cwd: place });

    const plain = await run("catalog", "export", "--catalog", "list.json");
    const packed = await run("catalog", "export", "--catalog", `list.json.${suffix}`);

    expect(packed.exitCode).toBe(0);
    expect(JSON.parse(packed.stdout).kernels).toHaveLength(JSON.parse(plain.stdout).kernels.length);
  });

  test("may begin with a byte order mark, but not be UTF-16", async () => {
    const text = await readFile(join(place, "list.json"), "utf8");
    await writeFile(join(place, "marked.json"), `\uFEFF${text}`);
    await writeFile(join(place, "wide.json"), Buffer.from(`\uFEFF${text}`, "utf16le"));

    const [marked, wide] = [
      await run("catalog", "import", "marked.json"),
      await run("catalog", "import", "wide.json"),
    ];

    expect(marked.exitCode).toBe(0);
    expect(wide).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("wide.json is UTF-16") });
  });

  test.each([
    ["http://me:sekret@127.0.0.1:1/list.json", "the address at 127.0.0.1 contains a user name or a password"],
    ["ftp://127.0.0.1/list.json", "ftp://127.0.0.1/list.json is neither a file nor an http or https address"],
  ])("is not taken from %s", async (url, said) => {
    const { exitCode, stderr } = await run("catalog", "import", url);

    expect(exitCode).toBe(2);
    expect(stderr).toContain(said);
    expect(stderr).not.toContain("sekret");
  });

  test("that is cut off in its packing is said to be damaged", async () => {
    execFileSync("xz", ["-kf", "list.json"], { cwd: place });
    await writeFile(
      join(place, "cut.json.xz"),
      (await readFile(join(place, "list.json.xz"))).subarray(0, 900),
    );

    const { exitCode, stderr } = await run("catalog", "import", "cut.json.xz");

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/cut\.json\.xz.*\[DOCUMENT_INVALID\]/s);
  });
});

describe("configurations of driverkit", () => {
  test("are known by their words, alone or as a directory, whose links are not followed", async () => {
    const text = await readFile(join(FIXTURES, "driverkit", CONFIG));
    await mkdir(join(place, "configs"), { recursive: true });
    await writeFile(join(place, "configs", CONFIG), text);
    await symlink(".", join(place, "configs", "loop")).catch(() => {});

    const [alone, all] = [
      await run("catalog", "import", join("configs", CONFIG)),
      await run("catalog", "import", "configs"),
    ];

    expect(alone).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("1 kernel read, 1 of them new"),
    });
    expect(all).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining("1 kernel read, 0 of them new"),
    });
  });

  test("of which there is none are missed", async () => {
    await mkdir(join(place, "empty"), { recursive: true });

    expect(await run("catalog", "import", "empty")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("empty has no .yaml or .yml file"),
    });
  });
});

describe("exclusions", () => {
  const generate = (file: string) =>
    run("matrix", "generate", "--catalog", "list.json", "--driver-version", "1.0.0", "--exclude", file);

  test.each([
    ["as they stand in a configuration", "exclude:\n  - kernelRelease: .*\n    reason: all of it\n"],
    [
      "behind a byte order mark, with Windows line ends",
      "\uFEFF- kernelRelease: .*\r\n  reason: all of it\r\n",
    ],
  ])("hold %s", async (_, text) => {
    await writeFile(join(place, "ours.yaml"), text);

    const { exitCode, stdout, stderr } = await generate("ours.yaml");

    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual([]);
    expect(stderr).toMatch(/elements excluded: all of it/);
  });

  test.each([
    ["foo: bar\n", "theirs: must be a list"],
    ["what is this? nobody knows\n", "theirs: it excludes nothing: line 1"],
    ["~[ 1.0\n", "is not a regular expression"],
  ])("that nobody understands are no empty list: %j", async (text, said) => {
    await writeFile(join(place, "theirs"), text);

    expect(await generate("theirs")).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(said) });
  });
});

describe("the command line", () => {
  test("refuses two versions that would share their paths", async () => {
    const argv = ["matrix", "generate", "--catalog", "list.json", "--driver", "d"];

    expect(await run(...argv, "--driver-version", "1.0.0,1.0.1")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("versions 1.0.0 and 1.0.1 of d would both be stored at d/1.0.0"),
    });
  });

  test("refuses a matrix whose place leads elsewhere, naming the field", async () => {
    const { stdout } = await run("matrix", "generate", "--catalog", "list.json", "--driver-version", "1.0.0");
    const [first] = JSON.parse(stdout);
    await writeFile(join(place, "bad.json"), JSON.stringify([{ ...first, output: "../../../x" }]));

    expect(await run("matrix", "show", "bad.json")).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("bad.json: [0].output: is not four safe names"),
    });
  });

  test("says that the disk is full, not where it noticed", async () => {
    const program = join(CHECKOUT, "bin", "kmodfarm");
    const script = `"$1" matrix generate --catalog list.json --driver-version 1.0.0 >/dev/full`;
    const failed = await new Promise<{ code: number; said: string }>((resolve) => {
      try {
        execFileSync("sh", ["-c", script, "sh", program], { cwd: place, stdio: "pipe" });
        resolve({ code: 0, said: "" });
      } catch (thrown) {
        const { status, stderr } = thrown as { status: number; stderr: Buffer };
        resolve({ code: status, said: stderr.toString() });
      }
    });

    expect(failed.code).toBe(3);
    expect(failed.said).toMatch(/no space left on device.*\[DISK_FULL\]\n$/s);
    expect(failed.said).not.toMatch(/^ {4}at /m);
  });
});
