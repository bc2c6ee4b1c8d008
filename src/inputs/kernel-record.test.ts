import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeKernel } from "../../test/support/kernels.ts";
import { temporaryDirectory } from "../../test/support/temporary.ts";
import { sha256 } from "../base/json.ts";
import { factsByKernel, factsOf, KernelFacts } from "../kernel/facts.ts";
import type { Inputs } from "./inputs.ts";
import { factsOfRecord, fetchKernelRecord } from "./kernel-record.ts";

const KERNEL = makeKernel();
const CONFIG = `CONFIG_SMP=y
CONFIG_MODULE_UNLOAD=y
CONFIG_BUILD_SALT="6.1.0-56-amd64"
CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"
`;
const SYMVERS = "0x12345678\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n";
const FILES = {
  ".config": CONFIG,
  "Module.symvers": SYMVERS,
  "include/generated/utsrelease.h": '#define UTS_RELEASE "6.1.0-56-amd64"\n',
  "include/generated/uapi/linux/version.h": "#define LINUX_VERSION_CODE 393642\n",
};

/** Headers with these files, wherever somebody asks for some. */
async function inputsWith(files: Readonly<Record<string, string>>): Promise<Inputs> {
  const tree = await temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    const file = join(tree, `usr/src/linux-headers-${KERNEL.kversion}`, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
  const record = { name: `linux-headers-${KERNEL.kversion}` };
  return { unpackAll: async () => [{ tree, record }] } as unknown as Inputs;
}

const factsIn = async (files: Readonly<Record<string, string>>) =>
  factsOfRecord(KERNEL, await fetchKernelRecord(KERNEL, await inputsWith(files)));

describe("what headers say of their kernel", () => {
  test("is kept, without what only they themselves can hold", async () => {
    const facts = await factsIn(FILES);

    expect(facts?.headers).toEqual({
      of: expect.stringMatching(/^sha256:/),
      compiler: { family: "gcc", version: "12.2.0", source: "config" },
      release: "6.1.0-56-amd64",
      vermagic: "6.1.0-56-amd64 SMP mod_unload ",
      buildSalt: "6.1.0-56-amd64",
      configuration: sha256(CONFIG),
      symvers: sha256(SYMVERS),
      upstream: "6.1.170",
      hasVmlinux: false,
    });
    expect(KernelFacts.parse(facts)).toEqual(facts);
    expect(factsOf(factsByKernel([facts as KernelFacts]), KERNEL)).toHaveProperty("headers");
  });

  test("is as little as they say", async () => {
    expect(await factsIn({})).toMatchObject({ headers: { hasVmlinux: false } });
    expect(Object.keys((await factsIn({}))?.headers ?? {})).toEqual(["of", "hasVmlinux"]);
  });

  // Each would stand in the manifest of every module, or hold up the one thread that watches all builds.
  test.each<[string, Record<string, string>, readonly string[]]>([
    [
      "a release",
      { "include/generated/utsrelease.h": `#define UTS_RELEASE "${"\u0001".repeat(5000)}"\n` },
      ["release", "vermagic"],
    ],
    ["a build salt", { ".config": `CONFIG_BUILD_SALT="${"s".repeat(5000)}"\n` }, ["buildSalt"]],
    [
      "a seed",
      { "include/generated/randstruct_hash.h": `#define RANDSTRUCT_HASHED_SEED "${"0".repeat(1024)}"\n` },
      ["vermagic"],
    ],
    [
      "a configuration",
      { ".config": "CONFIG_A=y\n".repeat(200_000) },
      ["config", "configDigest", "vermagic", "buildSalt"],
    ],
  ])("is nothing of %s that is longer than any", async (_, files, unknown) => {
    const record = await fetchKernelRecord(KERNEL, await inputsWith({ ...FILES, ...files }));

    for (const name of unknown) expect(record).not.toHaveProperty(name);
    expect(record).toHaveProperty("symversDigest");
  });

  test("is left out where it is more than anybody keeps", async () => {
    const facts = await factsIn({
      ...FILES,
      "include/generated/utsrelease.h": `#define UTS_RELEASE "${"6".repeat(5000)}"\n`,
    });

    expect(Object.keys(facts?.headers ?? {})).not.toContain("release");
    expect(Object.keys(facts?.headers ?? {})).not.toContain("vermagic");
    expect(facts?.headers).toMatchObject({ upstream: "6.1.170" });
    expect(KernelFacts.parse(facts)).toEqual(facts);
  });
});
