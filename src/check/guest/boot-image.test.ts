import { createReadStream, readdirSync, readlinkSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, test, vi } from "vitest";
import { craftModule } from "../../../test/support/crafted-module.ts";
import { makeDeb } from "../../../test/support/debs.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { type BootContext, fetchBusybox, fetchTreeModules, readBootWords } from "./boot-image.ts";
import { fetchKmod } from "./kmod.ts";

/** Modules of which each needs the one that the package has before it, so that each costs a reading. */
async function chainOf(length: number) {
  const directory = await temporaryDirectory();
  const nameOf = (index: number) => `m${String(index).padStart(3, "0")}`;
  const modules = Array.from({ length }, (_, index) => [
    `lib/modules/6.1/kernel/${nameOf(index)}.ko`,
    craftModule(nameOf(index), { depends: index > 0 ? nameOf(index - 1) : "" }),
  ]);
  const file = await makeDeb(directory, "linux-image-6.1", Object.fromEntries(modules));
  const stream = async (_: unknown, consume: (body: Readable) => Promise<unknown>) =>
    consume(createReadStream(file));
  const scratch = await openScratch(join(directory, "scratch"));
  const context = { inputs: { stream } as unknown as Inputs, cache: join(directory, "cache"), scratch };
  const holder = {
    ...{ name: "linux-image-6.1", version: "1", architecture: "x86_64" as const, source: "s" },
    ...{ path: "pool/x.deb", size: 1, sha256: "a".repeat(64) },
  };
  return fetchTreeModules([nameOf(length - 1)], [holder], context);
}

describe("modules of the kernel's own that need each other in turn", () => {
  test("are had in chains as kernels have them", async () => {
    expect([...(await chainOf(12)).keys()].toSorted()[0]).toBe("m000");
  });

  test("are refused in a chain without end", async () => {
    await expect(chainOf(60)).rejects.toThrow(
      expect.objectContaining({ code: "PACKAGE_MALFORMED", message: expect.stringMatching(/48 reads/) }),
    );
  });
});

describe("packages that are read from the cache", () => {
  const listed = (name: string) => ({
    ...{ name, version: "1", architecture: "x86_64" as const, source: "debian/bookworm" },
    ...{ path: "pool/x.deb", size: 1, sha256: "c".repeat(64) },
  });

  // Each load test would leave some descriptors behind, until there are no more.
  test.each<[string, (context: BootContext) => Promise<unknown>]>([
    ["busybox-static", (context) => fetchBusybox([listed("busybox-static")], "x86_64", context)],
    ["kmod", (context) => fetchKmod([listed("kmod")], context)],
    ["modules", (context) => fetchTreeModules(["dummy"], [listed("modules")], context)],
  ])("are closed again, however little of them could be read: %s", async (_, fetch) => {
    const directory = await temporaryDirectory();
    const file = join(directory, "bad.deb");
    await writeFile(file, Buffer.concat([Buffer.from("!<arch>\nnonsense"), Buffer.alloc(1 << 20)]));
    const inputs = {
      fetch: () => Promise.resolve(file),
      stream: (_: unknown, consume: (body: Readable) => Promise<unknown>) => consume(createReadStream(file)),
    } as unknown as Inputs;
    const scratch = await openScratch(join(directory, "scratch"));
    const context: BootContext = { inputs, cache: join(directory, "cache"), scratch };

    await expect(fetch(context)).rejects.toMatchObject({ code: "PACKAGE_MALFORMED" });

    const open = () =>
      readdirSync("/proc/self/fd").filter((fd) => linkOf(`/proc/self/fd/${fd}`).startsWith(directory));
    await vi.waitFor(() => expect(open()).toEqual([]));
  });
});

/** "" for one that is closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

describe("what a boot image says", () => {
  const BANNER = "Linux version 6.1.0-9-arm64 (x@debian.org) (gcc-12 12.2.0) #1 SMP Debian 6.1.170-3";
  const DER = Buffer.alloc(504, 7);
  DER.set([0x30, 0x82, 0x01, 0xf4, 0x30, 0x82]);
  const number = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const vmlinuz = Buffer.concat([
    ...[Buffer.alloc(0x38), Buffer.from("ARM\x64", "latin1"), Buffer.alloc(0x100 - 0x3c)],
    ...[DER, number(DER.length), number(DER.length), Buffer.from(`\0${BANNER}\n\0`)],
  ]);
  const image = {
    ...{ name: "linux-image-6.1", version: "1", architecture: "aarch64" as const, source: "s" },
    ...{ path: "pool/x.deb", size: 1, sha256: "b".repeat(64) },
  };
  const said = { version: "#1 SMP Debian 6.1.170-3", certificates: [DER] };

  test("is read once, and once more where what was kept of it is damaged", async () => {
    const directory = await temporaryDirectory();
    const file = await makeDeb(directory, "linux-image-6.1", { "boot/vmlinuz-6.1": vmlinuz });
    let fetches = 0;
    const stream = async (_: unknown, consume: (body: Readable) => Promise<unknown>) => {
      fetches++;
      return consume(createReadStream(file));
    };
    const scratch = await openScratch(join(directory, "scratch"));
    const cache = join(directory, "cache");
    const context: BootContext = { inputs: { stream } as unknown as Inputs, cache, scratch };
    const kept = join(cache, "boot", `${image.sha256}-says.json`);

    expect(await readBootWords(image, context)).toEqual(said);
    await rm(join(cache, "boot", `${image.sha256}-vmlinuz`));
    expect(await readBootWords(image, context)).toEqual(said);
    expect(fetches).toBe(1);
    await writeFile(kept, '{"certificates":[]}');
    expect(await readBootWords(image, context)).toEqual(said);
    expect(fetches).toBe(2);
  });
});
