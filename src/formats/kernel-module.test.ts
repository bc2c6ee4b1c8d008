import { execFileSync, spawnSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { craftModule } from "../../test/support/crafted-module.ts";
import { compareNotes, compareWithModinfo, compareWithModprobe } from "../../test/support/module-tools.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { readElf } from "./elf.ts";
import { insertionOrder, moduleName, readKernelModule } from "./kernel-module.ts";

const FIXTURES = globSync(`${import.meta.dirname}/../../test/fixtures/modules/*.ko`).sort();
const HAS_MODINFO = spawnSync("modinfo", ["--version"]).status === 0;
const [CRC7, CRC_ITU_T, POWER_FLOOR] = [
  fixture("crc7.ko"),
  fixture("crc-itu-t.ko"),
  fixture("processor_thermal_power_floor.ko"),
];

describe("readKernelModule", () => {
  test("reads a signed module of Linux 6.1 for x86_64", () => {
    const { modinfo, versions, signature, ...read } = readKernelModule(CRC7, "crc7.ko");

    expect([...(versions ?? [])].map(([name]) => name)).toEqual(["__x86_return_thunk", "module_layout"]);
    expect(signature?.kind).toBe("pkcs7");
    expect(read).toEqual({
      name: "crc7",
      architecture: "x86_64",
      vermagic: "6.1.0-56-amd64 SMP preempt mod_unload modversions ",
      license: "GPL",
      depends: [],
      softdeps: { pre: [], post: [] },
      importNamespaces: [],
      buildId: expect.stringMatching(/^[0-9a-f]{40}$/),
      buildSalt: "6.1.0-56-amd64",
      compilers: [expect.stringMatching(/^GCC: \(Debian 12\.2\.0-14[^)]*\) 12\.2\.0$/)],
      imports: ["__x86_return_thunk"],
      guards: { entries: new Map(), hasCode: true, hasCfi: false, hasBtf: true },
      exports: [
        { name: "crc7_be", gplOnly: false, crc: expect.any(Number) },
        { name: "crc7_be_syndrome_table", gplOnly: false, crc: 1705701431 },
      ],
    });
    expect(modinfo).toContainEqual(["description", "CRC7 calculations"]);
    expect(modinfo).toContainEqual(["intree", "Y"]);
  });

  test("reads dependencies, namespaces and exports for GPL modules only", () => {
    const read = readKernelModule(POWER_FLOOR, "processor_thermal_power_floor.ko");

    expect(read.depends).toEqual(["processor_thermal_mbox"]);
    expect(read.importNamespaces).toEqual(["INT340X_THERMAL"]);
    expect(read.imports).toContain("processor_thermal_mbox_interrupt_config");
    expect(read.exports).toHaveLength(5);
    expect(read.exports.every(({ gplOnly }) => gplOnly)).toBe(true);
  });

  test("reads the flags of exports of Linux 7, each by its place in the table", () => {
    const bytes = Buffer.from(CRC_ITU_T);
    const elf = readElf(bytes, "");
    const flags = elf.sections.find(({ name }) => name === "__kflagstab");
    const table = elf.symbols.find(({ name }) => name === "__ksymtab_crc_itu_t_table");
    const before = readKernelModule(bytes, "crc-itu-t.ko");
    bytes[(flags?.offset ?? 0) + Number(table?.value) / 12] = 1;
    const after = readKernelModule(bytes, "crc-itu-t.ko");

    expect(before.architecture).toBe("aarch64");
    expect(before.exports.map(({ gplOnly }) => gplOnly)).toEqual([false, false]);
    expect(after.exports).toEqual([
      { name: "crc_itu_t", gplOnly: false },
      { name: "crc_itu_t_table", gplOnly: true },
    ]);
  });

  test("reads the versions, and the first of several licenses", () => {
    const bytes = replaced(CRC7, "description=CRC7 calculations", "version=1.2\0srcversion=ABC");

    expect(readKernelModule(bytes, "a")).toMatchObject({ version: "1.2", srcversion: "ABC" });
    expect(readKernelModule(replaced(CRC7, "intree=Y", "license="), "a").license).toBe("GPL");
  });

  test("reads a module that is not signed", () => {
    const unsigned = withoutSignature(CRC7);

    const { signature: _, ...read } = readKernelModule(CRC7, "a");
    expect(readKernelModule(unsigned, "a")).toEqual(read);
  });

  test("keeps text that is not UTF-8 readable", () => {
    const bytes = replaced(CRC7, "CRC7 calculations", "CRC7");
    bytes[bytes.indexOf("description=") + 12] = 0xe9;

    expect(readKernelModule(bytes, "a").modinfo).toContainEqual(["description", "\ufffdRC7"]);
  });

  test.each([
    ["no vermagic", replaced(CRC7, "vermagic=", "vermagix="), "its .modinfo has no vermagic"],
    ["no name", replaced(CRC7, "\0name=crc7", "\0nome=crc7"), "its .modinfo has no name"],
    ["two vermagics", replaced(CRC7, "description=CRC7", "vermagic=6.1.0-1"), "2 values for vermagic"],
    ["an entry without =", replaced(CRC7, "intree=Y", "intree_Y"), "not key=value"],
    ["no this_module", renamed(CRC7, ".gnu.linkonce.this_module", ".data"), "no section .gnu.linkonce"],
    ["an empty this_module", sized(CRC7, ".gnu.linkonce.this_module", 0), "contains nothing to load"],
    ["no .modinfo", renamed(CRC7, ".modinfo", ".data"), "no section .modinfo"],
    ["two .modinfo", renamed(CRC7, ".rodata", ".modinfo"), "more than one section .modinfo"],
    ["a .modinfo without end", sized(CRC7, ".modinfo", 10), "does not end with NUL"],
    ["a build salt without end", replaced(CRC7, "amd64\0", "amd64-"), "build salt is not one string"],
    ["another machine", Buffer.from(CRC7).fill(8, 18, 19), "the unknown ELF machine 8"],
    ["too few flags of exports", sized(CRC_ITU_T, "__kflagstab", 1), "1 flags for 2 exports"],
    [
      "exports without names",
      replaced(CRC7, "__ksymtab_crc7_be\0", "__xsymtab_crc7_be\0"),
      "1 symbols name the 24 bytes",
    ],
    ["a cut signature", CRC7.subarray(-30), "its signature is cut off"],
    ["an unknown signature", spoiledRecord(2, 1), "the unknown type 1"],
    ["a malformed signature", spoiledRecord(5, 1), "a malformed record"],
    ["a signature of no bytes", spoiledRecord(8, 0, 0, 0, 0), "claims 0 bytes"],
    ["a signature longer than the file", spoiledRecord(8, 0x7f), "bytes of"],
    ["two signatures", Buffer.concat([CRC7, CRC7.subarray(withoutSignature(CRC7).length)]), "signed twice"],
  ])("refuses %s", (_, bytes, fact) => {
    expect(() => readKernelModule(bytes, "drivers/a.ko")).toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringContaining(fact) }),
    );
    expect(() => readKernelModule(bytes, "drivers/a.ko")).toThrow(/^drivers\/a\.ko: /);
  });

  test("gives a value or MODULE_MALFORMED for every truncation and every flipped bit", {
    tags: ["wide"],
  }, () => {
    for (const sample of [CRC7, withoutSignature(CRC_ITU_T)]) {
      for (let length = 0; length < sample.length; length++) attempt(sample.subarray(0, length));
      const bytes = Buffer.from(sample);
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        attempt(bytes);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
  });

  test("gives a value or MODULE_MALFORMED whatever is written over a module", () => {
    const edits = fc.array(fc.tuple(fc.nat(CRC7.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 })));

    fc.assert(
      fc.property(fc.constantFrom(CRC7, CRC_ITU_T, POWER_FLOOR), edits, (sample, changes) => {
        const bytes = Buffer.from(sample);
        for (const [at, replacement] of changes) bytes.set(replacement.subarray(0, bytes.length - at), at);
        attempt(bytes);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("readKernelModule against the tools", () => {
  test("agrees with modinfo and modprobe on the fixtures", ({ skip }) => {
    if (!HAS_MODINFO) return skip("modinfo (Debian package kmod) is not installed");
    expect(FIXTURES.length).toBeGreaterThan(1);
    compareWithModinfo(FIXTURES);
    compareWithModprobe(FIXTURES);
  });

  test("agrees with readelf on the notes of the fixtures", () => {
    expect(FIXTURES.length).toBeGreaterThan(1);
    compareNotes(FIXTURES);
  });
});

describe("moduleName", () => {
  test.each([
    ["snd-hda-intel.ko", "snd_hda_intel"],
    ["dummy.ko", "dummy"],
    ["a.ko-b.ko", "a.ko_b"],
    ["already_name", "already_name"],
  ])("%s is %s", (fileName, name) => {
    expect(moduleName(fileName)).toBe(name);
  });

  test("is the name that is in each fixture", () => {
    for (const file of FIXTURES) {
      expect(readKernelModule(readFileSync(file), file).name).toBe(moduleName(file.replace(/.*\//, "")));
    }
  });
});

describe("a module that says endlessly much", () => {
  test.each([
    ["names that share their bytes", { symbols: 40_000 }, "names are more than 16777216 bytes"],
    ["imports", { symbols: 70_000, nameBytes: 40 }, "it imports 70000 symbols"],
    [
      "entries of .modinfo",
      { modinfo: Array.from({ length: 17_000 }, () => "a=b") },
      ".modinfo has more than 16384 entries",
    ],
    [
      "compilers",
      { comment: Array.from({ length: 17_000 }, (_, index) => `c${index}`).join("\0") },
      ".comment has more than 16384 entries",
    ],
    ["dependencies", { depends: "x,".repeat(1001) }, "it depends on 1001 modules"],
    ["dependencies' names", { depends: "x".repeat(70_000) }, "it depends on 1 modules in 70000 characters"],
  ])("is refused for its %s", (_, crafted, fact) => {
    expect(() => readKernelModule(craftModule("m", crafted), "m.ko")).toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringContaining(fact) }),
    );
  });

  test("is read as long as it says what one may", () => {
    expect(readKernelModule(craftModule("m", { symbols: 10_000 }), "m.ko").imports).toHaveLength(10_000);
  });
});

describe("what a module needs", () => {
  const crafted = (depends: string, ...softdeps: string[]) =>
    readKernelModule(
      craftModule("tally", { depends, modinfo: softdeps.map((value) => `softdep=${value}`) }),
      "tally.ko",
    );

  test("is named as the kernel names modules, whatever their files are called", () => {
    expect(crafted("usb-common,snd-pcm,snd_pcm").depends).toEqual(["usb_common", "snd_pcm"]);
  });

  test.each([
    [["pre: rmd160"], { pre: ["rmd160"], post: [] }],
    [["pre: crypto-crc32c  a post: b pre: c"], { pre: ["crypto_crc32c", "a", "c"], post: ["b"] }],
    [["post: b", "pre: a"], { pre: [], post: ["b"] }],
    [["stray", "pre: a"], { pre: [], post: [] }],
    [["pre:", ""], { pre: [], post: [] }],
  ])("reads softdep %j", (entries, found) => {
    const { pre, post } = crafted("", ...entries).softdeps;

    expect([new Set(pre), new Set(post)]).toEqual([new Set(found.pre), new Set(found.post)]);
  });

  test.skipIf(!HAS_MODINFO)(
    "of several softdep entries is what the first one names, as modprobe has it",
    async () => {
      const [directory, release] = [await temporaryDirectory(), "6.1.0"];
      const tree = join(directory, "lib", "modules", release);
      await mkdir(tree, { recursive: true });
      for (const name of ["a", "b"]) await writeFile(join(tree, `${name}.ko`), craftModule(name));
      const modinfo = ["softdep=pre: a", "softdep=pre: b"];
      await writeFile(join(tree, "tally.ko"), craftModule("tally", { modinfo }));
      execFileSync("depmod", ["-b", directory, release], { stdio: "ignore" });

      const argv = ["-d", directory, "-C", directory, "-S", release, "-D", "tally"];
      const shown = execFileSync("modprobe", argv, { encoding: "utf8" });

      const files = [...shown.matchAll(/(\w+)\.ko/g)].map(([, name]) => name);
      expect(files).toEqual([...crafted("", "pre: a", "pre: b").softdeps.pre, "tally"]);
    },
  );

  test("is no endless list", () => {
    expect(() =>
      crafted("", `pre: ${Array.from({ length: 1001 }, (_, index) => `m${index}`).join(" ")}`),
    ).toThrow("it names 1001 modules in softdep");
  });
});

describe("insertionOrder", () => {
  const order = (...modules: readonly string[]) =>
    insertionOrder(
      modules.map((text) => {
        const [name = "", ...depends] = text.split(" ");
        return { name, depends };
      }),
    );

  test.each([
    ["nothing", [], []],
    ["the given order where nothing depends", ["c", "a", "b"], ["c", "a", "b"]],
    ["what is needed before what needs it", ["a c", "b", "c"], ["b", "c", "a"]],
    ["no care for what is not in the set", ["a libcrc32c", "b a"], ["a", "b"]],
    ["a diamond", ["top left right", "left base", "right base", "base"], ["base", "left", "right", "top"]],
  ])("gives %s", (_, modules, expected) => {
    expect(order(...modules)).toEqual(expected);
  });

  test("takes a moment for a long chain, given from its end, whose modules name much else", () => {
    const foreign = Array.from({ length: 900 }, (_, index) => `x${index}`);
    const chain = Array.from({ length: 1000 }, (_, index) => ({
      name: `m${index}`,
      depends: index === 999 ? foreign : [...foreign, `m${index + 1}`],
    }));
    const start = performance.now();

    expect(insertionOrder(chain)).toEqual(chain.map(({ name }) => name).toReversed());
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test.each([
    ["two modules", ["x", "a b", "b a"], "a → b → a"],
    ["a module and itself", ["a a"], "a → a"],
    ["modules behind another", ["d a", "a b", "b c", "c a"], "a → b → c → a"],
  ])("refuses a circle of %s", (_, modules, circle) => {
    expect(() => order(...modules)).toThrow(
      expect.objectContaining({ code: "MODULE_MALFORMED", message: expect.stringContaining(`: ${circle}`) }),
    );
  });

  test("names each module once, after everything it depends on", () => {
    const names = fc.uniqueArray(fc.integer({ min: 0, max: 30 }).map((n) => `m${n}`));
    const sets = names.chain((all) =>
      fc.tuple(
        fc
          .constant(all.map((name, index) => [name, fc.subarray(all.slice(0, index))] as const))
          .chain((list) =>
            fc.tuple(...list.map(([name, depends]) => depends.map((some) => ({ name, depends: some })))),
          ),
        fc.infiniteStream(fc.nat()),
      ),
    );

    fc.assert(
      fc.property(sets, ([modules, random]) => {
        const shuffled = modules
          .map((module) => ({ module, key: random.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ module }) => module);
        const result = insertionOrder(shuffled);
        expect([...result].sort()).toEqual(modules.map(({ name }) => name).sort());
        for (const { name, depends } of modules) {
          for (const dependency of depends) {
            expect(result.indexOf(dependency)).toBeLessThan(result.indexOf(name));
          }
        }
      }),
    );
  });
});

function fixture(name: string): Buffer {
  return readFileSync(`${import.meta.dirname}/../../test/fixtures/modules/${name}`);
}

function attempt(bytes: Uint8Array): void {
  try {
    readKernelModule(bytes, "x");
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "MODULE_MALFORMED") throw thrown;
  }
}

/** A copy with another text of at most the same length, filled up with NUL, wherever it stood. */
function replaced(sample: Buffer, from: string, to: string): Buffer {
  const bytes = Buffer.from(sample);
  let at = bytes.indexOf(from);
  expect(at).toBeGreaterThan(0);
  for (; at >= 0; at = bytes.indexOf(from, at + 1)) {
    bytes.fill(0, at, at + from.length);
    bytes.write(to, at, "latin1");
  }
  return bytes;
}

function headerOf(bytes: Buffer, name: string): Buffer {
  const index = readElf(bytes, "").sections.findIndex((section) => section.name === name);
  expect(index).toBeGreaterThan(0);
  const at = Number(bytes.readBigUInt64LE(40)) + index * 64;
  return bytes.subarray(at, at + 64);
}

function renamed(sample: Buffer, from: string, to: string): Buffer {
  const bytes = Buffer.from(sample);
  const name = headerOf(bytes, to).readUInt32LE(0);
  headerOf(bytes, from).writeUInt32LE(name, 0);
  return bytes;
}

function sized(sample: Buffer, name: string, size: number): Buffer {
  const bytes = Buffer.from(sample);
  headerOf(bytes, name).writeBigUInt64LE(BigInt(size), 32);
  return bytes;
}

function withoutSignature(sample: Buffer): Buffer {
  return sample.subarray(0, sample.length - 40 - sample.readUInt32BE(sample.length - 32));
}

function spoiledRecord(at: number, ...values: readonly number[]): Buffer {
  const bytes = Buffer.from(CRC7);
  bytes.set(values, bytes.length - 40 + at);
  return bytes;
}
