import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { workedMs } from "../../test/support/damage.ts";
import { unpackWhole } from "../base/decompress.ts";
import { readVmlinuz, versionInBanner } from "./vmlinuz.ts";

const BANNER =
  "Linux version 6.1.0-9-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP";

/** Not a certificate to anybody who looks inside, but as long and with the same beginning. */
function certificate(length: number): Buffer {
  const bytes = randomBytes(length);
  bytes.set([0x30, 0x82, (length - 4) >> 8, (length - 4) & 0xff, 0x30, 0x82]);
  return bytes;
}

const padded = (bytes: Buffer, alignment: number) =>
  Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment)]);

function number(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function list(certificates: readonly Buffer[], own = certificates[0]?.length ?? 0, alignment = 8): Buffer {
  const all = Buffer.concat(certificates);
  return Buffer.concat([...[all, number(all.length)].map((one) => padded(one, alignment)), number(own)]);
}

function kernel(...more: readonly Buffer[]): Buffer {
  const words = Buffer.from(`\0Linux version %s (%s)\n\0${BANNER} PREEMPT\n\0`);
  const decoy = Buffer.concat([certificate(300), Buffer.alloc(40)]);
  const parts = [Buffer.alloc(64, 0x90), words, decoy, ...more];
  return Buffer.concat(parts.map((part) => padded(part, 256)));
}

const sized = (packed: Buffer, size: number) => {
  const tail = Buffer.alloc(4);
  tail.writeUInt32LE(size);
  return Buffer.concat([packed, tail]);
};

function bzImage(payload: Buffer): Buffer {
  const head = Buffer.alloc(5 * 512 + 100);
  head[0x1f1] = 4;
  head.write("HdrS", 0x202, "latin1");
  head.writeUInt32LE(100, 0x248);
  head.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([head, payload, Buffer.alloc(1000, 0xcc)]);
}

function zboot(payload: Buffer): Buffer {
  const head = Buffer.alloc(4096);
  head.write("MZ\0\0zimg", 0, "latin1");
  head.writeUInt32LE(4096, 8);
  head.writeUInt32LE(payload.length, 12);
  return Buffer.concat([head, payload]);
}

function arm64(image: Buffer): Buffer {
  const bytes = Buffer.from(image);
  bytes.write("ARM\x64", 0x38, "latin1");
  return bytes;
}

const CERTIFICATES = [certificate(477), certificate(901), certificate(1300)];
const SAMPLE = kernel(list(CERTIFICATES));
const lz4 = (bytes: Buffer) => execFileSync("lz4", ["-l", "-9", "-c"], { input: bytes });
const xz = (bytes: Buffer) => execFileSync("xz", ["-c", "--check=crc32"], { input: bytes });

describe("readVmlinuz", () => {
  test.each([
    ["bzImage with gzip", bzImage(gzipSync(SAMPLE))],
    ["bzImage with xz", bzImage(sized(xz(SAMPLE), SAMPLE.length))],
    ["bzImage with LZ4", bzImage(sized(lz4(SAMPLE), SAMPLE.length))],
    ["bzImage with zstd", bzImage(sized(zstdCompressSync(SAMPLE), SAMPLE.length))],
    ["EFI zboot with gzip", zboot(gzipSync(SAMPLE))],
    ["EFI zboot with zstd", zboot(sized(zstdCompressSync(SAMPLE), SAMPLE.length))],
    ["Image of arm64", arm64(kernel(list(CERTIFICATES, CERTIFICATES[0]?.length, 256)))],
    ["Image.gz of arm64", gzipSync(arm64(SAMPLE))],
  ])("reads words and certificates of a %s", async (_, bytes) => {
    const { banner, certificates, hasModuleKey } = await readVmlinuz(bytes, "vmlinuz", unpackWhole);

    expect(banner).toBe(`${BANNER} PREEMPT`);
    expect(certificates.map((one) => Buffer.from(one))).toEqual(CERTIFICATES);
    expect(hasModuleKey).toBe(true);
  });

  test("takes no draft of its words for what it greets with", async () => {
    const draft = Buffer.from(`\0${BANNER.replace("#1", "#")}\n\0`);
    const words = Buffer.from(`\0${BANNER}\n\0`);
    const bannerIn = async (...more: Buffer[]) =>
      (await readVmlinuz(arm64(Buffer.concat([Buffer.alloc(64), ...more])), "vmlinuz", unpackWhole)).banner;

    expect(await bannerIn(draft, words)).toBe(BANNER);
    expect(await bannerIn(words, draft)).toBe(BANNER);
    expect(await bannerIn(draft)).toBe(BANNER.replace("#1", "#"));
  });

  test("tells a kernel without a key of its own for modules, and one without certificates", async () => {
    const keyless = await readVmlinuz(arm64(kernel(list(CERTIFICATES, 0))), "vmlinuz", unpackWhole);
    const bare = await readVmlinuz(arm64(kernel()), "vmlinuz", unpackWhole);

    expect([keyless.certificates.length, keyless.hasModuleKey]).toEqual([3, false]);
    expect([bare.certificates.length, bare.hasModuleKey]).toEqual([0, false]);
  });

  test.each([
    ["no image", Buffer.from("#!/bin/sh\n"), "it is not a boot image"],
    ["a payload outside of the file", bzImage(gzipSync(SAMPLE)).subarray(0, 3000), "is not inside the file"],
    ["a damaged payload", bzImage(gzipSync(SAMPLE).subarray(0, 200)), "cannot be decompressed"],
    ["a damaged LZ4 payload", bzImage(lz4(SAMPLE).subarray(0, 200)), "cannot be decompressed"],
    ["a damaged xz payload", bzImage(xz(SAMPLE).subarray(0, 200)), "cannot be decompressed"],
    ["what is no kernel", gzipSync(Buffer.from("hello")), "greets with no kernel's words"],
  ])("refuses %s", async (_, bytes, fact) => {
    await expect(readVmlinuz(bytes, "vmlinuz", unpackWhole)).rejects.toMatchObject({
      code: "MODULE_MALFORMED",
      message: expect.stringContaining(fact),
    });
  });

  test("gives a value or MODULE_MALFORMED whatever is written over an image", async () => {
    const samples = [bzImage(gzipSync(SAMPLE)), zboot(gzipSync(SAMPLE)), arm64(SAMPLE)];
    const edits = fc.array(fc.tuple(fc.nat(5000), fc.uint8Array({ minLength: 1, maxLength: 8 })));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...samples),
        edits,
        fc.nat(10_000),
        async (sample, changes, length) => {
          const bytes = Buffer.from(sample.subarray(0, length));
          for (const [at, replacement] of changes)
            if (at < bytes.length) bytes.set(replacement.subarray(0, bytes.length - at), at);
          await readVmlinuz(bytes, "vmlinuz", unpackWhole).catch((thrown) =>
            expect(thrown).toMatchObject({ code: "MODULE_MALFORMED" }),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("what looks like certificates", () => {
  const image = (more: Buffer) => arm64(kernel(more));

  test.each([
    ["tiny ones", Buffer.from("308200023000", "hex")],
    ["some that lie one in the other", Buffer.from("3082", "hex")],
    ["some as long as they may be", Buffer.concat([certificate(0xffff)])],
  ])("is looked at once each: 8 MiB of %s", async (_, one) => {
    const started = workedMs();

    const read = await readVmlinuz(image(Buffer.alloc(8 << 20, one)), "vmlinuz", unpackWhole).catch(
      (thrown) => thrown,
    );

    expect(read.certificates ?? read.code).toEqual(read.code ?? []);
    expect(workedMs() - started).toBeLessThan(2000);
  });

  test("does not hide the list that begins inside of it", async () => {
    // One that is none reaches over the beginning of the list, and ends where nothing is.
    const cover = Buffer.concat([Buffer.from([0x30, 0x82, 0x02, 0x00, 0x30]), Buffer.alloc(251, 7)]);

    const { certificates } = await readVmlinuz(
      image(Buffer.concat([cover, list(CERTIFICATES)])),
      "vmlinuz",
      unpackWhole,
    );

    expect(certificates.map((one) => Buffer.from(one))).toEqual(CERTIFICATES);
  });

  test("does not hide the list that it stands before", async () => {
    const before = certificate(264);

    const { certificates } = await readVmlinuz(
      image(Buffer.concat([before, list(CERTIFICATES)])),
      "vmlinuz",
      unpackWhole,
    );

    expect(certificates.map((one) => Buffer.from(one))).toEqual(CERTIFICATES);
  });

  test("words of a greeting without end are passed over", async () => {
    const words = Buffer.alloc(16 << 20, "Linux version x");
    const started = workedMs();

    await expect(
      readVmlinuz(arm64(Buffer.concat([Buffer.alloc(64), words])), "vmlinuz", unpackWhole),
    ).rejects.toThrow(/greets with no kernel's words/);
    expect(workedMs() - started).toBeLessThan(2000);
  });
});

describe("versionInBanner", () => {
  test.each([
    [
      `${BANNER} PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)`,
      "#1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)",
    ],
    [
      "Linux version 5.15.0-26-generic (buildd@lcy02) (gcc (Ubuntu 11.2.0-19ubuntu1) 11.2.0, GNU ld (GNU Binutils for Ubuntu) 2.38) #26-Ubuntu SMP Tue Apr 12",
      "#26-Ubuntu SMP Tue Apr 12",
    ],
    [
      "Linux version 5.14.0-570.el9.x86_64 (mockbuild@x) (gcc (GCC) 11.5.0, GNU ld version 2.35.2-63.el9) #1 SMP PREEMPT_DYNAMIC",
      "#1 SMP PREEMPT_DYNAMIC",
    ],
  ])("of %s is what uname -v says", (banner, version) => {
    expect(versionInBanner(banner)).toBe(version);
  });

  test("is not guessed where the words could be cut in two ways, or are none", () => {
    expect(versionInBanner("Linux version 6.1.0 (a) (gcc) #2 SMP (b) #1 SMP")).toBeUndefined();
    expect(versionInBanner("Linux version 6.1.0 (a) (gcc)")).toBeUndefined();
  });
});
