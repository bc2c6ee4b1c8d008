import { execFileSync } from "node:child_process";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { decompressed, unpackParts } from "./decompress.ts";

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

describe("several in a row", () => {
  const xz = (bytes: Buffer | string) => execFileSync("xz", ["-c"], { input: bytes });
  const zeros = Buffer.alloc(1_000_000);
  const whole = [TEXT, Buffer.alloc(0), zeros, Buffer.from("last")];
  const packed = whole.map(xz);
  const sizes = whole.map(({ length }) => length);

  const opened = async (bytes: Buffer, its: readonly number[]) => {
    const parts: Buffer[] = [];
    const fault = await (async () => {
      for await (const part of unpackParts(bytes, "xz", its)) parts.push(Buffer.from(part));
    })().catch((thrown: Error) => thrown);
    return { parts, fault };
  };

  test("are given one after the other", async () => {
    expect(await opened(Buffer.concat(packed), sizes)).toEqual({ parts: whole, fault: undefined });
    expect(await opened(xz(""), [0, 0])).toEqual({
      parts: [Buffer.alloc(0), Buffer.alloc(0)],
      fault: undefined,
    });
  });

  test("none is given that is damaged, though all of its bytes came", async () => {
    const damaged = Buffer.from(packed[2] as Buffer);
    // In the check behind the last block.
    const at = damaged.length - 40;
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    const { parts, fault } = await opened(
      Buffer.concat([packed[0], damaged, packed[3]] as Buffer[]),
      [TEXT, zeros, "last"].map(({ length }) => length),
    );
    expect(parts).toEqual([]);
    expect(fault?.message).toMatch(/^xz: /);
  });

  test.each([
    ["more than they should be", [...sizes.slice(0, 3), 3]],
    ["less than they should be", [...sizes.slice(0, 3), 5]],
    ["one too few", [...sizes, 1]],
    ["cut off", sizes],
  ])("that are %s are refused", async (what, its) => {
    const bytes = Buffer.concat(packed);
    const { parts, fault } = await opened(what === "cut off" ? bytes.subarray(0, -8) : bytes, its);
    expect(fault).toBeInstanceOf(Error);
    expect(parts).toEqual([]);
  });
});
