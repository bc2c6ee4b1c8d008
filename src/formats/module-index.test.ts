import { spawnSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { craftModule } from "../../test/support/crafted-module.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { readKernelModule } from "./kernel-module.ts";
import { depmodFiles, type IndexedModule, indexedModule } from "./module-index.ts";

const RELEASE = "6.1.0-56-amd64";
const HAS_KMOD = spawnSync("modprobe", ["--version"]).status === 0;

// What modules depend on, depmod reads from their symbols: test/e2e compares that on a whole kernel.
const MODULES = [
  crafted("kernel/drivers/usb/common/usb-common.ko"),
  crafted("kernel/drivers/usb/core/usbcore.ko", "alias=usb:v*p*d*dc*"),
  crafted("kernel/drivers/usb/storage/usb-storage.ko", "alias=usb-storage-all"),
  crafted("kernel/drivers/scsi/scsi-common.ko"),
  crafted("kernel/drivers/scsi/scsi_mod.ko", "alias=scsi:t-0x0*"),
  crafted("kernel/crypto/rmd160.ko", "alias=crypto-rmd160", "alias=rmd160"),
  crafted("kernel/crypto/crc32c_generic.ko", "alias=crypto-crc32c", "alias=of:N*T[0-9-a]C*"),
  crafted("kernel/arch/x86/crypto/crc32c-intel.ko", "alias=crypto-crc32c"),
  crafted("kernel/lib/libcrc32c.ko", "softdep=pre: crypto-crc32c"),
];
const BUILT_IN = {
  paths: "kernel/fs/proc/proc-fs.ko\nkernel/net/unix/unix.ko\n",
  modinfo: "unix.license=GPL\0unix.alias=net-pf-1\0proc-fs.alias=fs-proc\0",
};

function crafted(path: string, ...modinfo: string[]) {
  const bytes = craftModule(path.replace(/^.*\//, "").replace(/\.ko$/, ""), { modinfo });
  return { bytes, one: indexedModule(path, readKernelModule(bytes, path)) };
}

async function treeWith(files: ReadonlyMap<string, Buffer>): Promise<string> {
  const directory = await temporaryDirectory();
  const place = (path: string) => join(directory, "lib/modules", RELEASE, path);
  for (const { one, bytes } of MODULES) {
    await mkdir(dirname(place(one.path)), { recursive: true });
    await writeFile(place(one.path), bytes);
  }
  for (const [name, content] of files) await writeFile(place(name), content);
  return directory;
}

/** What modprobe would do, without the directory that it was told. Which of several comes first, a whole kernel shows. */
function asked(directory: string, name: string): string[] {
  const argv = ["-d", directory, "-S", RELEASE, "--show-depends", "--", name];
  const { stdout, status } = spawnSync("modprobe", argv, { encoding: "utf8" });
  const lines = stdout.replaceAll(directory, "").split("\n");
  return [String(status), ...lines.map((line) => line.trimEnd()).filter((line) => line !== "")].toSorted();
}

describe("depmodFiles", () => {
  const files = depmodFiles(
    MODULES.map(({ one }) => one),
    BUILT_IN,
  );

  test("lead modprobe to what depmod's own lead it to", async ({ skip }) => {
    if (!HAS_KMOD) return skip("modprobe (Debian package kmod) is not installed");
    const sources = ["modules.builtin", "modules.builtin.modinfo"].map(
      (name) => [name, files.get(name)] as const,
    );
    const theirs = await treeWith(new Map(sources as [string, Buffer][]));
    expect(spawnSync("depmod", ["-b", theirs, RELEASE]).status).toBe(0);
    const ours = await treeWith(files);

    const names = [
      ...MODULES.flatMap(({ one: { name } }) => [name, name.replaceAll("_", "-")]),
      ...["usb:v1p2d3dcx", "usb-storage-all", "scsi:t-0x05", "crypto-rmd160", "crypto_crc32c", "of:Nx-TaCb"],
      ...["unix", "net-pf-1", "fs-proc", "proc_fs", "nothing", "crypto-nothing", "rmd"],
    ];
    for (const name of names) expect([name, ...asked(ours, name)]).toEqual([name, ...asked(theirs, name)]);
    expect(asked(ours, "crypto-crc32c")).toHaveLength(3);
  });

  test("are depmod's bytes where nothing is left to choice", async ({ skip }) => {
    if (!HAS_KMOD) return skip("depmod (Debian package kmod) is not installed");
    const directory = await treeWith(new Map([["modules.builtin", files.get("modules.builtin") as Buffer]]));

    spawnSync("depmod", ["-b", directory, RELEASE]);

    const theirs = await readFile(join(directory, "lib/modules", RELEASE, "modules.builtin.bin"));
    expect(files.get("modules.builtin.bin")?.length).toBe(theirs.length);
  });

  test("have what is soft as modprobe reads it", () => {
    expect(files.get("modules.softdep")?.toString()).toBe("softdep libcrc32c pre: crypto-crc32c\n");
  });

  test("name all that a module needs, the deepest last, and end with a circle", () => {
    const one = (name: string, ...depends: string[]): IndexedModule => ({
      ...{ path: `${name}.ko`, name, depends, aliases: [], symbols: [], softdeps: [], weakdeps: [] },
    });

    const index = depmodFiles(
      [one("a", "b", "c"), one("b", "c"), one("c", "d"), one("d"), one("x", "y"), one("y", "x")],
      BUILT_IN,
    );

    const text = index.get("modules.dep.bin")?.toString("latin1");
    expect(text).toContain("a.ko: b.ko c.ko d.ko\0");
    expect(text).toContain("x.ko: y.ko\0");
  });

  test("hold each value of whatever keys, and leave out those that nothing can ask for", () => {
    const key = fc.string({
      minLength: 1,
      maxLength: 6,
      unit: fc.constantFrom("a", "b", "-", "[", "]", "*", "é", "\0"),
    });
    fc.assert(
      fc.property(fc.array(key, { maxLength: 30 }), (aliases) => {
        const all = [{ ...(MODULES[0] as (typeof MODULES)[0]).one, aliases }];

        const index = depmodFiles(all, BUILT_IN).get("modules.alias.bin") as Buffer;

        expect(keysIn(index)).toEqual(
          [
            ...new Set(aliases.filter((one) => /^\p{ASCII}+$/u.test(one) && !one.includes("\0")).map(normal)),
          ].toSorted(),
        );
      }),
    );
  });
});

describe("depmodFiles of a hostile tree", () => {
  const one = (name: string, more: Partial<IndexedModule> = {}): IndexedModule => ({
    ...{ path: `kernel/${name}.ko`, name, depends: [], aliases: [], symbols: [], softdeps: [], weakdeps: [] },
    ...more,
  });
  const many = <T>(length: number, make: (at: number) => T) => Array.from({ length }, (_, at) => make(at));
  const NOTHING = { paths: "", modinfo: "" };

  test.each<[string, IndexedModule[], { paths: string; modinfo: string }]>([
    [
      "one key with values without end",
      [],
      { paths: "", modinfo: many(200_000, (at) => `m${at}.alias=x`).join("\0") },
    ],
    ["names of nothing but brackets", [one("a", { aliases: many(16_000, () => "[".repeat(2000)) })], NOTHING],
    [
      "keys that each begin with the one before",
      [one("a", { symbols: many(4000, (at) => "s".repeat(at + 1)) })],
      NOTHING,
    ],
  ])("is done in time: %s", (_, modules, builtIn) => {
    const before = process.cpuUsage();

    depmodFiles(modules, builtIn);

    // Of a processor's time, for the machine may have other things to do.
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(15);
  });

  test.each<[string, IndexedModule[], RegExp]>([
    ["a chain", many(400, (at) => one(`m${at}`, { depends: [`m${at + 1}`] })), /chains of more than 256/],
    [
      "needs",
      many(500, (at) => one(`m${at}`, { depends: many(1000, (other) => `other${other}`) })),
      /more than \d+ dependencies/,
    ],
    ["a name", [one("a", { aliases: ["x".repeat(5000)] })], /one of their aliases has more than 4096/],
    ["names", many(30, (at) => one(`m${at}`, { symbols: many(16_000, String) })), /more than \d+ symbols/],
    [
      "words",
      many(40, (at) => one(`m${at}`, { softdeps: ["x".repeat(1 << 20)] })),
      /their soft dependencies have more than \d+ characters/,
    ],
  ])("is refused: %s without end", (_, modules, message) => {
    expect(() => depmodFiles(modules, NOTHING)).toThrow(
      expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringMatching(message) }),
    );
  });
});

const normal = (alias: string) => alias.replace(/\[[^\]]*\]|-/g, (part) => (part === "-" ? "_" : part));

/** Every key of an index, read as modprobe reads it. */
function keysIn(index: Buffer): string[] {
  const keys: string[] = [];
  const walk = (place: number, before: string) => {
    let at = place & 0x0fffffff;
    let key = before;
    if ((place & 0x80000000) !== 0) {
      const end = index.indexOf(0, at);
      key += index.toString("latin1", at, end);
      at = end + 1;
    }
    const children: [number, number][] = [];
    if ((place & 0x20000000) !== 0) {
      const [first = 0, last = 0] = [index[at], index[at + 1]];
      at += 2;
      for (let code = first; code <= last; code++, at += 4) children.push([code, index.readUInt32BE(at)]);
    }
    if ((place & 0x40000000) !== 0) keys.push(key);
    for (const [code, child] of children) if (child !== 0) walk(child, key + String.fromCharCode(code));
  };
  expect(index.readUInt32BE(0)).toBe(0xb007f457);
  walk(index.readUInt32BE(8), "");
  return keys.toSorted();
}
