import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UNPACK, type Unpack, unpackWhole } from "../base/decompress.ts";
import { openedModules, openModule, openModules } from "./compressed-module.ts";

const MODULE = readFileSync(`${import.meta.dirname}/../../test/fixtures/modules/crc7.ko`);
const through = (argv: readonly string[], input: Buffer) =>
  execFileSync(argv[0] as string, argv.slice(1), { input, maxBuffer: 1 << 30 });

/** As the kernel's modules_install calls them, and in other ways that hold one stream. */
const WAYS: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
  ["gzip -n -9", (bytes) => through(["gzip", "-n", "-9", "-c"], bytes)],
  ["gzip with a name", (bytes) => withName(gzipSync(bytes))],
  ["xz of the kernel", (bytes) => through(["xz", "--check=crc32", "--lzma2=dict=1MiB", "-c"], bytes)],
  ["xz in several blocks", (bytes) => through(["xz", "--block-size=1000", "-c"], bytes)],
  ["zstd", (bytes) => through(["zstd", "-q", "-c", `--stream-size=${bytes.length}`], bytes)],
  [
    "zstd without a checksum",
    (bytes) => through(["zstd", "-q", "-c", "--no-check", `--stream-size=${bytes.length}`], bytes),
  ],
];

function withName(bytes: Buffer): Buffer {
  bytes[3] = 8;
  return Buffer.concat([bytes.subarray(0, 10), Buffer.from("crc7.ko\0"), bytes.subarray(10)]);
}

describe.each(WAYS)("a module through %s", (way, compress) => {
  const packed = compress(MODULE);
  const refused = expect.objectContaining({ code: "MODULE_MALFORMED" });

  test("is opened", async () => {
    expect((await openModule(packed, "a.ko", unpackWhole)).equals(MODULE)).toBe(true);
  });

  test.each([
    ["something behind it", Buffer.concat([packed, Buffer.from([0, 0, 0, 0])])],
    ["a second stream behind it", Buffer.concat([packed, compress(Buffer.from("more"))])],
    ["itself once more behind it", Buffer.concat([packed, packed])],
    ["its end missing", packed.subarray(0, -4)],
    ["half of it missing", packed.subarray(0, packed.length >> 1)],
  ])("is refused with %s", async (_, bytes) => {
    await expect(openModule(bytes, "a.ko", unpackWhole)).rejects.toEqual(refused);
  });

  test("is refused with a byte changed in its content", async () => {
    const bytes = Buffer.from(packed);
    bytes[bytes.length >> 1]! ^= 0x55;

    const opened = await openModule(bytes, "a.ko", unpackWhole).catch((thrown) => thrown);

    // A frame without a checksum cannot tell; everything else must.
    if (Buffer.isBuffer(opened)) expect(way).toBe("zstd without a checksum");
    else expect(opened).toEqual(refused);
  });

  test("gives a value or MODULE_MALFORMED whatever is written over it", async () => {
    const edits = fc.array(fc.tuple(fc.nat(60), fc.uint8Array({ minLength: 1, maxLength: 4 })), {
      minLength: 1,
    });
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        const bytes = Buffer.from(packed);
        for (const [at, replacement] of changes) bytes.set(replacement, at);
        await openModule(bytes, "a.ko", unpackWhole).catch((thrown) => expect(thrown).toEqual(refused));
      }),
      { numRuns: 30 },
    );
  });
});

test("a module that is not compressed is returned as it is", async () => {
  expect(await openModule(MODULE, "a.ko", unpackWhole)).toBe(MODULE);
});

test("a frame that does not say its size is refused, for kmod opens none", async () => {
  const packed = through(["sh", "-c", "cat | zstd -q -c --no-content-size"], MODULE);

  await expect(openModule(packed, "a.ko", unpackWhole)).rejects.toThrow(
    "does not say how long its content is",
  );
});

test.each(["gzip -1 -c", "xz -0 -c", "zstd -q -c --stream-size=135266304"])(
  "a bomb through %s is refused",
  async (way) => {
    const bomb = through(way.split(" "), Buffer.alloc(129 * 1024 * 1024));

    await expect(openModule(bomb, "a.ko", unpackWhole)).rejects.toThrow(
      "it unpacks to more than 134217728 bytes",
    );
  },
);

describe("many files at once", () => {
  const xz = (text: string | Buffer) => execFileSync("xz", ["-c"], { input: text });
  const texts = ["one", "two two", "three three three"];

  test("are opened as each by itself, whatever they are", async () => {
    const files = [...texts.map(xz), gzipSync("four"), Buffer.from("five")];

    const opened = await openModules(
      files.map((bytes) => ({ bytes, what: "file" })),
      UNPACK,
    );

    expect(opened.map(String)).toEqual([...texts, "four", "five"]);
  });

  test("do not suffer from one that is damaged, or lies about what it unpacks to", async () => {
    const [good = Buffer.alloc(0), bad = Buffer.alloc(0), last = Buffer.alloc(0)] = texts.map(xz);
    const damaged = Buffer.from(bad);
    damaged[30] = (damaged[30] ?? 0) ^ 1;
    const files = [good, damaged, xz(xz("twice")), last, bad.subarray(0, -4)];

    const opened = await openModules(
      files.map((bytes, index) => ({ bytes, what: `file ${index}` })),
      UNPACK,
    );

    expect(opened.map((one) => (one instanceof Error ? "refused" : String(one)))).toEqual([
      ...["one", "refused", "refused", "three three three", "refused"],
    ]);
  });
});

describe("many files one after another", () => {
  const mebibyte = Buffer.alloc(1 << 20);

  test("in xz share a program as far as they are not too much together", async () => {
    const bytes = execFileSync("xz", ["-0", "-c"], { input: Buffer.alloc(20 << 20) });
    const files = Array.from({ length: 8 }, (_, at) => ({ bytes, what: `file ${at}` }));
    const asked: number[] = [];
    const unpack: Unpack = {
      whole: () => Promise.reject(new Error("each would have a program of its own")),
      async *parts(_, __, sizes) {
        asked.push(sizes.length);
        for (const size of sizes) yield Buffer.alloc(size);
      },
    };

    for await (const [, plain] of openedModules(files, unpack)) expect(plain).toHaveLength(20 << 20);

    expect(asked).toEqual([3, 3, 2]);
  });

  test("are not opened before somebody asks for them", async () => {
    const good = gzipSync(mebibyte);
    const nobody = () => expect.fail("the second file was opened before anybody asked for it");
    const opened = openedModules(
      [
        { bytes: good, what: "first" },
        { bytes: execFileSync("xz", ["-c"], { input: "x" }), what: "second" },
      ],
      { whole: nobody, parts: nobody },
    );

    expect((await opened.next()).value).toEqual([0, mebibyte]);
    await opened.return();
  });
});

test("what is compressed twice is said to be", async () => {
  await expect(openModule(gzipSync(gzipSync("a")), "a.ko.gz", unpackWhole)).rejects.toThrow(
    /a\.ko\.gz: it is compressed twice/,
  );
});
