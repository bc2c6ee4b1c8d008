import { createReadStream } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { craftModule } from "../../test/support/crafted-module.ts";
import { makeDeb } from "../../test/support/debs.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { openScratch } from "../base/scratch.ts";
import type { Inputs } from "../inputs/inputs.ts";
import { fetchTreeModules } from "./boot-image.ts";

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
