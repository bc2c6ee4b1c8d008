/** `kmodfarm modules root`, `prove`, `verify`: over trees of modules in every form, beside what sha256sum and dash find. */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { hashModules } from "../../src/farm/sets/module-tree.ts";
import { splitSignature } from "../../src/formats/module-signature.ts";
import { growTree, leafOf, rootText } from "../../src/provenance/trees/linux-merkle.ts";
import { inProcess } from "../support/in-process.ts";
import { kernelWithRoot } from "../support/kernel-with-root.ts";
import { sharedDirectory, temporaryDirectory } from "../support/temporary.ts";

const SUPPORT = join(import.meta.dirname, "../support");
const FIXTURES = join(import.meta.dirname, "../fixtures");
const { trees } = JSON.parse(readFileSync(join(FIXTURES, "integrity/merkle-vectors.json"), "utf8")) as {
  trees: { n: number; levels: number; root: string }[];
};
const xz = (bytes: Buffer) =>
  execFileSync("xz", ["-c", "--check=crc32", "--lzma2=dict=1MiB"], { input: bytes });
const modules = (...argv: string[]) => inProcess(["modules", ...argv]);

function put(directory: string, files: Readonly<Record<string, Buffer | string>>): void {
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), bytes);
  }
}

/** What sha256sum and dash make of files in this order. */
function independentRoot(files: readonly string[]): string {
  const input = files.map((file) => `${file}\n`).join("");
  return execFileSync("dash", [join(SUPPORT, "merkle-root.sh")], { input })
    .toString()
    .trim();
}

const NAMES = ["crc7", "crc-itu-t", "processor_thermal_power_floor"] as const;
const SIGNED = NAMES.map((name) => readFileSync(join(FIXTURES, `modules/${name}.ko`)));
const PLAIN = SIGNED.map((bytes, index) => Buffer.from(splitSignature(bytes, NAMES[index] ?? "").content));

describe("the root of a build tree", () => {
  test.each(trees)("of $n modules is the golden one", async ({ n, levels, root }) => {
    const place = await temporaryDirectory();
    const names = Array.from({ length: n }, (_, at) => `drivers/m/module-${at}`);
    put(place, { "modules.order": names.map((name) => `${name}.o\n`).join("") });
    put(place, Object.fromEntries(names.map((name, at) => [`${name}.ko`, `module-${at}\n`])));

    expect(await modules("root", place, "--format", "hex")).toEqual({
      ...{ exitCode: 0, stderr: "" },
      stdout: `${root}/${levels}\n`,
    });
  });

  test("is over the stripped modules if these are meant", async () => {
    const place = await temporaryDirectory();
    put(place, { "modules.order": "a.o\nb.o\n", "a.ko": "debug", "b.ko": "debug" });
    put(place, { "a.ko.stripped": "module-0\n", "b.ko.stripped": "module-1\n" });

    const { stdout } = await modules("root", place, "--form", "stripped");
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ schema: "kmodfarm.modules/1", format: "linux-merkle-v5", form: "stripped", count: 2, levels: 1 },
      root: trees.find(({ n }) => n === 2)?.root,
    });
  });
});

describe("an installed tree", () => {
  const place = sharedDirectory();
  const at = (name: string) => join(place, name);
  const ORDER = NAMES.map((name) => `kernel/lib/${name}.ko`);
  let root = "";
  beforeAll(async () => {
    const [first, second, third] = SIGNED as [Buffer, Buffer, Buffer];
    put(place, {
      "modules.order": ORDER.map((name) => `${name}\n`).join(""),
      [`${ORDER[0]}.xz`]: xz(first),
      [`${ORDER[1]}.zst`]: zstdCompressSync(second),
      [`${ORDER[2]}`]: third,
    });
    put(place, Object.fromEntries(NAMES.map((name, index) => [`plain/${name}.ko`, PLAIN[index] ?? ""])));
    root = (await modules("root", place, "--format", "hex")).stdout.trim();
    writeFileSync(at("set.json"), (await modules("root", place)).stdout);
  });

  test("has the root that sha256sum and dash find, whatever its modules are compressed and signed with", () => {
    expect(root).toBe(independentRoot(NAMES.map((name) => at(`plain/${name}.ko`))));
    expect(root).toMatch(/\/2$/);
  });

  test("has it whichever way its modules are compressed", async () => {
    const other = await temporaryDirectory();
    put(other, { "modules.order": readFileSync(at("modules.order")) });
    put(other, Object.fromEntries(ORDER.map((name, index) => [`${name}.gz`, gzipSync(PLAIN[index] ?? "")])));

    expect((await modules("root", other, "--format", "hex")).stdout.trim()).toBe(root);
  });

  test.each([
    ["the directory", () => place],
    ["what `modules root` printed of it", () => at("set.json")],
  ])("proves its modules by %s, as a script of dash reads it", async (_, set) => {
    const proofs = await temporaryDirectory();
    const files = [`${ORDER[0]}.xz`, `${ORDER[1]}.zst`, `${ORDER[2]}`].map(at);

    expect(await modules("prove", ...files, "--set", set(), "--to", proofs)).toMatchObject({ exitCode: 0 });
    for (const name of NAMES) {
      const argv = [
        join(SUPPORT, "merkle-check.sh"),
        at(`plain/${name}.ko`),
        join(proofs, `${name}.ko.merkle`),
        root,
      ];
      execFileSync("dash", argv);
      const other = [...argv.slice(0, 3), `${root.replace(/^./, (digit) => (digit === "0" ? "1" : "0"))}`];
      expect(() => execFileSync("dash", other, { stdio: "ignore" })).toThrow();
    }
  });

  test("verifies modules by the proofs beside them, or appended", async () => {
    const files = [`${ORDER[0]}.xz`, `${ORDER[1]}.zst`, `${ORDER[2]}`].map(at);
    await modules("prove", ...files, "--set", at("set.json"));
    const [module, proof] = [at(`plain/${NAMES[0]}.ko`), at(`kernel/lib/${NAMES[0]}.ko.merkle`)];
    const attached = await modules("attach", module, proof, "--to", at("attached.ko"));

    expect(attached.stderr).toContain("loads such a module as unsigned");
    expect(readFileSync(at("attached.ko"))).toEqual(
      Buffer.concat([PLAIN[0] ?? Buffer.alloc(0), readFileSync(proof)]),
    );
    const verified = await modules("verify", ...files, at("attached.ko"), "--root", root, "--json");
    expect(verified.exitCode).toBe(0);
    expect(JSON.parse(verified.stdout)).toMatchObject({
      schema: "kmodfarm.proofs/1",
      format: "linux-merkle-v5",
      files: [...files, at("attached.ko")].map((file) => ({ file, verdict: "authenticated", by: root })),
    });
    await modules("detach", at("attached.ko"), "--to", at("apart"));
    expect(readFileSync(at("apart/attached.ko.merkle"))).toEqual(readFileSync(proof));
  });

  test("is known by the kernel that holds its root, and the root that fits is named", async () => {
    const [hex = "", levels] = root.split("/");
    const held = { levels: Number(levels), hash: Buffer.from(hex, "hex") };
    put(place, {
      vmlinux: kernelWithRoot(held),
      "vmlinux-be": kernelWithRoot(held, { bits: 32, order: "big" }),
    });
    put(place, { vmlinuz: bzImage(gzipSync(kernelWithRoot(held))), none: kernelWithRoot(undefined) });
    const file = at(`${ORDER[2]}`);
    const verify = (...argv: string[]) => modules("verify", file, ...argv, "--json");
    const other = `${"0".repeat(64)}/2`;

    for (const kernel of ["vmlinux", "vmlinux-be", "vmlinuz"]) {
      const { exitCode, stdout } = await verify("--root", other, "--kernel", at(kernel));
      expect([exitCode, JSON.parse(stdout).files[0].by]).toEqual([0, at(kernel)]);
    }
    expect(await verify("--kernel", at("none"))).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("holds no root"),
    });
    expect(await verify("--root", other)).toMatchObject({ exitCode: 4 });
    expect(await verify()).toMatchObject({ exitCode: 2 });
  });

  test("A8 refuses what is compressed twice, and what is no proof, file by file", async () => {
    put(place, {
      "bad/twice.ko.gz": gzipSync(gzipSync(PLAIN[0] ?? "")),
      "bad/crc7.ko": PLAIN[0] ?? "",
      "bad/crc7.ko.merkle": "no proof",
      "bad/crc-itu-t.ko": PLAIN[1] ?? "",
      "bad/crc-itu-t.ko.merkle": readFileSync(at(`kernel/lib/${NAMES[0]}.ko.merkle`)),
      "bad/bare.ko": PLAIN[1] ?? "",
      "bad/signed.ko": SIGNED[1] ?? "",
    });
    const files = ["twice.ko.gz", "crc7.ko", "crc-itu-t.ko", "bare.ko", "signed.ko"].map((name) =>
      at(`bad/${name}`),
    );
    const { exitCode, stdout } = await modules("verify", ...files, "--root", root, "--json");

    expect(exitCode).toBe(4);
    expect(JSON.parse(stdout).files.map(({ verdict }: { verdict: string }) => verdict)).toEqual([
      ...["damaged", "unsigned", "otherRoot", "unsigned", "wrongType"],
    ]);
  });

  test("proves no module with other bytes, and none of another name", async () => {
    put(place, { "odd/crc7.ko": PLAIN[1] ?? "", "odd/stranger.ko": PLAIN[0] ?? "" });

    for (const name of ["crc7.ko", "stranger.ko"])
      expect(await modules("prove", at(`odd/${name}`), "--set", at("set.json"))).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining("is no module of"),
      });
  });

  test("is not believed where its document was changed", async () => {
    const changed = readFileSync(at("set.json"), "utf8").replace(/"leaf":"./, '"leaf":"g');
    for (const text of [changed, changed.replace('"g', '"0'), changed.replace('"g', '"1'), "{}"]) {
      writeFileSync(at("changed.json"), text);
      const proven = await modules("prove", at(`${ORDER[1]}.zst`), "--set", at("changed.json"));
      if (text !== readFileSync(at("set.json"), "utf8")) expect(proven).toMatchObject({ exitCode: 2 });
    }
  });
});

/** A boot image of x86 with that payload. */
function bzImage(payload: Buffer): Buffer {
  const head = Buffer.alloc(5 * 512);
  head[0x1f1] = 4;
  head.write("HdrS", 0x202, "latin1");
  head.writeUInt32LE(0, 0x248);
  head.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([head, payload]);
}

describe("no root is made of a tree", () => {
  const ordered = async (order: string, files: Readonly<Record<string, Buffer | string>> = {}) => {
    const place = await temporaryDirectory();
    put(place, { "modules.order": order, ...files });
    return place;
  };

  test.each([
    ["without an order", undefined, "modules.order"],
    ["that has not all of its modules", "a.o\nb.o\n", "is not there"],
    ["that names one twice", "a.o\na.o\n", "twice"],
    ["whose order leads out of it", "../a.o\n", "names no module below it"],
    ["whose order has an empty line", "a.o\n\n", "line 2 names no module"],
    ["whose order names something else", "a.o\nb.txt\n", "line 2 names no module"],
  ])("%s", async (_, order, fact) => {
    const place = order === undefined ? await temporaryDirectory() : await ordered(order, { "a.ko": "a" });

    expect(await modules("root", place)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining(fact),
    });
  });

  test("that has a module in two files", async () => {
    const place = await ordered("kernel/a.ko\n", { "kernel/a.ko": "a", "kernel/a.ko.gz": gzipSync("b") });

    expect(await modules("root", place)).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining("twice"),
    });
  });

  test("A8 with a module that is compressed twice", async () => {
    const place = await ordered("kernel/a.ko\n", { "kernel/a.ko.gz": gzipSync(gzipSync("a")) });

    expect(await modules("root", place)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("twice"),
    });
  });

  test("A4 with a module that is signed twice", async () => {
    const twice = Buffer.concat([
      SIGNED[0] ?? Buffer.alloc(0),
      (SIGNED[0] ?? Buffer.alloc(0)).subarray(PLAIN[0]?.length),
    ]);
    const place = await ordered("kernel/a.ko\n", { "kernel/a.ko": twice });

    expect(await modules("root", place)).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining("signed twice"),
    });
  });

  test.each([
    ["module", "kernel/b.ko"],
    ["order", "modules.order"],
  ])("whose %s changes while it is hashed", async (_, changed) => {
    const place = await ordered("kernel/a.ko\nkernel/b.ko\n", {
      "kernel/a.ko.xz": xz(Buffer.from("a")),
      "kernel/b.ko": "b",
    });
    // All files are read by now, and xz has yet to answer.
    const hashing = hashModules(place, "built");
    appendFileSync(join(place, changed), "kernel/b.ko\n");

    await expect(hashing).rejects.toMatchObject({ code: "SOURCE_CHANGED" });
  });
});

test("a tree in threads has the root that it has in one", async () => {
  const place = await temporaryDirectory();
  const names = Array.from({ length: 401 }, (_, at) => `kernel/m${at % 7}/module-${at}.ko`);
  const leaves = names.map((_, at) => leafOf(at, Buffer.from(`module-${at}\n`)));
  put(place, { "modules.order": names.map((name) => `${name}\n`).join("") });
  put(place, Object.fromEntries(names.map((name, at) => [name, `module-${at}\n`])));
  const { tree } = await hashModules(place, "built");

  expect(rootText(tree.root)).toBe(rootText(growTree(leaves).root));
});
