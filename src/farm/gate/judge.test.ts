import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeListedKernel, makePackage, makeSource } from "../../../test/support/kernels.ts";
import { MODULES, signedModule } from "../../../test/support/readers.ts";
import { temporaryDirectory } from "../../../test/support/temporary.ts";
import { FarmError } from "../../base/error.ts";
import type { ErrorCode } from "../../base/error-codes.ts";
import { openScratch } from "../../base/scratch.ts";
import type { Origin } from "../../check/checks/check.ts";
import type { BootContext } from "../../check/guest/boot-image.ts";
import { keep } from "../../check/guest/kept.ts";
import { readSigner } from "../../check/signature.ts";
import { readKernelModule } from "../../formats/kernel-module.ts";
import { splitSignature } from "../../formats/module-signature.ts";
import { type PackageSignature, refused } from "../../inputs/package-signature.ts";
import type { Package } from "../../kernel/kernel.ts";
import { gatherSubject, type JudgeRequest, judgeModules, withSignatures } from "./judge.ts";

const { der, module: signed } = signedModule();
const { name } = readKernelModule(signed, "x.ko");
const unsigned = splitSignature(signed, "x.ko").content;

/** A machine on which nothing can be fetched; whoever tries is found out. */
const fetched: string[] = [];
const NOWHERE = new Proxy({} as BootContext, {
  get(_, key) {
    fetched.push(String(key));
    throw new Error("nothing is to be fetched here");
  },
});

async function judged(bytes: Uint8Array, changes: Partial<JudgeRequest> = {}) {
  const files = [{ name: `${name}.ko`, bytes: Buffer.from(bytes) }];
  const kernel = { architecture: readKernelModule(signed, "x.ko").architecture };
  const request = { files, kernel, packages: { image: [] }, signers: [], ...changes };
  const verdicts = await judgeModules(request, NOWHERE);
  const { verdict, reasons } = verdicts.find(({ check }) => check === "signature") ?? { reasons: [] };
  return [verdict, ...reasons.map(({ code }) => code)];
}

test("a key that cannot be looked for leaves a signature unknown, and is no failure", async () => {
  expect(MODULES.length).toBeGreaterThan(0);
  expect(await judged(signed)).toEqual(["unknown", "unknownKey", "keysUnknown"]);
  expect(await judged(signed, { signers: [readSigner(der, "test")] })).toEqual(["pass", "signed"]);
});

test("nothing is fetched for what is not signed", async () => {
  const image = [makePackage({ name: "linux-image" })];

  expect(await judged(unsigned, { packages: { image } })).toEqual(["notApplicable", "unsigned"]);
  expect(fetched).toEqual([]);
  await expect(judged(signed, { packages: { image } })).rejects.toThrow("nothing is to be fetched here");
});

test("what a boot image says is learned of unsigned modules too, where it alone tells the kernel", async () => {
  const directory = await temporaryDirectory();
  const scratch = await openScratch(join(directory, "scratch"));
  const image = makePackage({ name: "kernel-core" });
  const said = JSON.stringify({ version: "#1 SMP Tue Nov 5 10:01:02 UTC 2026", certificates: [] });
  await mkdir(join(directory, "boot"));
  await keep(join(directory, "boot", `${image.sha256}-says.json`), said, scratch);
  const context = { inputs: {} as BootContext["inputs"], scratch, cache: directory };
  const learned = async (changes: Partial<JudgeRequest>) => {
    const found: unknown[] = [];
    const request = {
      ...{ files: [{ name: `${name}.ko`, bytes: Buffer.from(unsigned) }], packages: { image: [image] } },
      ...{ kernel: { architecture: "x86_64" as const }, signers: [] },
      learn: ({ version }: { version?: string | undefined }) => found.push(version),
    };
    const subject = await gatherSubject({ ...request, ...changes }, context);
    expect(subject.keys).toEqual({ signers: [], own: [] });
    return found;
  };

  expect(await learned({})).toEqual([]);
  expect(await learned({ saysAlone: true })).toEqual(["#1 SMP Tue Nov 5 10:01:02 UTC 2026"]);
  await scratch.close();
});

describe("packages' own signatures", () => {
  const { packages } = makeListedKernel();
  const repository = makeSource({ id: "debian/bookworm", kind: "rpm-md" });
  const origin = (isUnsigned: boolean, signers: readonly string[] = ["A".repeat(40)]): Origin => ({
    ...{ kind: "built", used: Object.values(packages).flat(), listed: packages, signers },
    sources: [{ ...repository, ...(isUnsigned ? { unsigned: true as const } : {}) }],
  });
  const signedPackage = ({ name, version, architecture }: Package): PackageSignature => ({
    ...{ kind: "signed", key: "A".repeat(40), header: "0".repeat(64), payload: "0".repeat(64) },
    ...{ name, version, architecture, releases: [] },
  });

  async function asked(of: Origin, answer: (one: Package) => PackageSignature | ErrorCode) {
    const read: string[] = [];
    const found = await withSignatures(of, {
      async signatureOf(one) {
        read.push(one.name);
        const said = answer(one);
        if (typeof said === "string") throw new FarmError(said, { detail: "so it is" });
        return said;
      },
    });
    return { read, signatures: found.kind === "built" ? found.signatures : undefined };
  }

  test("are read where nobody else vouches, each once, whatever the packages are for", async () => {
    const { read, signatures } = await asked(origin(true), signedPackage);

    expect(read).toEqual([
      "linux-headers-6.1.0-56-amd64",
      "linux-kbuild-6.1",
      "linux-kbuild-6.1",
      "linux-image-6.1.0-56-amd64",
    ]);
    expect([...(signatures?.values() ?? [])].every(({ kind }) => kind === "signed")).toBe(true);
  });

  test("are not read where signed metadata vouches, nor where no key is known", async () => {
    expect((await asked(origin(false), signedPackage)).read).toEqual([]);
    expect((await asked(origin(true, []), signedPackage)).read).toEqual([]);
  });

  test("end with the first that proves nothing: no other package is fetched for it", async () => {
    const { read, signatures } = await asked(origin(true), () => refused("unsigned", "it is not signed"));

    expect(read).toHaveLength(1);
    expect([...(signatures?.values() ?? [])]).toEqual([refused("unsigned", "it is not signed")]);
  });

  test.each<ErrorCode>(["NOT_FETCHABLE", "PACKAGE_MALFORMED", "TOOL_MISSING", "UNVERIFIED"])(
    "of what cannot be had or read (%s) prove nothing",
    async (code) => {
      const { signatures } = await asked(origin(true), () => code);

      expect([...(signatures?.values() ?? [])]).toMatchObject([{ kind: "refused", why: "notRead" }]);
    },
  );

  test("a mirror that fails is its own failure, and no verdict", async () => {
    await expect(asked(origin(true), () => "REMOTE_UNAVAILABLE")).rejects.toThrow("so it is");
  });

  test("that are good are told, to be kept with the kernel", async () => {
    const learned: unknown[] = [];
    const context = {
      inputs: { signatureOf: async (one: Package) => signedPackage(one) },
    } as unknown as BootContext;
    const kernel = { architecture: "x86_64" as const };
    await judgeModules(
      {
        ...{ files: [], kernel, packages, signers: [], origin: origin(true) },
        learnSigned: (some) => learned.push(...some),
      },
      context,
    );

    expect(learned).toHaveLength(4);
    expect(learned[0]).toEqual({
      ...{ name: "linux-headers-6.1.0-56-amd64", version: "6.1.170-3", sha256: packages.headers[0]?.sha256 },
      ...{ key: "A".repeat(40), header: "0".repeat(64), payload: "0".repeat(64) },
    });
  });
});
