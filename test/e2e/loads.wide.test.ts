/**
 * Drivers that misbehave in the kernel, each in its own way, beside ones that do not: the farm names what each did, and
 * the others pass.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { CLOUD, type CliResult, leftovers, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

interface Row {
  readonly driver: string;
  readonly outcome: string;
  readonly attempt: {
    readonly load?: { readonly verdict: { readonly verdict: string; readonly reasons: readonly string[] } };
  };
}

interface Driver {
  readonly name: string;
  readonly init: string;
  readonly exit?: string;
  readonly before?: string;
  readonly smoke?: string;
  readonly compress?: "xz" | "zstd" | "gz";
  /** What is told of it; without, it passes. */
  readonly fault?: RegExp;
}

const DRIVERS: readonly Driver[] = [
  { name: "good", init: "return 0;" },
  {
    name: "oopses",
    init: "*(volatile int *)8 = 1; return 0;",
    fault: /^the kernel oopsed: loading oopses/,
  },
  {
    name: "panics",
    init: 'if (jiffies) panic("on purpose");\n\treturn 0;',
    fault: /^the kernel died: loading panics/,
  },
  {
    name: "hangs",
    init: "while (jiffies) cpu_relax();\n\treturn 0;",
    fault: /^the kernel hangs: loading hangs/,
  },
  {
    name: "stays",
    before: "static DECLARE_COMPLETION(never);",
    init: "return 0;",
    exit: "wait_for_completion(&never);",
    fault: /^unloading stays has not returned after 30 s/,
  },
  {
    name: "floods",
    init: 'while (jiffies) pr_emerg("%0400d\\n", 1);\n\treturn 0;',
    fault: /^the console was flooded: loading floods/,
  },
  {
    name: "warns",
    init: "WARN_ON(1); return 0;",
    fault: /^with the modules loaded, the kernel printed a warning/,
  },
  { name: "absent", init: "return -ENODEV;", fault: /^absent is refused, it finds no device of its own/ },
  { name: "endless", init: "return 0;", exit: "NONE", fault: /^endless cannot be unloaded/ },
  {
    name: "forgets",
    before: "#include <linux/proc_fs.h>",
    init: 'return proc_create("forgets", 0, NULL, &ops) ? 0 : -EEXIST;',
    fault: /^forgets is refused the second time/,
  },
  {
    name: "unwell",
    init: "return 0;",
    smoke: 'grep -q "^unwell " /proc/modules || exit 9\necho no ring\nexit 3\n',
    fault: /^the driver's own script ended with exit code 3: no ring/,
  },
  { name: "well", init: "return 0;", smoke: 'grep -q "^well " /proc/modules\n' },
  { name: "packed", init: "return 0;", compress: "xz" },
  {
    name: "zipped",
    init: "return 0;",
    compress: "gz",
    fault: /^zipped is refused: this release's kmod cannot read \.gz/,
  },
  { name: "last", init: "return 0;" },
];

const source = ({ name, before = "", init, exit = "" }: Driver) => `#include <linux/module.h>
#include <linux/completion.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
${before}
${name === "forgets" ? "static const struct proc_ops ops = { };" : ""}
static int __init own_init(void) { ${init} }
module_init(own_init);
${exit === "NONE" ? "" : `static void __exit own_exit(void) { ${exit} }\nmodule_exit(own_exit);`}
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("misbehaves");
`;

describe("a farm with drivers that misbehave in the kernel", () => {
  const night: { farm?: TestFarm; rows?: readonly Row[]; first?: CliResult } = {};

  beforeAll(async () => {
    const farm = await farms.farm({
      mirror: await farms.mirror(),
      select: { ...CLOUD, architectures: ["x86_64"] },
      drivers: DRIVERS.map(({ name, smoke, compress }) => ({
        ...{ name, source: name, versions: ["1.0.0"], modules: [name], compress },
        ...(smoke === undefined ? {} : { smoke: "try.sh" }),
      })),
    });
    for (const driver of DRIVERS) {
      const directory = join(farm.directory, driver.name);
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, "Kbuild"), `obj-m := ${driver.name}.o\n`);
      await writeFile(join(directory, `${driver.name}.c`), source(driver));
      if (driver.smoke !== undefined) await writeFile(join(directory, "try.sh"), driver.smoke);
    }
    night.farm = farm;
    night.first = await farm.cli("run", "--json");
    night.rows = JSON.parse(night.first.stdout).elements;
  }, 900_000);

  const rowOf = (name: string) => night.rows?.find(({ driver }) => driver === name);

  it.each(DRIVERS)("says what $name did", ({ name, fault }) => {
    const { outcome, attempt } = rowOf(name) as Row;
    const { verdict, reasons } = attempt.load?.verdict ?? { verdict: "", reasons: [] };

    if (fault === undefined)
      expect([verdict, ...reasons]).toEqual(["pass", expect.stringMatching(/unloaded, twice$/)]);
    else expect([verdict, reasons[0]]).toEqual(["fail", expect.stringMatching(fault)]);
    expect(outcome).toBe(fault === undefined ? "stable" : "candidate");
  });

  it("ends as a farm with failures does, and leaves nothing behind", async () => {
    expect(night.first?.exitCode).toBe(1);
    expect(await leftovers(night.farm as TestFarm)).toEqual([]);
  });
});
