import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tarBlocks } from "../../test/support/tar-blocks.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { FarmError } from "../base/error.ts";
import { TarCopy } from "./tar-copy.ts";
import type { TarEntry } from "./tar-entries.ts";

/** More of them: KMODFARM_RUNS=5000. Each asks tar. */
const RUNS = Number(process.env.KMODFARM_RUNS ?? 60);
const END = Buffer.alloc(1024);

/** What an archive is copied to, and the entries that were read on the way. */
function copyOf(archive: Buffer, pieceBytes = archive.length) {
  const entries: TarEntry[] = [];
  const copy = new TarCopy((entry) => entries.push(entry) > 0);
  const written: Buffer[] = [];
  for (let at = 0; at < archive.length; at += pieceBytes)
    written.push(copy.push(archive.subarray(at, at + pieceBytes)));
  return { entries, copy: Buffer.concat([...written, copy.end()]) };
}

/** Kind, size, time and name of every entry, and where links lead, as GNU tar reads them. */
function listed(archive: Buffer): string {
  const argv = ["--list", "--verbose", "--numeric-owner", "--utc", "--quoting-style=c", "--file=-"];
  const { stdout, stderr, status } = spawnSync("tar", argv, {
    input: archive,
    env: { ...process.env, LC_ALL: "C" },
  });
  // It lists by types what it unpacks as files, or as directories where the name says so.
  const said = stdout
    .toString()
    .replaceAll(/^C/gm, "-")
    .replaceAll(/^-(?=.*\/"$)/gm, "d");
  return `${said}${status === 0 ? "" : `exit ${status}: ${stderr.toString()}`}`;
}

const pax = (key: string, value: string) => {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (`${length}${rest}`.length !== length) length++;
  return `${length}${rest}`;
};

/** Writes a number into a header's field of 12 bytes in another way, and the checksum anew. */
function rewritten(block: Buffer, change: (head: Buffer) => void, isSigned: boolean): Buffer {
  const head = block.subarray(0, 512);
  change(head);
  head.write("        ", 148);
  const sum = head.reduce((total, byte) => total + (isSigned && byte > 127 ? byte - 256 : byte), 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

const NAMES = ["a", "d/", "./b", "d/c", "e", "é", `${"n".repeat(60)}/${"m".repeat(39)}`, "with space"];
const name = fc.constantFrom(...NAMES);
const record = fc
  .tuple(
    fc.constantFrom("path", "path", "linkpath", "size", "comment", "comment", "GNU.sparse.size"),
    fc.constantFrom("1", "512", "x", "", "long/".repeat(40)),
  )
  .map(([key, value]) => pax(key, value));
const records = fc.array(fc.oneof({ weight: 4, arbitrary: record }, fc.constant(pax("mtime", "1.5"))), {
  minLength: 1,
  maxLength: 2,
});
const ODDITIES = [
  "base-256",
  "spaces",
  "old magic",
  "prefix",
  "gnu",
  "no mode",
  "content",
  "type",
  "size",
  "blank",
  "negative",
];
/** A header as tools write it, or now and then with one of the oddities in which readers differ. */
const block = fc
  .record({
    name,
    type: fc.constantFrom(..."0007\u0000125xxgLK".split("")),
    linkName: fc.constantFrom("a", "d/c"),
    records,
    content: fc.constantFrom("", "y", "z".repeat(512), "long/".repeat(50)),
    oddity: fc.option(fc.constantFrom(...ODDITIES), { freq: 2 }),
    strangeType: fc.constantFrom(..."6SDAX".split("")),
    size: fc.constantFrom(0, 1, 512, 1024),
    isSigned: fc.boolean(),
  })
  .map(({ name, records, size, oddity, isSigned, linkName, ...one }) => {
    const type = oddity === "type" ? one.strangeType : one.type;
    const told = "xg".includes(type)
      ? records.join("")
      : "LK".includes(type)
        ? one.content || "y"
        : one.content;
    const content = "1256".includes(type) && oddity !== "content" ? "" : told;
    const bytes = tarBlocks({ name, type, linkName, content, ...(oddity === "size" ? { size } : {}) });
    const change = (head: Buffer) => {
      const length = Number.parseInt(head.toString("latin1", 124, 135), 8);
      if (oddity === "base-256") head.fill(0, 124, 136).writeUInt32BE(length, 132);
      if (oddity === "base-256") head[124] = 0x80;
      if (oddity === "blank") head.fill(" ", 124, 136);
      if (oddity === "negative") head.fill(0xff, 124, 136);
      if (oddity === "spaces") head.write(length.toString(8).padStart(11, " "), 124);
      if (oddity === "old magic") head.fill(0, 257, 265);
      if (oddity === "prefix") head.write("pre/fix", 345);
      if (oddity === "gnu") head.write("ustar  \0", 257);
      if (oddity === "no mode") head.fill(0, 100, 108);
    };
    return rewritten(bytes, change, isSigned);
  });

describe("a copy of a tar archive", () => {
  test("is to GNU tar what the archive is, wherever our reader takes it, and is what our reader saw", () => {
    let taken = 0;
    fc.assert(
      fc.property(
        fc.array(block, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(END, Buffer.alloc(0), Buffer.concat([END, Buffer.alloc(600, 7)])),
        (blocks, end) => {
          const archive = Buffer.concat([...blocks, end]);
          let read: ReturnType<typeof copyOf>;
          try {
            read = copyOf(archive);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(FarmError);
            return;
          }
          taken++;
          const copy = listed(read.copy);
          expect(copy).toBe(listed(archive));
          expect(copy.split("\n").length - 1).toBe(read.entries.length);
          for (const pieceBytes of [1, 511, 513]) expect(copyOf(archive, pieceBytes).copy).toEqual(read.copy);
        },
      ),
      { numRuns: RUNS, seed: 20_261_129 },
    );
    expect(taken).toBeGreaterThan(RUNS / 5);
  });

  test.each(["gnu", "posix", "ustar", "v7"])("of what tar wrote is that again (%s)", async (format) => {
    const directory = await temporaryDirectory();
    const long = "n".repeat(format === "gnu" || format === "posix" ? 200 : 90);
    mkdirSync(join(directory, "d"), { mode: 0o750 });
    writeFileSync(join(directory, "d/file"), "x".repeat(1000), { mode: 0o755 });
    writeFileSync(join(directory, long), "long");
    symlinkSync(long.slice(0, 90), join(directory, "d/soft"));
    const argv = [
      "--create",
      "--sort=name",
      `--format=${format}`,
      "--owner=0",
      "--group=0",
      "--mtime=2020-02-02",
      "d",
      long,
    ];
    const { stdout: archive } = spawnSync("tar", argv, { cwd: directory });

    const { copy, entries } = copyOf(archive);

    expect(entries).toHaveLength(4);
    expect(listed(copy)).toBe(listed(archive));
    for (const [path, content] of [
      ["d/file", "x".repeat(1000)],
      [long, "long"],
    ])
      expect(spawnSync("tar", ["-xOf-", path as string], { input: copy }).stdout.toString()).toBe(content);
  });

  test("holds only what is wanted of it", () => {
    const archive = tarBlocks(
      { name: "no", content: "n" },
      { name: "yes", content: "y" },
      { name: "no2", content: "n" },
    );
    const copy = new TarCopy(({ name }) => name.toString() === "yes");

    expect(listed(Buffer.concat([copy.push(archive), copy.end()])).split("\n")).toEqual([
      expect.stringContaining('"yes"'),
      "",
    ]);
  });

  test.each(["3", "4"])("has no device (type %s)", (type) => {
    expect(() => copyOf(tarBlocks({ type }))).toThrow(/it holds a (character|block)-device/);
  });
});
