import { execFileSync } from "node:child_process";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { decompressed, Unpacker } from "./decompress.ts";

const TEXT = Buffer.alloc(3_000_000, "what is inside, over and over\n");
const PACKED = {
  gz: execFileSync("gzip", ["-c"], { input: TEXT }),
  bz2: execFileSync("bzip2", ["-c"], { input: TEXT }),
  xz: execFileSync("xz", ["-c"], { input: TEXT }),
  zst: execFileSync("zstd", ["-c", "-q"], { input: TEXT }),
};
const LIMIT_BYTES = TEXT.length;

/** A body that comes in pieces, as one from the network does. */
function bodyOf(bytes: Buffer): Readable {
  const pieces = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, index) =>
    bytes.subarray(index * 1000, (index + 1) * 1000),
  );
  return Readable.from(pieces, { objectMode: false });
}

const unpack = (bytes: Buffer, name: string, limit = LIMIT_BYTES) =>
  buffer(Readable.from(decompressed(bodyOf(bytes), name, limit)));

describe.each(["gz", "bz2", "xz", "zst"] as const)("decompressed (.%s)", (compression) => {
  const packed = PACKED[compression];

  test("gives the bytes inside", async () => {
    expect(TEXT.equals(await unpack(packed, `Packages.${compression}`))).toBe(true);
  });

  test.each([
    ["more than the limit", packed, LIMIT_BYTES - 1, /unpacks to more than/],
    ["bytes that are cut off", packed.subarray(0, -8), LIMIT_BYTES, /cannot be decompressed/],
    ["something else", TEXT.subarray(0, 5000), LIMIT_BYTES, /cannot be decompressed/],
    ["nothing", Buffer.alloc(0), LIMIT_BYTES, /cannot be decompressed/],
  ])("refuses %s", async (_, bytes, limit, fault) => {
    const unpacked = unpack(bytes, `Packages.${compression}`, limit);

    await expect(unpacked).rejects.toThrow(expect.objectContaining({ code: "DIGEST_MISMATCH" }));
    await expect(unpacked).rejects.toThrow(fault);
  });

  test("ends when the body ends before its end", async () => {
    const body = bodyOf(packed);
    body.once("data", () => body.destroy(new Error("the server hung up")));

    const unpacked = buffer(Readable.from(decompressed(body, `Packages.${compression}`, LIMIT_BYTES)));

    await expect(unpacked).rejects.toThrow(expect.objectContaining({ code: "DIGEST_MISMATCH" }));
  });

  test("leaves the body to others when its reader stops early", async () => {
    const body = bodyOf(packed);

    for await (const chunk of decompressed(body, `Packages.${compression}`, LIMIT_BYTES)) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }

    expect(body.destroyed && !body.readableEnded).toBe(false);
  });
});

test("knows no other compression", async () => {
  await expect(unpack(TEXT, "Packages.lzma")).rejects.toThrow(/compressed in an unsupported format/);
});

describe("an unpacker", () => {
  const xz = (text: string) => execFileSync("xz", ["-c"], { input: text });

  test("gives what is in one file after the other, in the same memory, and nothing of the one before", async () => {
    using unpacker = new Unpacker();
    const long = await unpacker.unpack(PACKED.xz, "xz", LIMIT_BYTES);
    expect(long.equals(TEXT)).toBe(true);
    // Zeros are what xz would leave out of a file.
    const zeros = Buffer.alloc(1_000_000);
    const short = await unpacker.unpack(xz(zeros.toString("latin1")), "xz", LIMIT_BYTES);

    expect(short.equals(zeros)).toBe(true);
    expect(long.subarray(0, zeros.length).equals(zeros)).toBe(true);
    expect(await unpacker.unpack(xz(""), "xz", LIMIT_BYTES)).toHaveLength(0);
  });

  test("refuses what is damaged, cut off or too much, and goes on", async () => {
    using unpacker = new Unpacker();

    await expect(unpacker.unpack(PACKED.xz, "xz", LIMIT_BYTES - 1)).rejects.toThrow(RangeError);
    for (const bad of [PACKED.xz.subarray(0, -8), Buffer.from("not packed"), Buffer.alloc(0)])
      await expect(unpacker.unpack(bad, "xz", LIMIT_BYTES)).rejects.toThrow(/^xz: /);
    expect(String(await unpacker.unpack(xz("good"), "xz", 4))).toBe("good");
  });
});
