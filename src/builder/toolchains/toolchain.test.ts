import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { openScratch } from "../../base/scratch.ts";
import type { ArchitectureName } from "../../kernel/architecture.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import { type ToolchainContext, Toolchains } from "./toolchain.ts";

const IMAGES = join(import.meta.dirname, "..", "..", "..", "images");
const GCC12: Compiler = { family: "gcc", version: "12", source: "package" };

/** Toolchains of an empty cache, and what is asked of whoever knows their mirrors. */
async function openToolchains(changes: Partial<ToolchainContext> = {}) {
  const cache = await temporaryDirectory();
  const scratch = await openScratch(join(cache, "tmp"));
  onTestFinished(() => scratch.close());
  const asked: string[] = [];
  const toolchains = new Toolchains({
    ...{ cache, scratch, images: IMAGES, builder: "x86_64", emulated: new Set(), compilers: "exact" },
    substitutes: new Map(),
    isCrossWanted: true,
    keysOf: () => Promise.reject(new Error("no key is needed")),
    mirrorOf: (key, builder) => {
      asked.push(`${key} on ${builder}`);
      return {
        format: "deb",
        lines: [{ url: "http://mirror.example", suite: "x", components: ["main"] }],
        keyring: "/nowhere",
        acceptExpired: false,
      };
    },
    ...changes,
  });
  return { toolchains, asked };
}

/** Which release's packages a root would be made of, and for which builder. */
async function planned(
  release: string,
  architecture: ArchitectureName,
  changes: Partial<ToolchainContext> = {},
  compiler = GCC12,
): Promise<string> {
  const { toolchains, asked } = await openToolchains(changes);
  expect(await toolchains.isReady({ release, architecture, compiler })).toBe(false);
  return asked.join();
}

describe("the root for a kernel", () => {
  test("is its own release's, of this machine's architecture", async () => {
    expect(await planned("debian12", "x86_64")).toBe("debian12 on x86_64");
  });

  test("is its minor release's, by the lists of its major one", async () => {
    const gcc11: Compiler = { family: "gcc", version: "11.4.1", source: "config" };

    expect(await planned("almalinux9.4", "x86_64", {}, gcc11)).toBe("almalinux9.4 on x86_64");
  });

  test("is another release's, where configuration says so", async () => {
    const substitutes = new Map([["almalinux9.4", "debian12"]]);

    expect(await planned("almalinux9.4", "x86_64", { substitutes })).toBe("debian12 on x86_64");
  });

  test("is of the machines that build for it, where configuration names them", async () => {
    const builders = new Map([["aarch64", "aarch64"]] as const);

    expect(await planned("debian12", "aarch64", { builders })).toBe("debian12 on aarch64");
    expect(await planned("debian12", "x86_64", { builders })).toBe("debian12 on x86_64");
  });

  test("crosses where there are cross compilers, and is emulated where they are not wanted", async () => {
    const emulated = new Set<ArchitectureName>(["aarch64"]);

    expect(await planned("debian12", "aarch64")).toBe("debian12 on x86_64");
    expect(await planned("debian12", "aarch64", { emulated })).toBe("debian12 on x86_64");
    expect(await planned("debian12", "aarch64", { emulated, isCrossWanted: false })).toBe(
      "debian12 on aarch64",
    );
    expect(await planned("debian12", "aarch64", { builder: "aarch64" })).toBe("debian12 on aarch64");
  });

  test("is emulated where there are none", async () => {
    const emulated = new Set<ArchitectureName>(["aarch64"]);

    expect(await planned("ubuntu22.04", "aarch64", { emulated })).toBe("ubuntu22.04 on aarch64");
  });

  test.each([
    ["ubuntu22.04", {}, "the image ubuntu22.04 has no cross compiler"],
    ["debian12", { isCrossWanted: false }, "cross compilers are disabled"],
  ])("cannot be where this machine does not run the programs: %s", async (release, changes, fact) => {
    await expect(planned(release, "aarch64", changes)).rejects.toThrow(
      expect.objectContaining({
        code: "ARCHITECTURE_UNAVAILABLE",
        message: `${fact}, and this x86_64 machine cannot run aarch64 programs`,
      }),
    );
  });

  test("is refused for a compiler that its image does not offer", async () => {
    await expect(planned("debian12", "x86_64", {}, { ...GCC12, version: "8.5.0" })).rejects.toThrow(
      expect.objectContaining({ code: "COMPILER_UNAVAILABLE" }),
    );
    expect(
      await planned("debian12", "x86_64", { compilers: "nearest" }, { ...GCC12, version: "8.5.0" }),
    ).toBe("debian12 on x86_64");
  });

  test("that cannot be made is tried once, for however many kernels", async () => {
    const { toolchains } = await openToolchains();
    const wanted = { release: "debian12", architecture: "x86_64", compiler: GCC12 } as const;

    const first = await toolchains.root(wanted).catch((thrown: unknown) => thrown);
    const second = await toolchains.root(wanted).catch((thrown: unknown) => thrown);

    expect(first).toMatchObject({ code: "FILE_UNREADABLE" });
    // The very same fault, and not another of its kind.
    expect(second).toBe(first);
  });
});
