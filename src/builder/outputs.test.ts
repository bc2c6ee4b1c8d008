import { execFileSync } from "node:child_process";
import { lstat, mkdir, readdir, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { isKeptFile, readNote, takeOutputs, type Wanted } from "./outputs.ts";

const CRC7 = await readFile(join(import.meta.dirname, "../../test/fixtures/modules/crc7.ko"));
const KEPT = { sha256: sha256(CRC7), size: CRC7.length };
const ROOM = 1 << 30;
const wanted = (changes: Partial<Wanted["build"]> = {}, ...modules: string[]): Wanted => ({
  modules,
  build: { kind: "kbuild", files: [], ...changes },
});

/** What a build left, and where the evidence goes. */
async function leave(files: Readonly<Record<string, string | Buffer>>) {
  const place = await temporaryDirectory();
  const [output, evidence] = [join(place, "output"), join(place, "evidence")];
  for (const name of [output, evidence]) await mkdir(name);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(output, path)), { recursive: true });
    await writeFile(join(output, path), content);
  }
  return { output, evidence };
}

const failing = (code: string, words: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(words) });

describe("the modules that a build left", () => {
  test("are taken over as they are, each with its digest, and nothing that lies beside them", async () => {
    const { output, evidence } = await leave({
      "modules/crc7.ko": CRC7,
      "modules/notes.txt": "no module",
      "stripped/crc7.ko": "another module",
      "compressed/crc7.ko.xz": "a third one",
      "compiler.txt": "gcc 99",
      "packages.tsv": "gcc\t99",
    });

    const { modules, files } = await takeOutputs(output, evidence, wanted(), ROOM);

    expect(modules).toEqual([{ name: "crc7", isStripped: false, ...KEPT }]);
    expect(files).toEqual([]);
    expect(await readdir(evidence, { recursive: true })).toEqual(["modules", "modules/crc7.ko"]);
    expect(await readFile(join(evidence, "modules/crc7.ko"))).toEqual(CRC7);
  });

  test("are only those that are configured, where some are", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7, "modules/extra.ko": "extra" });

    const { modules } = await takeOutputs(output, evidence, wanted({}, "crc7"), ROOM);

    expect(modules.map(({ name }) => name)).toEqual(["crc7"]);
    expect(await readdir(join(evidence, "modules"))).toEqual(["crc7.ko"]);
  });

  test.each([
    ["deeper", Array.from({ length: 33 }, () => "d").join("/")],
    ["longer", Array.from({ length: 12 }, () => "d".repeat(100)).join("/")],
  ])("are refused with a file that lies %s than a document takes", async (_, path) => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7, [`files/${path}`]: "x" });
    const files = [path.replaceAll(/[^/]+/g, "*")];

    await expect(takeOutputs(output, evidence, wanted({ files }), ROOM)).rejects.toMatchObject({
      code: "UNSAFE_NAME",
    });
  });

  test.each([
    ["dkms", undefined, true],
    ["dkms", false, false],
    ["kbuild", undefined, false],
    ["kbuild", true, true],
  ] as const)("of a %s tree with `strip: %s`, marked by it: stripped %s", async (kind, strip, isStripped) => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7, "strip/crc7": "" });
    const build = strip === undefined ? { kind } : { kind, strip };

    const { modules } = await takeOutputs(output, evidence, wanted(build), ROOM);

    expect(modules).toMatchObject([{ isStripped }]);
  });

  test.each<[string, Record<string, string | Buffer>, string[], string, RegExp]>([
    ["there is none", { "modules/notes.txt": "" }, [], "MODULE_MISSING", /no modules at all/],
    ["one is missing", { "modules/crc7.ko": CRC7 }, ["crc8"], "MODULE_MISSING", /no crc8\.ko/],
    ["one is none", { "modules/a.ko": "no" }, [], "MODULE_MALFORMED", /a\.ko/],
    ["one is another", { "modules/b.ko": CRC7 }, [], "MODULE_MALFORMED", /its name is crc7/],
    ["one is a directory", { "modules/crc7.ko/x": "" }, ["crc7"], "MODULE_MISSING", /no crc7\.ko/],
    ["a name is no name", { "modules/a b.ko": CRC7 }, [], "UNSAFE_NAME", /a b/],
  ])("are refused when %s", async (_, left, modules, code, words) => {
    const { output, evidence } = await leave(left);

    const taken = takeOutputs(output, evidence, wanted({}, ...modules), ROOM);

    await expect(taken).rejects.toThrow(failing(code, words));
  });

  test("are never read through a link, and are none when their directory is one", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7 });
    const [other, outside] = [await leave({}), await leave({ "modules/crc7.ko": CRC7 })];
    await symlink(join(outside.output, "modules/crc7.ko"), join(output, "modules/link.ko"));
    await symlink(join(outside.output, "modules"), join(other.output, "modules"));

    await expect(takeOutputs(output, evidence, wanted(), ROOM)).rejects.toThrow(
      failing("MODULE_MALFORMED", /not a regular file/),
    );
    await expect(takeOutputs(other.output, evidence, wanted(), ROOM)).rejects.toThrow(/no modules/);
  });
});

describe("modules that documents could not list", () => {
  test.each<[string, string[], string, RegExp]>([
    ["too long a name", ["m".repeat(121)], "UNSAFE_NAME", /has a name of 121 characters; the limit is 120/],
    [
      "too many",
      Array.from({ length: 513 }, (_, index) => `m${index}`),
      "LIMIT_EXCEEDED",
      /513 modules; the limit is 512/,
    ],
  ])("are not taken over: %s", async (_, names, code, words) => {
    const { output, evidence } = await leave(
      Object.fromEntries(names.map((name) => [`modules/${name}.ko`, CRC7])),
    );

    await expect(takeOutputs(output, evidence, wanted(), ROOM)).rejects.toThrow(failing(code, words));
  });
});

describe("the further files that a build left", () => {
  const left = { "modules/crc7.ko": CRC7, "files/b/c.bin": "c", "files/a.bin": "a", "files/x.html": "x" };
  const taken = async (...patterns: string[]) => {
    const { output, evidence } = await leave(left);
    const { files } = await takeOutputs(output, evidence, wanted({ files: patterns }), ROOM);
    return files.map(({ path }) => path);
  };

  test("are those that the configuration names, with their paths", async () => {
    const { output, evidence } = await leave(left);

    const { files } = await takeOutputs(output, evidence, wanted({ files: ["*.bin", "b/*"] }), ROOM);

    expect(files).toEqual([
      { path: "a.bin", sha256: sha256("a"), size: 1 },
      { path: "b/c.bin", sha256: sha256("c"), size: 1 },
    ]);
    expect(await readFile(join(evidence, "files/b/c.bin"), "utf8")).toBe("c");
    expect(await readdir(join(evidence, "files"))).toEqual(["a.bin", "b"]);
  });

  test("are chosen as a shell chooses, whatever else was put there", async () => {
    expect(await taken()).toEqual([]);
    expect(await taken("a.bin")).toEqual(["a.bin"]);
    expect(await taken("*")).toEqual(["a.bin", "x.html"]);
    expect(await taken("**")).toEqual(["a.bin", "x.html"]);
    expect(await taken("?/[a-c].bin")).toEqual(["b/c.bin"]);
    expect(await taken("a?bin", "b/[d].bin", "[z-a].bin")).toEqual(["a.bin"]);
    expect(await taken("a[.]bin", "b[/]c.bin", "[")).toEqual(["a.bin"]);
  });

  test.each([
    ["fw-1-2.bin", "*-*-*.bin", true],
    ["fw-1.bin", "*-*-*.bin", false],
    ["aab", "*ab", true],
    ["aaba", "*ab", false],
    ["a", "**a**", true],
    ["", "*", true],
    ["a/b", "*", false],
    ["a/b", "?/*", true],
    ["a".repeat(200), `${"*a".repeat(30)}*b`, false],
    ["a".repeat(200), `${"*a".repeat(30)}*`, true],
  ])("are told soon: whether %s is one of %s", (path, pattern, isOne) => {
    expect(isKeptFile(path, [pattern])).toBe(isOne);
  });

  test("are no links, and none when their directory is one", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7 });
    const outside = await leave({ "files/secret": "x" });
    const build = wanted({ files: ["secret"] });

    await symlink(join(outside.output, "files"), join(output, "files"));
    expect((await takeOutputs(output, evidence, build, ROOM)).files).toEqual([]);

    const other = await leave({ "modules/crc7.ko": CRC7, "files/x": "" });
    await symlink(join(outside.output, "files/secret"), join(other.output, "files/secret"));
    await expect(takeOutputs(other.output, evidence, build, ROOM)).rejects.toThrow(/not a regular file/);
  });
});

describe("the budget of what is taken over", () => {
  test("counts holes in files like data, and names its setting", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7, "files/a": "a", "files/b": "b" });
    for (const name of ["a", "b"]) await truncate(join(output, "files", name), 200 << 20);
    const build = wanted({ files: ["*"] });

    const taken = takeOutputs(output, evidence, build, 256 << 20);

    await expect(taken).rejects.toThrow(
      failing("LIMIT_EXCEEDED", /400\.0 MiB of modules and files, but limits\.artifact is 256\.0 MiB/),
    );
    expect(await readdir(evidence)).toEqual([]);
  });

  test("does not count what nobody asked for", async () => {
    const { output, evidence } = await leave({ "modules/crc7.ko": CRC7, "files/a": "", "note.txt": "" });
    for (const name of ["files/a", "note.txt"]) await truncate(join(output, name), 2 ** 40);

    expect((await takeOutputs(output, evidence, wanted(), 1 << 20)).modules).toHaveLength(1);
  });

  test("has a limit for each file, and one for their number", async () => {
    const large = await leave({ "modules/crc7.ko": CRC7 });
    await truncate(join(large.output, "modules/crc7.ko"), 2 ** 40);
    const many = await leave({ "modules/crc7.ko": CRC7 });
    execFileSync("sh", ["-c", `cd ${many.output}/modules && seq 1 10001 | xargs touch`]);

    await expect(takeOutputs(large.output, large.evidence, wanted(), 2 ** 41)).rejects.toThrow(
      failing("MODULE_MALFORMED", /crc7\.ko has 1099511627776 bytes/),
    );
    await expect(takeOutputs(many.output, many.evidence, wanted(), ROOM)).rejects.toThrow(
      failing("MODULE_MALFORMED", /more than the 10000 entries/),
    );
  });
});

describe("a note that a build left", () => {
  test("is one short line without control characters, or nothing", async () => {
    const { output } = await leave({
      "tree.txt": "/var/lib/\u001b]0;owned\u0007dkms\u202e\nmore\n",
      "long.txt": "x".repeat(60_000),
    });
    const outside = await leave({ secret: "secret" });
    await symlink(join(outside.output, "secret"), join(output, "link.txt"));
    execFileSync("mkfifo", [join(output, "fifo.txt")]);

    expect(readNote(output, "tree.txt")).toBe("/var/lib/]0;owneddkms");
    expect(readNote(output, "long.txt")).toHaveLength(4096);
    for (const name of ["link.txt", "fifo.txt", "none.txt"]) expect(readNote(output, name)).toBe("");
  });
});

/**
 * Shell lines that make something in the present directory; what they cannot make they leave. Links lead to a directory
 * of this test, because some lines write through them.
 */
const THING = fc.constantFrom(
  "ln -s $BAIT modules",
  "ln -s $BAIT/secret modules/crc7.ko",
  "ln -s $BAIT files",
  "ln -s $BAIT/secret files/x",
  "mkdir -p modules/crc7.ko",
  "mkdir -p modules/a/b/c",
  "mkfifo modules/x.ko",
  "mkfifo files/x",
  "truncate -s 1T modules/big.ko",
  "truncate -s 1T files/x",
  "touch modules/$(printf '\\377').ko",
  "touch files/$(printf '\\377')",
  "touch 'modules/ .ko'",
  "touch 'files/..x'",
  "mkdir -p $(printf 'files/%.0s' $(seq 150))d",
  "cp --remove-destination $BAIT/module modules/crc7.ko",
  "cp --remove-destination $BAIT/module modules/other.ko",
  "cp --remove-destination $BAIT/module files/x",
  "rm -rf modules",
  "rm -rf files",
  "mkdir -p modules files strip/crc7",
);

test("whatever a build left is refused by a typed error, or exactly what was configured is taken", async () => {
  const place = await temporaryDirectory();
  const bait = join(place, "bait");
  await mkdir(bait);
  for (const name of ["module", "secret", "crc7.ko"]) await writeFile(join(bait, name), CRC7);
  const seen = new Set<string>();
  let count = 0;
  const things = fc.array(THING, { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(things, fc.boolean(), async (lines, isNamed) => {
      const [output, evidence] = [join(place, `o${count}`), join(place, `e${count++}`)];
      for (const path of [output, evidence, join(output, "modules"), join(output, "files")])
        await mkdir(path);
      await writeFile(join(output, "modules/crc7.ko"), CRC7);
      const env = { PATH: process.env.PATH, BAIT: bait };
      execFileSync("sh", ["-c", [...lines, "true"].join("\n")], { cwd: output, env, stdio: "ignore" });

      const build = wanted({ files: ["x"] }, ...(isNamed ? ["crc7"] : []));
      const taken = await takeOutputs(output, evidence, build, ROOM).catch((thrown) => thrown);

      if (taken instanceof FarmError) return void seen.add(taken.code);
      seen.add("taken");
      expect(taken.modules).toMatchObject([{ name: "crc7", ...KEPT }]);
      const entries = await readdir(evidence, { recursive: true, withFileTypes: true });
      const kept = entries.filter((one) => !one.isDirectory());
      expect(kept.every((one) => one.isFile() && ["crc7.ko", "x"].includes(one.name))).toBe(true);
      // Only what is really there, and not behind a link, was taken.
      expect((await lstat(join(output, "modules/crc7.ko"))).isFile()).toBe(true);
      expect((await lstat(join(output, "modules"))).isDirectory()).toBe(true);
    }),
    { numRuns: 25 },
  );
  // Neither answer was all that there was.
  expect(seen).toContain("taken");
  expect(seen.size).toBeGreaterThan(1);
});
