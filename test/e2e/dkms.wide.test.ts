/**
 * Trees of DKMS on a release with DKMS 3.2, and drivers that need drivers, through the real sandbox, QEMU and store.
 */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { writeTree } from "../support/driver-trees.ts";
import { type CliResult, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const run = promisify(execFile);
const farms = useFarms();

interface Row {
  readonly driver: string;
  readonly outcome: string;
  readonly path?: string;
  readonly attempt: {
    readonly failure?: { readonly code: string; readonly cause: string };
    readonly load?: { readonly verdict: { readonly verdict: string; readonly reasons: readonly string[] } };
    readonly logFile?: string;
  };
}

const source = (name: string, more = "") => `#include <linux/module.h>
${more}
static int __init ${name}_init(void) { return 0; }
static void __exit ${name}_exit(void) { }
module_init(${name}_init);
module_exit(${name}_exit);
MODULE_LICENSE("GPL");
`;

const conf = (name: string, more: string) =>
  `PACKAGE_NAME="${name}"\nPACKAGE_VERSION="1.0"\nBUILT_MODULE_NAME[0]="${name}"\nDEST_MODULE_LOCATION[0]="/extra"\n${more}\n`;

const tree = (name: string, directives: string, files: Readonly<Record<string, string>> = {}) => ({
  "dkms.conf": conf(name, directives),
  Kbuild: `obj-m := ${name}.o\n`,
  [`${name}.c`]: source(name),
  ...files,
});

const BASE = `#include <linux/module.h>
int base_answer(int x);
int base_answer(int x) { return x + BY; }
EXPORT_SYMBOL_NS_GPL(base_answer, BASE);
MODULE_LICENSE("GPL");
`;
const USES = "int base_answer(int x);\nMODULE_IMPORT_NS(BASE);";
const user = (name: string) =>
  source(name, USES).replace("{ return 0; }", "{ return base_answer(1) == 42 ? 0 : -22; }");

const TREES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  hook: tree("hook", 'PRE_BUILD="probe.sh"', { "probe.sh": "#!/bin/sh\nno_such_probe_tool || exit 3\n" }),
  after: tree("after", 'POST_BUILD="late.sh now"', { "late.sh": "#!/bin/sh\nexit 4\n" }),
  added: tree("added", 'POST_ADD="gen.sh"\nPOST_INSTALL="gen.sh"', {
    "gen.sh": "#!/bin/sh\necho '#define MADE 1' >made.h\n",
    "added.c": source("added", '#include "made.h"'),
  }),
  plain: tree("plain", 'STRIP[0]="No"'),
  apart: {
    ...tree(
      "apart",
      'BUILT_MODULE_NAME[1]="never"\nDEST_MODULE_LOCATION[1]="/extra"\nBUILD_EXCLUSIVE_KERNEL_MIN[1]="99.0"',
    ),
  },
  barred: tree("barred", 'BUILD_EXCLUSIVE_KERNEL_MIN[0]="99.0"'),
  unplaced: {
    ...tree("unplaced", ""),
    "dkms.conf": 'PACKAGE_NAME="unplaced"\nPACKAGE_VERSION="1.0"\nBUILT_MODULE_NAME="unplaced"\n',
  },
  unpatched: tree("unpatched", 'PATCH[0]="not-there.patch"'),
  alone: tree("alone", 'BUILD_DEPENDS[0]="nobody"'),
  base: { Kbuild: "obj-m := base.o\nccflags-y := -DBY=41\n", "base.c": BASE },
  leafdkms: tree("leaf", 'BUILD_DEPENDS[0]="base"', { "leaf.c": user("leaf") }),
  tip: { Kbuild: "obj-m := tip.o\n", "tip.c": user("tip") },
  broken: { Kbuild: "obj-m := broken.o\n", "broken.c": "#error not today\n" },
  waiting: { Kbuild: "obj-m := waiting.o\n", "waiting.c": source("waiting") },
};
const SETTINGS: Readonly<Record<string, object>> = {
  tip: { needs: ["leafdkms"] },
  waiting: { needs: ["broken"] },
};

let farm: TestFarm;
let first: CliResult;
let rows: readonly Row[];

const rowOf = (driver: string) => {
  const row = rows.find((one) => one.driver === driver);
  if (row === undefined) throw new Error(`${driver} was not tried`);
  return row;
};
const logOf = async (driver: string) => readFile(join(rowOf(driver).path ?? "", "build.log"), "utf8");
const rowsOf = ({ stdout, stderr }: CliResult) => {
  if (stdout === "") throw new Error(stderr);
  return (JSON.parse(stdout) as { elements: Row[] }).elements;
};

beforeAll(async () => {
  farm = await farms.farm({
    mirror: await farms.mirror(),
    releases: ["debian13"],
    // Later kernels write namespaces in quotes.
    select: {
      ...{ distributions: ["debian13"], architectures: ["x86_64"], newest: 1 },
      kernelRelease: "6\\.12\\.\\d+\\+deb13-cloud-amd64",
    },
    // Users stand before what they need: their order is not that of the configuration.
    drivers: Object.keys(TREES)
      .toReversed()
      .map((name) => ({ name, source: name, versions: ["1.0"], ...SETTINGS[name] })),
  });
  for (const [name, files] of Object.entries(TREES)) await writeTree(join(farm.directory, name), files);
  first = await farm.cli("run", "--json");
  rows = rowsOf(first);
}, 900_000);

describe("trees of DKMS, as DKMS 3.2 has them", () => {
  it("come to what they come to there", () => {
    expect(Object.fromEntries(rows.map(({ driver, outcome }) => [driver, outcome]))).toEqual({
      ...{ hook: "failed", after: "failed", unplaced: "failed", unpatched: "failed", alone: "failed" },
      ...{ added: "stable", plain: "stable", apart: "stable", barred: "excluded" },
      ...{ base: "stable", leafdkms: "stable", tip: "stable", broken: "failed", waiting: "failed" },
    });
  });

  it.each([
    ["hook", /the PRE_BUILD script probe\.sh of dkms\.conf ended with exit code 3/],
    ["after", /the POST_BUILD script late\.sh now of dkms\.conf ended with exit code 4/],
    ["unplaced", /DKMS 3\.2\.2 does not take its dkms\.conf: record 0 has no DEST_MODULE_LOCATION/],
    ["unpatched", /the patch not-there\.patch of dkms\.conf is not in patches\//],
    ["alone", /BUILD_DEPENDS of its dkms\.conf names what is not there: nobody/],
  ])("that fail name what failed: %s", (driver, cause) => {
    expect(rowOf(driver).attempt.failure).toMatchObject({ code: "BUILD_FAILED" });
    expect(rowOf(driver).attempt.failure?.cause).toMatch(cause);
  });

  it("say in their logs which DKMS is followed, and what is not done", async () => {
    const log = await logOf("added");

    expect(log).toContain("building as DKMS 3.2.2 does");
    expect(log).toContain("POST_INSTALL of dkms.conf is not done");
  });

  it("keep their debugging information wherever a word begins with n", async () => {
    const { stdout } = await run("readelf", [
      "--sections",
      "--wide",
      join(rowOf("plain").path ?? "", "plain.ko"),
    ]);

    expect(stdout).toContain(".debug_info");
  });

  it("give the modules that do not exclude themselves", async () => {
    const names = (await readdir(rowOf("apart").path ?? "")).filter((name) => name.endsWith(".ko"));

    expect(names).toEqual(["apart.ko"]);
    expect(await logOf("apart")).toMatch(/never is excluded: BUILD_EXCLUSIVE_KERNEL_MIN\[1\]="99\.0"/);
  });
});

describe("drivers that need drivers", () => {
  it("are built against these, checked against these, and loaded after these", async () => {
    const manifest = async (driver: string) =>
      JSON.parse(await readFile(join(rowOf(driver).path ?? "", "manifest.json"), "utf8"));
    const [base, leaf, tip] = await Promise.all(["base", "leafdkms", "tip"].map(manifest));
    const symbols = leaf.verdicts.find((one: { check: string }) => one.check === "symbols");

    expect(leaf.recipe.driver.needs).toMatchObject([
      { name: "base", version: "1.0", modules: [{ name: "base", sha256: base.modules[0].digests.unsigned }] },
    ]);
    expect(leaf.modules[0].witnesses.depends).toEqual(["base"]);
    expect(tip.recipe.driver.needs.map((one: { name: string }) => one.name)).toEqual(["base", "leafdkms"]);
    expect(symbols).toMatchObject({
      verdict: "pass",
      reasons: [{ code: "exported", text: expect.stringContaining("the kernel and base") }],
    });
    expect(rowOf("leafdkms").attempt.load?.verdict.verdict).toBe("pass");
    expect(rowOf("tip").attempt.load?.verdict.verdict).toBe("pass");
  });

  it("wait for one that failed, by its name, and are not built", () => {
    expect(rowOf("waiting").attempt.failure).toMatchObject({ code: "NEED_UNMET" });
    expect(rowOf("waiting").attempt.failure?.cause).toMatch(/it needs broken, which failed: .*not today/);
  });

  it("are left alone as long as these are the same, and are built again when they change", async () => {
    const again = await farm.cli("run");
    await writeTree(join(farm.directory, "base"), {
      Kbuild: "obj-m := base.o\nccflags-y := -DBY=41 -DCHANGED\n",
      "base.c": BASE.replace("x + BY", "BY + x - 0"),
    });
    const changed = rowsOf(await farm.cli("run", "--json"));

    expect(again.stdout).toMatch(/6 stable, 0 candidates, 7 failed, 1 excluded/);
    for (const driver of ["base", "leafdkms", "tip"])
      expect(changed.find((one) => one.driver === driver)).toMatchObject({ outcome: "stable" });
  });

  it("are built once the other one is", async () => {
    await writeTree(join(farm.directory, "broken"), { "broken.c": source("broken") });
    const mended = rowsOf(await farm.cli("run", "--json"));

    for (const driver of ["broken", "waiting"])
      expect(mended.find((one) => one.driver === driver)).toMatchObject({ outcome: "stable" });
  });

  it("are built again elsewhere against the very same modules", async () => {
    const { stdout, exitCode } = await farm.cli("rebuild", rowOf("leafdkms").path ?? "");

    expect(stdout).toMatch(/equal/);
    expect(exitCode).toBe(0);
  });
});
