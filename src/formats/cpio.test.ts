import { execFileSync } from "node:child_process";
import { lstatSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CpioEntry, cpioArchive } from "./cpio.ts";

const TREE: readonly CpioEntry[] = [
  { path: "init", mode: 0o100755, content: "#!/bin/sh\n" },
  { path: "bin", mode: 0o040700 },
  { path: "bin/busybox", mode: 0o100755, content: Buffer.from("ELF") },
  { path: "bin/sh", mode: 0o120777, content: "busybox" },
  { path: "lib/modules/dummy.ko", mode: 0o100644, content: new Uint8Array([1, 2, 3, 0, 255]) },
  { path: "lib/modules/empty", mode: 0o100600 },
  { path: "dev/console", mode: 0o020600, rdev: { major: 5, minor: 1 } },
];

describe("cpioArchive", () => {
  test("writes the header as the kernel's description has it", () => {
    const archive = cpioArchive([{ path: "a", mode: 0o100644, content: "hello" }]).toString("latin1");

    const fields = ["00000001", "000081A4", "00000000", "00000000", "00000001", "00000000", "00000005"];
    const rest = ["00000000", "00000000", "00000000", "00000000", "00000002", "00000000"];
    expect(archive.slice(0, 110)).toBe(`070701${[...fields, ...rest].join("")}`);
    expect(archive.slice(110, 120)).toBe("a\0hello\0\0\0");
    expect(archive.slice(120, 126)).toBe("070701");
    expect(archive.slice(230, 241)).toBe("TRAILER!!!\0");
  });

  test("gives the same bytes for the same entries, in whole blocks", () => {
    expect(cpioArchive(TREE)).toEqual(cpioArchive(structuredClone(TREE)));
    expect(cpioArchive(TREE).length % 512).toBe(0);
    expect(cpioArchive([]).length).toBe(512);
  });

  test.each([
    ["an absolute path", [{ path: "/init", mode: 0o100755 }]],
    ["a path that leads out", [{ path: "a/../../b", mode: 0o100755 }]],
    ["an empty path", [{ path: "", mode: 0o040755 }]],
    ["a path with NUL", [{ path: "a\0b", mode: 0o100755 }]],
    ["the trailer's name", [{ path: "TRAILER!!!", mode: 0o100755 }]],
    ["a mode without type", [{ path: "a", mode: 0o755 }]],
    ["a mode of more than 16 bits", [{ path: "a", mode: 0o300644 }]],
    ["a directory with content", [{ path: "a", mode: 0o040755, content: "x" }]],
    ["a device without number", [{ path: "a", mode: 0o020600 }]],
    ["a file with a device number", [{ path: "a", mode: 0o100600, rdev: { major: 1, minor: 3 } }]],
    ["a device number out of range", [{ path: "a", mode: 0o020600, rdev: { major: -1, minor: 3 } }]],
    [
      "a path twice",
      [
        { path: "a", mode: 0o100600 },
        { path: "a", mode: 0o100600 },
      ],
    ],
    [
      "a directory after what is in it",
      [
        { path: "a/b", mode: 0o100600 },
        { path: "a", mode: 0o040700 },
      ],
    ],
    [
      "a file inside a file",
      [
        { path: "a", mode: 0o100600 },
        { path: "a/b", mode: 0o100600 },
      ],
    ],
  ])("refuses %s", (_, entries) => {
    expect(() => cpioArchive(entries)).toThrow(expect.objectContaining({ code: "BUG" }));
  });
});

describe("cpioArchive against cpio", () => {
  let directory = "";

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "kmodfarm-cpio-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test("lists every entry, and each parent once before what is inside it", () => {
    const paths = cpio(["-t", "--quiet"], cpioArchive(TREE)).trim().split("\n");

    const tail = ["lib", "lib/modules", "lib/modules/dummy.ko", "lib/modules/empty", "dev", "dev/console"];
    expect(paths).toEqual(["init", "bin", "bin/busybox", "bin/sh", ...tail]);
  });

  test("shows modes, owners, sizes, device numbers and dates", () => {
    const lines = cpio(["-tvn", "--quiet"], cpioArchive(TREE)).trim().split("\n");

    const shown = lines.map((line) => line.replaceAll(/ +/g, " "));
    expect(shown).toContain("-rwxr-xr-x 1 0 0 10 Jan 1 1970 init");
    expect(shown).toContain("drwx------ 2 0 0 0 Jan 1 1970 bin");
    expect(shown).toContain("lrwxrwxrwx 1 0 0 7 Jan 1 1970 bin/sh -> busybox");
    expect(shown).toContain("drwxr-xr-x 2 0 0 0 Jan 1 1970 lib/modules");
    expect(shown).toContain("crw------- 1 0 0 5, 1 Jan 1 1970 dev/console");
  });

  test("unpacks to what went in", () => {
    const names = fc.stringMatching(/^[a-zA-Z0-9._ä-]{1,12}$/).filter((name) => !/^\.{1,2}$/.test(name));
    const files = fc.uniqueArray(
      fc.record({
        path: fc.array(names, { minLength: 1, maxLength: 3 }).map((segments) => segments.join("/")),
        mode: fc.constantFrom(0o100644, 0o100755, 0o120777),
        text: fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom("a", "b", "/", "0", "ü") }),
      }),
      { maxLength: 8, comparator: (a, b) => overlap(a.path, b.path) },
    );
    let run = 0;

    fc.assert(
      fc.property(files, (entries) => {
        const target = join(directory, String(run++));
        const archive = cpioArchive(entries.map(({ path, mode, text }) => ({ path, mode, content: text })));
        cpio(["-idm", "--quiet", "--no-absolute-filenames", "-D", target], archive, target);
        for (const { path, mode, text } of entries) {
          const file = join(target, path);
          const isLink = mode === 0o120777;
          expect(isLink ? readlinkSync(file) : readFileSync(file, "utf8")).toBe(text);
          expect(lstatSync(file).mode).toBe(mode);
        }
      }),
      { numRuns: 40 },
    );
  });
});

function overlap(a: string, b: string): boolean {
  return `${a}/`.startsWith(`${b}/`) || `${b}/`.startsWith(`${a}/`);
}

function cpio(options: readonly string[], archive: Buffer, makeDirectory?: string): string {
  if (makeDirectory !== undefined) execFileSync("mkdir", ["-p", makeDirectory]);
  const env = { PATH: process.env.PATH ?? "", LC_ALL: "C.UTF-8", TZ: "UTC" };
  return execFileSync("cpio", options, { input: archive, env }).toString("utf8");
}
