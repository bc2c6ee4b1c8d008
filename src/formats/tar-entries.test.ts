import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tarBlocks } from "../../test/support/tar-blocks.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { InodeCount, TarScan } from "./tar-entries.ts";

const END = Buffer.alloc(1024);

function scan(archive: Buffer, pieceBytes = 65_536) {
  const tar = new TarScan();
  const entries = [];
  for (let at = 0; at < archive.length; at += pieceBytes)
    entries.push(...tar.push(archive.subarray(at, at + pieceBytes)));
  tar.end();
  return entries;
}

const malformed = (words: RegExp) =>
  expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringMatching(words) });

describe("a scan of a tar archive", () => {
  test.each(["gnu", "posix", "ustar", "v7"])(
    "finds what tar wrote, in pieces of any size (%s)",
    async (format) => {
      const directory = await temporaryDirectory();
      const long = `d/e/${"n".repeat(format === "gnu" || format === "posix" ? 150 : 50)}`;
      mkdirSync(join(directory, "d/e"), { recursive: true });
      writeFileSync(join(directory, "d/file"), "x".repeat(1000));
      writeFileSync(join(directory, long), "");
      linkSync(join(directory, "d/file"), join(directory, "d/hard"));
      symlinkSync("file", join(directory, "d/soft"));
      const archive = execFileSync("tar", ["-c", "--sort=name", `--format=${format}`, "d"], {
        cwd: directory,
      });

      for (const pieceBytes of [1, 511, 512, 513, 100_000]) {
        const found = scan(archive, pieceBytes).map(({ name, kind, size, linkName }) =>
          [kind, name, size, linkName].join(" "),
        );
        expect(found).toEqual([
          "directory d/ 0 ",
          "directory d/e/ 0 ",
          `file ${long} 0 `,
          "file d/file 1000 ",
          "link d/hard 0 d/file",
          "symlink d/soft 0 file",
        ]);
      }
    },
  );

  test.each<[string, Buffer, RegExp]>([
    ...["1", "2", "3", "4", "5", "6"].map((type): [string, Buffer, RegExp] => [
      `a size on type ${type}`,
      tarBlocks({ type, linkName: "y", content: "hidden" }),
      /no file has content/,
    ]),
    ...["S", "M", "V", "D", "N", "X", "A", "8"].map((type): [string, Buffer, RegExp] => [
      `type ${type}`,
      tarBlocks({ type }),
      /unknown type/,
    ]),
    [
      "a size on what its name makes a directory",
      tarBlocks({ name: "d/", content: "hidden" }),
      /no file has content/,
    ],
    [
      "a size on a link, by pax",
      tarBlocks({ type: "x", content: "11 size=512\n" }, { type: "1", linkName: "y" }),
      /cannot be read|no file has content/,
    ],
    ["a file with holes, by pax", tarBlocks({ type: "x", content: "22 GNU.sparse.major=1\n" }, {}), /sparse/],
    ["an empty name by pax", tarBlocks({ type: "x", content: "8 path=\n" }, {}), /has no path/],
    [
      "two names for one entry",
      tarBlocks({ type: "L", content: "a\0" }, { type: "x", content: "10 path=b\n" }, {}),
      /given twice/,
    ],
    [
      "two extended headers before one entry, of which tar forgets the first",
      tarBlocks(
        { type: "x", content: "12 size=512\n" },
        { type: "x", content: "11 mtime=1\n" },
        { name: "a" },
      ),
      /two headers of one kind/,
    ],
    [
      "two long names before one entry",
      tarBlocks({ type: "L", content: "a\0" }, { type: "L", content: "b\0" }, {}),
      /two headers of one kind/,
    ],
    [
      "two long targets before one entry",
      tarBlocks({ type: "K", content: "a\0" }, { type: "K", content: "b\0" }, { type: "2" }),
      /two headers of one kind/,
    ],
    ["a long name that is empty", tarBlocks({ type: "L", content: "\0" }, {}), /long name is empty/],
    ["an entry without a name", tarBlocks({ name: "" }), /has no name/],
    [
      "an extended header for no entry",
      tarBlocks({ type: "x", content: "11 mtime=1\n" }),
      /ends in the middle/,
    ],
    ["one size for all", tarBlocks({ type: "g", content: "9 size=1\n" }, {}), /to all that is in it/],
    [
      "entries behind a block of zeros",
      Buffer.concat([tarBlocks({}), Buffer.alloc(512), tarBlocks({})]),
      /goes on/,
    ],
    ["a name for no entry", tarBlocks({ type: "L", content: "a\0" }), /ends in the middle/],
    ["half a header", tarBlocks({}).subarray(0, 100), /ends in the middle/],
    ["half a file", tarBlocks({ size: 1024, content: "x" }), /ends in the middle/],
  ])("with %s refuses it", (_, blocks, words) => {
    expect(() => scan(blocks)).toThrow(malformed(words));
  });

  test.each<[string, (head: Buffer) => void]>([
    ["a size of blanks", (head) => head.fill(" ", 124, 136)],
    ["a size with words behind it", (head) => head.write("0000001 x", 124)],
    ["a size below nothing", (head) => head.fill(0xff, 124, 136)],
  ])("with %s refuses it", (_, change) => {
    const head = tarBlocks({ mode: 0o644 });
    change(head);
    head.write("        ", 148);
    head.write(
      `${head
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, "0")}\0 `,
      148,
    );

    expect(() => scan(head)).toThrow(malformed(/a number/));
  });

  test("reads nothing behind its end", () => {
    expect(scan(Buffer.concat([tarBlocks({}), END, Buffer.alloc(777, 1)]))).toHaveLength(1);
  });
});

describe("a count of what is made", () => {
  const count = (...names: readonly string[]) => {
    const inodes = new InodeCount();
    for (const name of names) inodes.add(Buffer.from(name));
    return inodes.total;
  };

  test.each<[number, readonly string[]]>([
    [1, ["a"]],
    [2, ["./", "./a"]],
    [4, ["a/b/c/d"]],
    [4, ["./a//b/./c/d/"]],
    [3, ["a/", "a/b/", "a/b/c"]],
    [3, ["a", "a/b", "a/b/c"]],
    [5, ["a/b/c", "a/d/e"]],
    [4, ["ab/c", "abc/c"]],
    [201, [`${"d/".repeat(200)}f`]],
  ])("is %d", (total, names) => {
    expect(count(...names)).toBe(total);
  });

  test("is never less than what there is then", () => {
    const part = fc.constantFrom("a", "b", "cc", ".", "");
    const path = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(fc.array(path, { maxLength: 20 }), (paths) => {
        const made = new Set<string>();
        for (const one of paths) {
          const parts = one.split("/").filter((name) => name !== "" && name !== ".");
          for (let length = 1; length <= parts.length; length++) made.add(parts.slice(0, length).join("/"));
        }

        expect(count(...paths)).toBeGreaterThanOrEqual(made.size);
      }),
    );
  });
});
