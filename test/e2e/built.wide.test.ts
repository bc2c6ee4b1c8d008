/**
 * What is built is the tree that was given, and only what the build made is published: by live builds on a kernel whose
 * Kbuild works below the kernel's tree, and on one whose Kbuild works in the driver's.
 */
import { execFileSync } from "node:child_process";
import { cp, mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readSourceTree } from "../../src/builder/source-tree.ts";
import { writeTree } from "../support/driver-trees.ts";
import { type TestFarm, useFarms } from "../support/e2e-farm.ts";

const farms = useFarms();

interface Row {
  readonly driver: string;
  readonly distribution: string;
  readonly outcome: string;
  readonly attempt: {
    readonly recipe?: string;
    readonly failure?: {
      readonly code: string;
      readonly cause: string;
      readonly file?: string;
      readonly advice: string;
    };
  };
}

const HEAD = '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("a test");\n';
const code = (name: string, body: string) =>
  `${HEAD}static int __init ${name}_init(void) { ${body} }\nstatic void __exit ${name}_exit(void) { }\nmodule_init(${name}_init);\nmodule_exit(${name}_exit);\n`;
const KERNEL = "/lib/modules/$(shell uname -r)/build";
const dkms = (name: string, more: string) =>
  `PACKAGE_NAME="${name}"\nPACKAGE_VERSION="1.0"\nBUILT_MODULE_NAME[0]="${name}"\nDEST_MODULE_LOCATION[0]="/extra"\n${more}`;

/** A driver of several files, one of which a vendor may ship as an object only; what its build leaves is kept. */
const BLOB = {
  Kbuild: "obj-m := blob.o\nblob-y := wrap.o vendor/engine.o\n",
  // Some kernels' modpost asks for notes of objects only for a module that names its version.
  "wrap.c": `int vendor_answer(int x);\n${code("wrap", "return vendor_answer(1) == 42 ? 0 : -EINVAL;")}MODULE_VERSION("1");\n`,
  "vendor/engine.c": "int vendor_answer(int x);\nint vendor_answer(int x) { return x + 41; }\n",
};
const KEEPING = {
  make: ['make -C "$KERNEL_SOURCE" M="$PWD" modules', "tar -cf /tmp/left.tar . && mv /tmp/left.tar ."],
  files: ["left.tar"],
};
const BASE = {
  Kbuild: "obj-m := base.o\n",
  "base.c": `${HEAD}int base_answer(int x);\nint base_answer(int x) { return x; }\nEXPORT_SYMBOL_GPL(base_answer);\n`,
};

const RIGHT: Readonly<Record<string, { tree: Record<string, string>; settings?: Record<string, unknown> }>> =
  {
    // Makefiles of automake make what is older than its source anew, and autoconf is not there.
    generated: {
      tree: {
        Makefile: `all: configure\n\t$(MAKE) -C ${KERNEL} M=$(CURDIR) modules\nconfigure: configure.ac\n\tautoconf-2.71 --from $<\n`,
        Kbuild: "obj-m := generated.o\n",
        "configure.ac": "AC_INIT\n",
        configure: "#!/bin/sh\n",
        "generated.c": code("generated", "return 0;"),
      },
      settings: { make: "make" },
    },
    // Linux 6.13 changed how a namespace is written.
    namespaces: {
      tree: {
        Kbuild: "obj-m := namespaces.o\n",
        "namespaces.c": `#include <linux/version.h>\n#include <linux/dma-buf.h>\n${code(
          "namespaces",
          "struct dma_buf *b = dma_buf_get(-1); return IS_ERR(b) ? 0 : -EINVAL;",
        )}#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)\nMODULE_IMPORT_NS(DMA_BUF);\n#else\nMODULE_IMPORT_NS("DMA_BUF");\n#endif\n`,
      },
    },
  };

const WRONG: Readonly<
  Record<
    string,
    {
      readonly tree: Record<string, string>;
      readonly settings?: Record<string, unknown>;
      readonly cause: RegExp;
      readonly advice: RegExp;
      readonly file?: string;
    }
  >
> = {
  deep: {
    tree: {
      "dkms.conf": dkms("deep", 'BUILT_MODULE_LOCATION[0]="app"\nMAKE[0]="make all"\n'),
      Makefile: `all:\n\t$(MAKE) -C ${KERNEL} M=$(CURDIR)/app modules\n`,
      "app/Kbuild": "obj-m := deep.o\ndeep-y := main.o ../lib/inner/core.o\n",
      "app/main.c": HEAD,
      "lib/inner/core.c":
        "#include <linux/module.h>\nint f(void);\nint f(void)\n{\n\treturn no_such_function();\n}\n",
    },
    cause: /no function no_such_function/,
    advice: /LINUX_VERSION_CODE/,
    file: "lib/inner/core.c",
  },
  silently: {
    tree: {
      Makefile: `all:\n\t@$(MAKE) -s --no-print-directory -C ${KERNEL} M=$(CURDIR)/src modules\n`,
      "src/Kbuild": "obj-m := silently.o\n",
      "src/silently.c": `${HEAD}int h(void);\nint h(void) { return no_such_function(); }\n`,
    },
    settings: { make: "make" },
    cause: /no function no_such_function/,
    advice: /LINUX_VERSION_CODE/,
    file: "src/silently.c",
  },
  trial: {
    tree: {
      "generate.sh": `#!/bin/sh
echo 'int main(void) { return nothing_like_this(); }' >t.c
cc -Werror=implicit-function-declaration -c t.c 2>&1 | sed 's|^|// |'
echo 'int x = undeclared_one;' >conftest.c; cc -c conftest.c
echo '#include <no/such.h>' | cc -c -x c - -o /dev/null
rm -f t.c conftest.c; : >have.h
`,
      Makefile: `all:\n\t./generate.sh\n\t$(MAKE) -C ${KERNEL} M=$(CURDIR) modules\n`,
      Kbuild: "obj-m := trial.o\n",
      "trial.c": `#include "have.h"\n${HEAD}int g(void);\nint g(void)\n{\n\tint a = 5\n\treturn a;\n}\n`,
    },
    settings: { make: "make" },
    cause: /expected ',' or ';' before 'return'/,
    advice: /must change/,
    file: "trial.c",
  },
  prototype: {
    tree: {
      Kbuild: "obj-m := prototype.o\n",
      "prototype.c": `#include <linux/netdevice.h>\n${HEAD}static inline int netif_queue_stopped(struct net_device *d) { return 0; }\n`,
    },
    cause: /netif_queue_stopped has a different type .*prototype changed/,
    advice: /Compare with .*include\/linux\/netdevice\.h:\d+/,
    file: "prototype.c",
  },
  // As under dkms: this file names the kernel of the machine that builds, which is not there.
  osrelease: {
    tree: {
      Makefile: `ifneq ($(KERNELRELEASE),)\nobj-m := osrelease.o\nelse\nall:\n\t$(MAKE) -C /lib/modules/$(shell cat /proc/sys/kernel/osrelease)/build M=$(CURDIR) modules\nendif\n`,
      "osrelease.c": HEAD,
    },
    settings: { make: "make" },
    cause: /make is called in \/lib\/modules\/\S+\/build, which does not exist/,
    advice: /KERNELRELEASE/,
  },
  subdirs: {
    tree: {
      Makefile: `ifneq ($(KERNELRELEASE),)\nobj-m := subdirs.o\nelse\nall:\n\t@$(MAKE) -C ${KERNEL} SUBDIRS=$(CURDIR) modules\nendif\n`,
      "subdirs.c": HEAD,
    },
    settings: { make: "make" },
    cause: /SUBDIRS=/,
    advice: /M=/,
  },
  silent: {
    tree: {
      Makefile: `ifneq ($(KERNELRELEASE),)\nobj-$(CONFIG_SILENT) := silent.o\nelse\nexport CONFIG_SILENT = m\nall:\n\t$(MAKE) -C ${KERNEL} M=$(CURDIR) modules\nendif\n`,
      "silent.c": HEAD,
    },
    cause: /only Kbuild was called/,
    advice: /`make: make`/,
  },
  elsewhere: {
    tree: {
      "dkms.conf": dkms("elsewhere", ""),
      Kbuild: "obj-m := src/\n",
      "src/Kbuild": "obj-m := elsewhere.o\n",
      "src/elsewhere.c": HEAD,
    },
    cause: /produced src\/elsewhere\.ko instead of elsewhere\.ko/,
    advice: /BUILT_MODULE_LOCATION/,
  },
};
const KIN: Readonly<Record<string, (typeof WRONG)[string]>> = {
  ...WRONG,
  silentdkms: {
    ...(WRONG.silent as (typeof WRONG)[string]),
    tree: { ...WRONG.silent?.tree, "dkms.conf": dkms("silent", "") },
  },
};

describe.each([
  ["debian13", "6\\.12\\.\\d+\\+deb13-amd64"],
  ["debiansid", "[\\w.+]+-amd64"],
])("on a kernel of %s", (release, kernelRelease) => {
  let farm: TestFarm;
  let first: readonly Row[];
  let second: readonly Row[];
  const sources = new Map<string, string>();

  const night = async (drivers: readonly { readonly name: string }[]): Promise<readonly Row[]> => {
    await farm.configure({
      drivers: drivers.map((one) => ({ source: one.name, versions: ["1.0"], ...one })),
    });
    await farm.cli("catalog", "update");
    const { stdout, stderr } = await farm.cli("build", "--json");
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout).elements;
  };
  const rowOf = (rows: readonly Row[], name: string) => rows.find(({ driver }) => driver === name) as Row;
  const place = (name: string) => join(farm.directory, name);

  /** The tree that a build of a driver left. */
  async function leftOf(name: string): Promise<void> {
    const entries = await readdir(join(farm.cache, "attempts"), { recursive: true });
    const archives = entries.filter((path) => path.endsWith("files/left.tar"));
    for (const path of archives) {
      const archive = join(farm.cache, "attempts", path);
      const holds = execFileSync("tar", ["-tf", archive]).toString().includes(`./${name}.ko\n`);
      if (!holds) continue;
      await mkdir(place(`${name}-left`));
      execFileSync("tar", ["-xf", archive, "-C", place(`${name}-left`)]);
      return;
    }
    throw new Error(`no build of ${name} left anything`);
  }

  beforeAll(async () => {
    farm = await farms.farm({
      mirror: await farms.mirror(),
      releases: [release],
      select: { architectures: ["x86_64"], kernelRelease, newest: 1 },
    });
    await writeTree(place("blob"), BLOB);
    await writeTree(place("base"), BASE);
    const rest = { ...RIGHT, ...KIN };
    for (const [name, { tree }] of Object.entries(rest)) await writeTree(place(name), tree);
    first = await night([
      { name: "blob", ...KEEPING },
      { name: "base", ...KEEPING },
      ...Object.entries(rest).map(([name, { settings }]) => ({ name, ...settings })),
    ]);
    for (const name of ["blob", "base"]) await leftOf(name);
    await makeShipped();
    second = await night(SHIPPED.map((name) => ({ name, source: sources.get(name) as string })));
  }, 1_800_000);

  const SHIPPED = [
    ...["shipped", "empty", "unnoted", "copied", "cleaned", "leaf", "prebuilt", "carried"],
  ] as const;

  /** Trees as vendors ship them, with what the first night's builds left. */
  async function makeShipped(): Promise<void> {
    for (const name of SHIPPED) sources.set(name, name);
    for (const name of ["shipped", "empty", "unnoted", "copied", "cleaned"]) {
      await cp(place("blob-left"), place(name), { recursive: true });
      await rm(join(place(name), "vendor/engine.c"));
    }
    await writeFile(join(place("empty"), "vendor/.engine.o.cmd"), "");
    for (const name of ["unnoted", "copied"]) await rm(join(place(name), "vendor/.engine.o.cmd"));
    await rename(join(place("copied"), "vendor/engine.o"), join(place("copied"), "vendor/engine.o_shipped"));
    // DKMS cleans before a build up to 3.0 only, and what is followed here is newer.
    await writeTree(place("cleaned"), { "dkms.conf": dkms("blob", 'CLEAN="rm -f vendor/engine.o"\n') });
    await writeTree(place("leaf"), {
      Kbuild: "obj-m := leaf.o\nKBUILD_EXTRA_SYMBOLS := $(src)/vendor/Module.symvers\n",
      "leaf.c": `int base_answer(int x);\n${code("leaf", "return base_answer(0);")}`,
    });
    await mkdir(join(place("leaf"), "vendor"));
    for (const name of ["Module.symvers", "modules.order"])
      await cp(join(place("base-left"), name), join(place("leaf"), "vendor", name));
    for (const [name, kbuild] of [
      ["prebuilt", "obj-m := own.o\n"],
      ["carried", "$(shell cp $(src)/tools/base.ko $(src)/carried.ko)\n"],
    ] as const) {
      await writeTree(place(name), { Kbuild: kbuild, "own.c": HEAD });
      await mkdir(join(place(name), "tools"));
      await cp(join(place("base-left"), "base.ko"), join(place(name), "tools/base.ko"));
    }
  }

  const modulesOf = ({ attempt }: Row) =>
    readdir(join(farm.cache, "attempts", attempt.recipe?.replace("sha256:", "") ?? "", "modules"));

  it.each(Object.keys(RIGHT))("%s is built", (name) => {
    expect(rowOf(first, name).attempt.failure).toBeUndefined();
  });

  it.each(Object.entries(KIN))("%s fails, for the reason that it has", (name, { cause, advice, file }) => {
    const { failure } = rowOf(first, name).attempt;

    expect(failure).toMatchObject({
      cause: expect.stringMatching(cause),
      advice: expect.stringMatching(advice),
    });
    expect(failure?.file).toBe(file);
  });

  it.each(["blob", "base"])("what a build of %s leaves is no part of its tree", async (name) => {
    const [clean, dirty] = [await readSourceTree(place(name)), await readSourceTree(place(`${name}-left`))];

    expect(dirty.leftovers.length).toBeGreaterThan(8);
    expect(dirty.files.map(({ path }) => path)).toEqual(clean.files.map(({ path }) => path));
    expect(dirty.digest).toBe(clean.digest);
  });

  it.each(["shipped", "empty", "copied", "cleaned", "leaf", "prebuilt"])("%s is built", (name) => {
    expect(rowOf(second, name).attempt.failure).toBeUndefined();
  });

  it("a shipped object without its note is named", () => {
    expect(rowOf(second, "unnoted").attempt.failure?.cause).toMatch(
      /vendor\/engine\.o, and .*vendor\/\.engine\.o\.cmd/,
    );
  });

  it("a module that lies in the source is no module of the build, wherever it is copied to", async () => {
    expect(rowOf(second, "carried").attempt.failure).toMatchObject({
      code: "MODULE_MISSING",
      cause: expect.stringContaining("tools/base.ko was already in the source"),
    });
    expect(await modulesOf(rowOf(second, "prebuilt"))).toEqual(["own.ko"]);
  });
});
