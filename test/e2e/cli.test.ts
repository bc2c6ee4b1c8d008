/**
 * The command line as its users meet it: words, exit codes, errors.
 */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import {
  ALL_DONE,
  CLOUD,
  type CliResult,
  cli,
  leftovers,
  readStable,
  type SharedElement,
  sharedElement,
  stableContent,
  type TestFarm,
  useFarms,
} from "../support/e2e-farm.ts";
import { CHECKOUT, TEST_CACHE } from "../support/e2e-mirror.ts";
import { inProcess } from "../support/in-process.ts";

const farms = useFarms();
let farm: TestFarm;
let amd: SharedElement;
let arm: SharedElement;

/** A farm that has published the newest cloud kernel of both architectures. */
beforeAll(async () => {
  const mirror = await farms.mirror();
  farm = await farms.farm({ mirror, warm: ALL_DONE });
  [amd, arm] = [await sharedElement("x86_64"), await sharedElement("aarch64")];
  expect((await farm.cli("run")).exitCode).toBe(0);
});

describe("help and usage", () => {
  it("tells of every command, on stdout, with exit 0", async () => {
    const { exitCode, stdout, stderr } = await cli(["--help"]);

    expect(exitCode).toBe(0);
    expect(stderr).toBe("");
    for (const command of ["run", "catalog", "matrix", "build", "load"])
      expect(stdout).toMatch(new RegExp(`^ +${command}\\b`, "m"));
  });

  it.each([
    ["run", "--retry"],
    ["catalog update", "--accept-withdrawals"],
    ["matrix generate", "--driver-version"],
    ["load", "--kernel"],
  ])("tells of %s's own options", async (command, option) => {
    const { exitCode, stdout } = await inProcess([...command.split(" "), "--help"]);

    expect(exitCode).toBe(0);
    expect(stdout).toContain(option);
    expect(stdout).toContain("--store");
  });

  it.each([
    ["an unknown command", ["frobnicate"], /unknown command 'frobnicate'/],
    ["an unknown subcommand", ["catalog", "frobnicate"], /unknown command 'frobnicate'/],
    ["an unknown option", ["run", "--frobnicate"], /unknown option '--frobnicate'/],
    ["a missing argument", ["matrix", "diff", "one.json"], /missing required argument 'current'/],
    ["a missing option", ["load", "x.ko"], /required option '--kernel/],
    [
      "a number that is none",
      ["run", "--jobs", "many"],
      /option '--jobs <n>' argument 'many' is invalid\. Give a whole number from 1 to 999999/,
    ],
    [
      "an architecture there is not",
      ["matrix", "generate", "--arch", "vax"],
      /'vax' is not a known architecture/,
    ],
  ])("refuses %s: exit 2, nothing on stdout", async (_, argv, said) => {
    const { exitCode, stdout, stderr } = await inProcess(argv);

    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(said);
  });

  it("prints its version", async () => {
    expect((await cli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("configuration", () => {
  it.each([
    ["drivers:\n  - name: a\n    source: b\n    version: [1.0.0]\n", /: drivers\[0\].*"version"/, "versions"],
    ["select:\n  flavors: [cloud]\n", /: select.*"flavors"/, "flavours"],
    [
      "select:\n  - newest: 1\n  - architecture: [x86_64]\n",
      /: select\[1\].*"architecture"/,
      "architectures",
    ],
    [
      "sources:\n  - kind: apt\n    releases: [debian12]\n    mirrors: http://x/\n",
      /: sources\[0\]/,
      "mirror",
    ],
    ["stor: x\n", /"stor"/, "store"],
  ])(
    "names the setting of %j that is wrong, and the one that was meant: exit 2",
    async (text, named, meant) => {
      const { exitCode, stdout, stderr } = await withConfig(text);

      expect(exitCode).toBe(2);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/^kmodfarm: .*bad\.yaml: /);
      expect(stderr).toMatch(named);
      expect(stderr).toContain(`(did you mean '${meant}'?)`);
      expect(stderr).toMatch(/\[CONFIG_INVALID\]\n$/);
    },
  );

  it("names the line of what is not YAML: exit 2", async () => {
    const { exitCode, stderr } = await withConfig("drivers: [\nstore: x\n");

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/bad\.yaml: .* at line \d+, column \d+/);
  });

  it("refuses a run without a driver, with the next step", async () => {
    const { exitCode, stderr } = await withConfig("store: store\n");

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/no driver is configured\n.*kmodfarm init.*\[CONFIG_INVALID\]/);
  });

  it("that is not there: exit 2, named; as JSON where that is asked for", async () => {
    const { exitCode, stderr } = await cli(["run", "--config", "/nonexistent/farm.yaml", "--json"]);

    expect(exitCode).toBe(2);
    const { error } = JSON.parse(stderr);
    expect(error).toMatchObject({ code: "FILE_UNREADABLE", blame: "input" });
    expect(error.message).toMatch(/\/nonexistent\/farm\.yaml cannot be read \(ENOENT\)/);
    expect(error.hint).toMatch(/path/);
  });

  async function withConfig(text: string): Promise<CliResult> {
    const file = join(farm.directory, "bad.yaml");
    await writeFile(file, text);
    return inProcess(["run", "--config", file]);
  }
});

describe("kmodfarm matrix", () => {
  it("generate takes the original tool's flags and prints a bare array of its elements", async () => {
    const flags = ["--distro=debian12,ubuntu", "--arch=x86_64,aarch64", "--driver-version=0.1.1"];

    const { exitCode, stdout } = await farm.cli(
      "matrix",
      "generate",
      ...flags,
      "--kernel-release=6\\.1\\..*",
    );

    expect(exitCode).toBe(0);
    const elements = JSON.parse(stdout);
    expect(Array.isArray(elements)).toBe(true);
    expect(elements).toHaveLength(2);
    for (const element of elements) {
      expect(element.kversion).toMatch(/^6\.1\./);
      expect(element.distribution).toBe("debian12");
      expect(["x86_64", "aarch64"]).toContain(element.architecture);
      expect(element.driverversion).toBe("0.1.1");
      expect(element.output).toBe(
        `0.1.0/debian12/${element.architecture}/${element.kversion}_${element.packageVersion}`,
      );
      expect(element.kernelurls.length).toBeGreaterThan(1);
      for (const url of element.kernelurls) expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[^+ ]+\.deb$/);
    }
    expect(new Set(elements.map(({ output }: { output: string }) => output)).size).toBe(elements.length);
  });

  it("a distribution is a key or an id, never the beginning of one: exit 2, and what was meant", async () => {
    const { exitCode, stdout, stderr } = await farm.inProcess("matrix", "generate", "--distro=debian1");

    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain(
      "--distro: there is no distribution or release 'debian1' (did you mean 'debian'?)",
    );
  });

  it("flags narrow what is selected, and nothing at all exits with 3", async () => {
    const one = await farm.inProcess("matrix", "generate", "--arch=x86_64");
    const none = await farm.inProcess("matrix", "generate", "--kernel-release=6\\.1");
    const allowed = await farm.inProcess("matrix", "generate", "--kernel-release=6\\.1", "--allow-empty");

    expect(JSON.parse(one.stdout)).toHaveLength(1);
    expect(one.stderr).toContain("1 of 2 elements are left by the options");
    expect([none.exitCode, allowed.exitCode, JSON.parse(none.stdout)]).toEqual([3, 0, []]);
    expect(none.stderr).toContain("must match the whole release");
  });

  it("is also called matrix-gen", async () => {
    const argv = ["generate", "--distro=debian12", "--newest=1", "--config", farm.config];

    const [ours, original] = [await cli(["matrix", ...argv]), await cli(argv, { bin: "matrix-gen" })];

    expect(original.exitCode).toBe(0);
    expect(JSON.parse(original.stdout).length).toBeGreaterThan(1);
    expect(original.stdout).toBe(ours.stdout);
  });

  it("diff prints what to build; --report says why", async () => {
    const [before, after] = [join(farm.directory, "before.json"), join(farm.directory, "after.json")];
    const elements = JSON.parse((await farm.inProcess("matrix", "generate")).stdout);
    expect(elements).toHaveLength(2);
    const [first, second] = elements;
    const moved = first.kernelurls.map((url: string) => url.replace("127.0.0.1", "127.0.0.2"));
    const added = { ...second, kversion: "9.9.9-1-cloud-arm64", output: "0.1.0/debian12/aarch64/9.9.9" };
    await writeFile(before, JSON.stringify(elements));
    await writeFile(
      after,
      JSON.stringify([{ ...first, kernelurls: moved }, { ...second, driverversion: "0.1.1" }, added]),
    );

    const plain = await farm.cli("matrix", "diff", before, after);
    const report = await farm.inProcess("matrix", "diff", before, after, "--report");
    const json = await farm.inProcess("matrix", "diff", before, after, "--report", "--json");
    const same = await farm.inProcess("matrix", "diff", before, before);

    for (const { exitCode, stderr } of [plain, report, json, same]) expect(exitCode, stderr).toBe(0);
    expect(JSON.parse(plain.stdout).map(({ kversion }: SharedElement) => kversion)).toEqual([
      "9.9.9-1-cloud-arm64",
      second.kversion,
    ]);
    expect(report.stdout).toMatch(/^\+ doorbell\/.*9\.9\.9-1-cloud-arm64/m);
    expect(report.stdout).toMatch(/^~ doorbell\/.*: driver version: 0\.1\.0 → 0\.1\.1$/m);
    expect(report.stdout).toMatch(/^1 added, 1 changed, 0 removed, 1 unchanged$/m);
    expect(JSON.parse(json.stdout)).toMatchObject({
      added: [{ kversion: "9.9.9-1-cloud-arm64" }],
      changed: [{ kversion: second.kversion, reasons: ["driver version: 0.1.0 → 0.1.1"] }],
      removed: [],
      unchanged: 1,
    });
    expect(JSON.parse(same.stdout)).toEqual([]);
  });

  it("diff refuses what is no matrix: exit 2", async () => {
    const cut = join(farm.directory, "cut.json");
    await writeFile(cut, '[{"kversion": "6.1');

    const { exitCode, stderr } = await farm.inProcess("matrix", "diff", cut, cut);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/cut\.json is not JSON: [\s\S]*\[DOCUMENT_INVALID\]/);
  });

  it("show tells what became of each element", async () => {
    const { exitCode, stdout } = await farm.cli("matrix", "show");
    const { stdout: json } = await farm.inProcess("matrix", "show", "--json");

    expect(exitCode).toBe(0);
    expect(stdout.match(/^doorbell +0\.1\.0 +\S+ +stable$/gm)).toHaveLength(2);
    expect(JSON.parse(json).elements.map(({ status }: { status: string }) => status)).toEqual([
      ...["stable", "stable"],
    ]);
  });
});

describe("kmodfarm catalog import", () => {
  it("adds an exported list to another store, once", async () => {
    const file = join(farm.directory, "exported.json");
    await writeFile(file, (await farm.inProcess("catalog", "list", "--json")).stdout);
    const other = ["--store", join(farm.directory, "other"), "--config", farm.config, "--json"];

    const first = await cli(["catalog", "import", file, ...other]);
    const second = await inProcess(["catalog", "import", file, ...other]);

    expect(first.exitCode).toBe(0);
    const { read, added, kernels } = JSON.parse(first.stdout);
    expect(read).toBeGreaterThan(10);
    expect([added, kernels]).toEqual([read, read]);
    expect(JSON.parse(second.stdout)).toMatchObject({ read, added: 0, kernels });
    // Whose word it is stays to be seen.
    const list = async (store: string[]) =>
      JSON.parse((await inProcess(["catalog", "list", ...store])).stdout.replaceAll("import:", "")).kernels;
    expect(await list(other)).toEqual(await list(["--config", farm.config, "--json"]));
  });

  it("refuses a document of another kind: exit 2", async () => {
    const { exitCode, stderr } = await farm.inProcess("catalog", "import", join(CHECKOUT, "package.json"));

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/package\.json is not a kernel-crawler list: [\s\S]*\[DOCUMENT_INVALID\]/);
  });
});

describe("kmodfarm load", () => {
  it("modules in the kernel they were built for: pass, exit 0, with the kernel's words", async () => {
    const { exitCode, stdout, stderr } = await farm.cli(
      "load",
      ...(await modulesFor("x86_64")),
      "--kernel",
      `debian12/x86_64/${amd.kversion}`,
    );

    expect(exitCode, `${stdout}${stderr}`).toBe(0);
    expect(stdout).toMatch(/tally: version 0\.1\.0, counting from zero/);
    expect(stdout).toMatch(/doorbell: version 0\.1\.0, \/dev\/doorbell is ready/);
    expect(stdout).toMatch(/^pass: tally, doorbell loaded with kmod and unloaded, twice/m);
    expect(await leftovers(farm)).toEqual([]);
  });

  it("a module of another kernel: refused in the kernel's own words, exit 1", async () => {
    const foreign = join(CHECKOUT, "test/fixtures/modules/crc7.ko");

    const { exitCode, stdout } = await farm.cli("load", foreign, "--kernel", amd.kversion, "--json");

    expect(exitCode).toBe(1);
    const { verdict, kernel } = JSON.parse(stdout);
    expect(kernel).toBe(`debian12/x86_64/${amd.kversion}_${amd.packageVersion}`);
    expect(verdict).toMatchObject({ check: "load", verdict: "fail" });
    expect(verdict.reasons[0]).toMatch(
      /^crc7 is refused, (it was built with a different layout of struct module|a symbol has a different version): .*nvalid module format/,
    );
    expect(verdict.reasons.slice(1).join()).toMatch(/crc7: .*(version magic|disagrees|must match)/);
  });

  it("a module without the one it needs: refused, the symbol named", async () => {
    const [doorbell] = (await modulesFor("x86_64")).filter((file) => file.includes("doorbell"));

    const { exitCode, stdout } = await farm.cli("load", doorbell as string, "--kernel", amd.kversion);

    expect(exitCode).toBe(1);
    expect(stdout).toMatch(/^fail: doorbell is refused, a symbol is missing: .*Unknown symbol tally_add/m);
  });

  it("a module of another architecture: exit 1 without a boot", async () => {
    const modules = await modulesFor("aarch64");

    const { exitCode, stderr } = await farm.inProcess("load", ...modules, "--kernel", amd.kversion);

    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/is a module for aarch64, but debian12\/x86_64\/\S+ is not[\s\S]*\[LOAD_FAILED\]/);
  });

  it.each([
    [
      "a file that is not there",
      "/nonexistent/x.ko",
      2,
      /x\.ko cannot be read \(ENOENT\)[\s\S]*\[FILE_UNREADABLE\]/,
    ],
    [
      "a file that is no module",
      join(CHECKOUT, "package.json"),
      1,
      /package\.json[\s\S]*\[MODULE_MALFORMED\]/,
    ],
  ])("%s (%s): exit %i", async (_, file, exit, said) => {
    const { exitCode, stderr } = await farm.inProcess("load", file, "--kernel", amd.kversion);

    expect(exitCode).toBe(exit);
    expect(stderr).toMatch(said);
  });

  it("a kernel that nobody knows: exit 2, with the next step", async () => {
    const modules = await modulesFor("x86_64");

    const { exitCode, stderr } = await farm.inProcess(
      "load",
      ...modules,
      "--kernel",
      "debian12/x86_64/9.9.9",
    );

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(
      /the catalog has no kernel 'debian12\/x86_64\/9\.9\.9'[\s\S]*catalog list[\s\S]*\[KERNEL_UNKNOWN\]/,
    );
  });

  it("a short name that several kernels have: exit 2, naming them", async () => {
    // The same release in another distribution release, as when a kernel is backported.
    const list = JSON.parse((await farm.inProcess("catalog", "list", "--json")).stdout);
    const kernels = list.kernels.map((kernel: { kversion: string }) =>
      kernel.kversion === amd.kversion ? { ...kernel, distribution: "debian13" } : kernel,
    );
    const file = join(farm.directory, "twin.json");
    await writeFile(file, JSON.stringify({ ...list, kernels }));
    const twin = ["--store", join(farm.directory, "twin"), "--config", farm.config];
    for (const one of [file, await exported(list)])
      expect((await inProcess(["catalog", "import", one, ...twin])).exitCode).toBe(0);

    const { exitCode, stderr } = await inProcess([
      "load",
      ...(await modulesFor("x86_64")),
      "--kernel",
      amd.kversion,
      ...twin,
    ]);

    expect(exitCode).toBe(2);
    expect(stderr).toMatch(
      /may mean any of debian12\/x86_64\/\S+, debian13\/x86_64\/\S+[\s\S]*\[KERNEL_AMBIGUOUS\]/,
    );
  });

  async function exported(list: unknown): Promise<string> {
    const file = join(farm.directory, "plain.json");
    await writeFile(file, JSON.stringify(list));
    return file;
  }
});

describe("the work of one command is the other's beginning", () => {
  it("build --matrix - builds what is piped in, as candidates, and run makes them stable", async () => {
    const mirror = await farms.mirror();
    const piped = await farms.farm({ mirror });
    expect((await piped.cli("catalog", "update")).exitCode).toBe(0);
    const { stdout: matrix } = await piped.cli(
      "matrix",
      "generate",
      "--arch=aarch64",
      "--flavour=cloud",
      "--newest=1",
    );
    expect(JSON.parse(matrix)).toHaveLength(1);

    const built = await cli(["build", "--matrix", "-", "--config", piped.config], { input: matrix });

    expect(built.exitCode, `${built.stdout}${built.stderr}`).toBe(0);
    expect(built.stdout).toMatch(/0 stable, 1 candidate, 0 failed/);
    expect(await readStable(piped.store)).toEqual([]);

    await piped.configure({ select: { ...CLOUD, architectures: ["aarch64"] } });
    const run = await piped.cli("run");

    expect(run.exitCode).toBe(0);
    expect(run.stdout).toMatch(/1 stable, 0 candidates, 0 failed/);
    const shared = await stableContent(join(TEST_CACHE, "farms", "shared", "store"));
    expect(shared).toEqual(expect.arrayContaining(await stableContent(piped.store)));
    expect(arm.kversion).toBe(JSON.parse(matrix)[0].kversion);
  });

  it("logs as NDJSON when asked for", async () => {
    const { exitCode, stderr } = await farm.cli("run", "--log-format", "json");

    expect(exitCode).toBe(0);
    const lines = stderr.trim().split("\n");
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ name: "kmodfarm" });
  });
});

/** The published modules of an architecture, as files in no helpful order. */
async function modulesFor(architecture: "x86_64" | "aarch64"): Promise<string[]> {
  const artifact = (await readStable(farm.store)).find((one) => one.architecture === architecture);
  if (artifact === undefined) throw new Error(`nothing is stable for ${architecture}`);
  const folder = join(farm.directory, `modules-${architecture}`);
  await mkdir(folder, { recursive: true });
  const files = artifact.modules.map(({ name }) => join(folder, `${name}.ko`)).toSorted();
  expect(files).toHaveLength(2);
  for (const { name } of artifact.modules) {
    const view = join(farm.store, "view", artifact.driver, artifact.output, `${name}.ko`);
    await copyFile(view, join(folder, `${name}.ko`));
  }
  return files;
}
