/**
 * Drivers that need more of their node than a bare kernel: modules of the kernel's own by their dependencies, softly, and
 * by request; parameters; a device. What a node's `modprobe` would make of each is what the load test says.
 */
import { execFile, execFileSync } from "node:child_process";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, type TestFarm, useFarms } from "../support/e2e-farm.ts";

const run = promisify(execFile);
const farms = useFarms();

interface Driver {
  readonly name: string;
  /** File without .c → its source; what stands before the functions, then init and exit. */
  readonly sources: Readonly<Record<string, string>>;
  readonly load?: unknown;
  readonly smoke?: string;
  readonly says: readonly [verdict: string, ...reasons: RegExp[]];
}

const module = (before: string, init: string, exit = "") => `#include <linux/module.h>
${before}
static int __init own_init(void) { ${init} }
static void __exit own_exit(void) { ${exit} }
module_init(own_init);
module_exit(own_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("needs a node");
`;
const DIGEST = `#include <linux/err.h>
#include <crypto/hash.h>
static struct crypto_shash *digest;`;
const FIND_DIGEST = 'digest = crypto_alloc_shash("rmd160", 0, 0); return PTR_ERR_OR_ZERO(digest);';
const FREE_DIGEST = "crypto_free_shash(digest);";
const GOOD = ["pass", /loaded with kmod and unloaded, twice$/] as const;
const REFUSED = "return -ENODEV;";

const DRIVERS: readonly Driver[] = [
  {
    name: "usbuser",
    sources: {
      usbuser: `#include <linux/module.h>
#include <linux/usb.h>
static int its_probe(struct usb_interface *intf, const struct usb_device_id *id) { return -ENODEV; }
static void its_disconnect(struct usb_interface *intf) { }
static const struct usb_device_id its_ids[] = { { USB_DEVICE(0x1209, 0x0001) }, { } };
MODULE_DEVICE_TABLE(usb, its_ids);
static struct usb_driver its_driver = {
	.name = "usbuser", .probe = its_probe, .disconnect = its_disconnect, .id_table = its_ids,
};
module_usb_driver(its_driver);
MODULE_LICENSE("GPL");
`,
    },
    says: GOOD,
  },
  {
    name: "dash",
    sources: {
      "aaa-user": module("int zzz_answer(int x);", "return zzz_answer(1) == 42 ? 0 : -EINVAL;"),
      "zzz-base": module(
        "int zzz_answer(int x);\nint zzz_answer(int x) { return x + 41; }\nEXPORT_SYMBOL_GPL(zzz_answer);",
        "return 0;",
      ),
    },
    says: GOOD,
  },
  {
    name: "crcuser",
    sources: {
      crcuser: module("#include <linux/crc32c.h>", 'return crc32c(~0, "field", 5) == 0 ? -EIO : 0;'),
    },
    says: GOOD,
  },
  {
    name: "softly",
    sources: { softly: module(`${DIGEST}\nMODULE_SOFTDEP("pre: rmd160");`, FIND_DIGEST, FREE_DIGEST) },
    says: GOOD,
  },
  // Nothing in it says that it will ask.
  { name: "asks", sources: { asks: module(DIGEST, FIND_DIGEST, FREE_DIGEST) }, says: GOOD },
  {
    name: "mounts",
    sources: {
      mounts: module(
        "#include <linux/fs.h>",
        'struct file_system_type *type = get_fs_type("squashfs"); if (!type) return -ENOENT; module_put(type->owner); return 0;',
      ),
    },
    says: GOOD,
  },
  {
    name: "parts",
    sources: {
      parts: module("#include <linux/kmod.h>", 'return request_module("second-part") ? -ENOENT : 0;'),
      "second-part": module("", "return 0;"),
    },
    says: GOOD,
  },
  // Held by one that names no symbol of it, and that was inserted before it.
  {
    name: "holds",
    sources: {
      "aaa-holder": module(
        "#include <linux/kmod.h>\nextern int zzz_answer(int x);",
        'request_module("zzz-held"); return symbol_get(zzz_answer) ? 0 : -ENOENT;',
        "symbol_put(zzz_answer);",
      ),
      "zzz-held": module(
        "int zzz_answer(int x);\nint zzz_answer(int x) { return x + 41; }\nEXPORT_SYMBOL_GPL(zzz_answer);",
        "return 0;",
      ),
    },
    says: GOOD,
  },
  // In place of one of the kernel's own, which others of the kernel's own hold.
  {
    name: "stands-in",
    sources: {
      cordic: module(
        "#include <linux/cordic.h>\nstruct cordic_iq cordic_calc_iq(s32 theta) { struct cordic_iq zero = { 0, 0 }; return zero; }\nEXPORT_SYMBOL(cordic_calc_iq);",
        "return 0;",
      ),
      "uses-b43": module('MODULE_SOFTDEP("pre: b43");', "return 0;"),
    },
    says: GOOD,
  },
  // Asked for by a symbol that it exports.
  {
    name: "symbols",
    sources: {
      "aaa-caller": module(
        "#include <linux/kmod.h>\nextern int asked_answer(int x);",
        "return symbol_request(asked_answer) ? 0 : -ENOENT;",
        "symbol_put(asked_answer);",
      ),
      "zzz-asked": module(
        "int asked_answer(int x);\nint asked_answer(int x) { return x + 41; }\nEXPORT_SYMBOL_GPL(asked_answer);",
        "return 0;",
      ),
    },
    says: GOOD,
  },
  // And one that nobody lets go.
  {
    name: "keeps",
    sources: {
      "aaa-keeper": module(
        "#include <linux/kmod.h>\nextern int kept_answer(int x);",
        'request_module("zzz-kept"); return symbol_get(kept_answer) ? 0 : -ENOENT;',
      ),
      "zzz-kept": module(
        "int kept_answer(int x);\nint kept_answer(int x) { return x + 41; }\nEXPORT_SYMBOL_GPL(kept_answer);",
        "return 0;",
      ),
    },
    says: ["fail", /^zzz_kept cannot be unloaded: .*Resource temporarily unavailable$/],
  },
  // What is asked for before its turn needs another part, and each of the two names the other.
  {
    name: "deep-parts",
    sources: {
      asks: module("#include <linux/kmod.h>", 'return request_module("second-part") ? -ENOENT : 0;'),
      "second-part": module(
        'int third_answer(void);\nMODULE_SOFTDEP("pre: third-part rmd160");',
        "return third_answer() == 42 ? 0 : -EINVAL;",
      ),
      "third-part": module(
        'int third_answer(void);\nint third_answer(void) { return 42; }\nEXPORT_SYMBOL_GPL(third_answer);\nMODULE_SOFTDEP("pre: second-part");',
        "return 0;",
      ),
    },
    says: GOOD,
  },
  {
    name: "fetches",
    sources: { fetches: module("", "return 0;") },
    smoke: "modprobe rmd160 && grep -q '^rmd160 ' /proc/modules\n",
    says: ["pass", /loaded with kmod, tried out and unloaded, twice$/],
  },
  {
    name: "asks-in-vain",
    sources: { vain: module(DIGEST, FIND_DIGEST.replace("rmd160", "no-such-hash"), FREE_DIGEST) },
    says: ["fail", /^vain is refused, something it asks for is missing/],
  },
  {
    name: "talks",
    sources: {
      talks: module(
        "",
        'pr_info("talks: WARNING: the fan\\n"); printk("WARNING: loud\\n"); printk("Oops: no\\n"); return 0;',
      ),
    },
    says: GOOD,
  },
  {
    name: "warns",
    sources: { warns: module("", 'printk("WARNING: the fan\\n"); return 0;', "WARN_ON(1);") },
    says: [
      "fail",
      /^with the modules loaded, the kernel printed a warning \(unloading warns\)$/,
      /^WARNING: /,
    ],
  },
  {
    name: "chaos",
    sources: {
      chaos: module(
        "int chaos_answer(void);\nint chaos_answer(void) { return 42; }\nEXPORT_SYMBOL_GPL(chaos_answer);",
        "return 0;",
        "*(volatile int *)8 = 1;",
      ),
      refused: module("int chaos_answer(void);", "return chaos_answer() == 42 ? -EBUSY : 0;"),
    },
    says: [
      "fail",
      /^refused is refused: .*Device or resource busy$/,
      /^the kernel oopsed: unloading chaos$/,
      /^BUG: kernel NULL pointer dereference/,
    ],
  },
  {
    name: "absent",
    sources: { absent: module("", REFUSED) },
    says: ["fail", /^absent is refused, it finds no device/],
  },
  {
    name: "expected",
    sources: { expected: module("", REFUSED) },
    load: { noDevice: true },
    says: ["notApplicable", /^expected finds no device of its own here/],
  },
  {
    name: "unexpected",
    sources: { unexpected: module("", "return -EIO;") },
    load: { noDevice: true },
    says: ["fail", /^unexpected is refused: .*Input\/output error/],
  },
  {
    name: "set-up",
    sources: {
      setup: module(
        "static int level;\nmodule_param(level, int, 0);\nstatic char *names;\nmodule_param(names, charp, 0);",
        'return level == 7 && names && !strcmp(names, "a,b") ? 0 : -EINVAL;',
      ),
    },
    load: { parameters: { setup: ["level=7", "names=a,b"] } },
    says: GOOD,
  },
  {
    name: "pci",
    sources: {
      pciuser: module(
        "#include <linux/pci.h>",
        "struct pci_dev *dev = pci_get_device(0x1234, 0x11e8, NULL); pci_dev_put(dev); return dev ? 0 : -ENXIO;",
      ),
    },
    load: { devices: ["edu", "usb-tablet"] },
    says: GOOD,
  },
];

interface Row {
  readonly driver: string;
  readonly outcome: string;
  readonly attempt: {
    readonly load?: { readonly verdict: { readonly verdict: string; readonly reasons: readonly string[] } };
  };
}

describe("a farm with drivers that need a node", () => {
  const night: { farm?: TestFarm; rows?: readonly Row[] } = {};

  beforeAll(async () => {
    const farm = await farms.farm({
      mirror: await farms.mirror(),
      releases: ["debian13"],
      select: { flavours: ["generic"], architectures: ["x86_64"], newest: 1 },
      drivers: DRIVERS.map(({ name, load, smoke }) => ({
        ...{ name, source: name, versions: ["1.0.0"] },
        ...(smoke === undefined ? {} : { smoke: "try.sh" }),
        ...(load === undefined ? {} : { load }),
      })),
    });
    for (const { name, sources, smoke } of DRIVERS) {
      const directory = join(farm.directory, name);
      await mkdir(directory, { recursive: true });
      if (smoke !== undefined) await writeFile(join(directory, "try.sh"), smoke);
      await writeFile(
        join(directory, "Kbuild"),
        `obj-m := ${Object.keys(sources)
          .map((one) => `${one}.o`)
          .join(" ")}\n`,
      );
      for (const [file, text] of Object.entries(sources)) await writeFile(join(directory, `${file}.c`), text);
    }
    night.farm = farm;
    const { stdout, stderr } = await farm.cli("run", "--json");
    night.rows = JSON.parse(stdout || stderr).elements;
  });

  it.each(DRIVERS)("says of $name what its node would", ({ name, says: [word, ...reasons] }) => {
    const row = night.rows?.find(({ driver }) => driver === name) as Row;
    const said = row.attempt.load?.verdict ?? { verdict: "none", reasons: [JSON.stringify(row)] };

    expect([said.verdict, ...said.reasons.slice(0, reasons.length)]).toEqual([
      word,
      ...reasons.map((reason) => expect.stringMatching(reason)),
    ]);
    expect(row.outcome).toBe(word === "pass" ? "stable" : "candidate");
  });

  it("leads modprobe to what depmod's own files lead it to, over the whole kernel", async () => {
    const farm = night.farm as TestFarm;
    const [archive = ""] = (await readdir(join(farm.cache, "boot"))).filter((name) => name.endsWith("-tree"));
    const [ours, theirs] = [join(farm.directory, "ours"), join(farm.directory, "theirs")];
    await mkdir(ours);
    execFileSync("sh", [
      "-c",
      'cd "$1" && cpio --extract --quiet --make-directories <"$2"',
      "sh",
      ours,
      join(farm.cache, "boot", archive),
    ]);
    await run("cp", ["-rl", ours, theirs]);
    const [release = ""] = await readdir(join(ours, "lib/modules"));
    for (const file of await readdir(join(theirs, "lib/modules", release)))
      if (/\.bin$|softdep|weakdep/.test(file)) await rm(join(theirs, "lib/modules", release, file));
    await run("depmod", ["-b", theirs, release]);
    const files = await run("find", [join(ours, "lib/modules", release, "kernel"), "-name", "*.ko*"]);
    const names = files.stdout.split("\n").map((path) => path.replace(/^.*\//, "").replace(/\.ko.*$/, ""));
    const sample = names.filter((name, index) => name !== "" && index % 40 === 0);
    const aliases = [
      "crypto-crc32c",
      "crypto-sha256",
      "crypto-rmd160",
      "fs-ext4",
      "fs-proc",
      "net-pf-29",
      "symbol:usb_register_driver",
      "nothing",
    ];
    const ask = (tree: string, ...argv: string[]) =>
      run("modprobe", ["-d", tree, "-S", release, ...argv]).then(
        ({ stdout }) => stdout.replaceAll(tree, "").split("\n"),
        () => ["none"],
      );

    for (const name of [...sample, ...aliases]) {
      const [own, real] = await Promise.all(
        [ours, theirs].map((tree) => ask(tree, "--show-depends", "--", name)),
      );
      expect([name, ...(own ?? []).toSorted()]).toEqual([name, ...(real ?? []).toSorted()]);
    }
    for (const alias of aliases) expect(await ask(ours, "-R", alias)).toEqual(await ask(theirs, "-R", alias));
    expect(sample.length).toBeGreaterThan(50);
  });

  it("leaves nothing behind", async () => {
    expect(await leftovers(night.farm as TestFarm)).toEqual([]);
  });
});
