/** Packages that are small, and would be large in memory; names that are no text; words of an object's own. */
import { execFileSync } from "node:child_process";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { type Header, pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { readDebFiles } from "./deb-stream.ts";
import { readRpmFiles } from "./rpm-stream.ts";

const WORDS = ["constructor", "toString", "__proto__", "hasOwnProperty", "valueOf"];
const MIB = 1024 * 1024;
const all = () => true;
const never = () => false;
const malformed = (words: RegExp) =>
  expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringMatching(words) });

function member(name: string, content: Buffer): Buffer {
  const head = `${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}`;
  return Buffer.concat([Buffer.from(`${head}${String(content.length).padEnd(10)}\`\n`), content]);
}

const debWith = (name: string, content: Buffer) =>
  Readable.from([Buffer.from("!<arch>\n"), member(name, content)]);

/** A header of ustar with its checksum. */
function header(name: string | Buffer, size: number, type = "0"): Buffer {
  const block = Buffer.alloc(512);
  Buffer.from(name).copy(block);
  block.write("0000644\0", 100);
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  block.write("        ", 148);
  block.write(type, 156);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** What is packed of pieces that come one after the other. */
function zstd(pieces: Iterable<Buffer>): Buffer {
  return execFileSync("zstd", ["-q", "-3", "-c"], { input: Buffer.concat([...pieces]), maxBuffer: 64 * MIB });
}

const file = (name: string | Buffer, content = "") =>
  Buffer.concat([
    header(name, content.length),
    Buffer.from(content),
    Buffer.alloc((512 - (content.length % 512)) % 512),
  ]);
const END = Buffer.alloc(1024);

describe("a Debian package", () => {
  test("with libraries of many zeros is refused before they are all in memory", async () => {
    const libraries = Array.from({ length: 3 }, (_, at) => [
      header(`./usr/lib/libx${at}.so.1`, 90 * MIB),
      Buffer.alloc(90 * MIB),
    ]).flat();
    const packed = zstd([...libraries, END]);
    const before = process.memoryUsage.rss();

    const reading = readDebFiles(debWith("data.tar.zst", packed), all, never);

    await expect(reading).rejects.toThrow(malformed(/larger than 268435456 bytes/));
    expect(packed.length).toBeLessThan(MIB);
    expect(process.memoryUsage.rss() - before).toBeLessThan(900 * MIB);
  });

  test.each(["x", "g", "L", "K"])(
    "with an endless header of the type %s is refused at once",
    async (type) => {
      const tar = Buffer.concat([header("./PaxHeaders/x", 4 * 1024 ** 3 - 1, type), Buffer.alloc(512)]);

      await expect(readDebFiles(debWith("data.tar", tar), all, never)).rejects.toThrow(
        malformed(/has no end/),
      );
    },
  );

  test("with endless files of a kind is refused", async () => {
    const tar = Buffer.concat([...Array.from({ length: 10_001 }, (_, at) => header(`./${at}`, 0)), END]);

    await expect(readDebFiles(debWith("data.tar", tar), all, never)).rejects.toThrow(
      malformed(/10000 files/),
    );
  });

  test("with names that are no text keeps them to itself, and the rest is read", async () => {
    const names = [Buffer.from("./a\xff\xfe", "latin1"), Buffer.from("./b\x1b[2J"), "./c"];
    const tar = Buffer.concat([...names.map((name) => file(name, "x")), END]);

    const found = await readDebFiles(debWith("data.tar", tar), all, never);

    expect(found.map(({ path }) => path)).toEqual(["c"]);
  });

  test("is read as tar itself reads it: long names of GNU and of POSIX, prefixes, sizes of pax", async () => {
    const long = `usr/${"d/".repeat(80)}end`;
    const tar = pack();
    for (const [name, pax] of [
      [long, undefined],
      ["short", { path: `./${long}2` }],
    ] as const)
      tar.entry({ name, type: "file", ...(pax === undefined ? {} : { pax }) } as Header, "content");
    tar.finalize();
    const gnu = Buffer.concat([
      header("././@LongLink", long.length + 4, "L"),
      Buffer.concat([Buffer.from(`./${long}3\0`)], 512),
      file("./cut", "gnu"),
      END,
    ]);
    const posix = await buffer(tar);

    const found = await Promise.all(
      [posix, gnu].map((one) => readDebFiles(debWith("data.tar", one), all, never)),
    );

    expect(found.flat().map(({ path, content }) => [path, content.toString()])).toEqual([
      [long, "content"],
      [`${long}2`, "content"],
      [`${long}3`, "gnu"],
    ]);
  });

  test.each(WORDS)("with a member called %s has no data", async (name) => {
    await expect(readDebFiles(debWith(name, Buffer.from("abcd")), all, never)).rejects.toThrow(
      malformed(/ends in the middle/),
    );
  });
});

describe("an rpm package", () => {
  function rpmPackedWith(compressor: string): Buffer {
    const lead = Buffer.alloc(96);
    lead.write("edabeedb", "hex");
    const intro = (entries: number, store: number) => {
      const bytes = Buffer.alloc(16);
      bytes.write("8eade801", "hex");
      bytes.writeUInt32BE(entries, 8);
      bytes.writeUInt32BE(store, 12);
      return bytes;
    };
    const store = Buffer.from(`${compressor}\0`);
    const entry = Buffer.alloc(16);
    for (const [at, value] of [1125, 6, 0, 1].entries()) entry.writeUInt32BE(value, at * 4);
    return Buffer.concat([lead, intro(0, 0), intro(1, store.length), entry, store, Buffer.from("payload")]);
  }

  test.each(WORDS)("whose payload is compressed by %s is refused", async (name) => {
    const reading = readRpmFiles(Readable.from([rpmPackedWith(name)]), all, never);

    await expect(reading).rejects.toThrow(malformed(new RegExp(name)));
  });
});
