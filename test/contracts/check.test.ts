/** Every check on one real module, signed by a key of ours; and on bytes that nobody wrote. */
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/base/json.ts";
import type { CheckSubject, Rebuilds, Stated } from "../../src/check/checks/check.ts";
import { CHECK_NAMES, CHECKS, type CheckName, checkNamed, verdictsOn } from "../../src/check/checks/index.ts";
import { openModuleFiles } from "../../src/check/opened-modules.ts";
import { readSigner } from "../../src/check/signature.ts";
import { type KernelModule, readKernelModule } from "../../src/formats/kernel-module.ts";
import type { KernelRecord } from "../../src/inputs/kernel-record.ts";
import { readKernelConfig } from "../../src/kernel/kernel-config.ts";
import { damaged, randomFrom } from "../support/damage.ts";
import { makeListedKernel, makeSource } from "../support/kernels.ts";
import { MODULES, signedModule } from "../support/readers.ts";
import {
  BUILDER,
  IDENTITY,
  makeBuild,
  makeFailure,
  makeRebuild,
  makeSigner,
  makeStatement,
} from "../support/statements.ts";
import { makeVerdict } from "../support/verdicts.ts";
import { type CheckTruths, checkContract, type NamedSubject } from "./check.ts";

/** One that imports symbols, with their CRCs. */
const FIXTURE = MODULES.find((one) => (readKernelModule(one, "x.ko").versions?.size ?? 0) > 1);
const { der, module: bytes } = signedModule(FIXTURE);
const SIGNER = readSigner(der, "test");
const MODULE = readKernelModule(bytes, "x.ko");
const NAME = `${MODULE.name}.ko`;
const { packages } = makeListedKernel();

/** The kernel that the module is for, as the module itself says it. */
function kernelOf({
  architecture,
  vermagic,
  buildSalt,
  compilers,
  imports,
  versions,
}: KernelModule): KernelRecord {
  const version = /(\d+\.\d+\.\d+)[^.\d]*$/.exec(compilers[0] ?? "")?.[1] ?? "";
  const symbols = new Map(
    [...imports, "module_layout"].map((name) => [
      name,
      { crc: versions?.get(name) ?? 0, exportedBy: "vmlinux", gplOnly: false, namespace: "" },
    ]),
  );
  return {
    ...{ architecture, vermagic, hasVmlinux: true },
    ...(buildSalt === undefined ? {} : { buildSalt }),
    config: readKernelConfig("CONFIG_MODVERSIONS=y\nCONFIG_MODULE_SIG=y\n"),
    compiler: { family: "gcc", version, source: "config" },
    symvers: { symbols, hasVersions: versions !== undefined },
  };
}

const KERNEL = kernelOf(MODULE);
const BUILDS = makeSigner();
const BUILD = {
  identity: IDENTITY,
  modules: [{ name: MODULE.name, digest: sha256(bytes) }],
  materials: makeBuild(),
};
const STATED: Stated = {
  bundles: [Buffer.from(BUILDS.sign(makeStatement(BUILD.modules)))],
  builders: [{ id: BUILDER, key: BUILDS.key }],
  build: BUILD,
  of: [{ module: MODULE.name, sha256: sha256(bytes) }],
};
const AGAIN = makeSigner();
const REBUILDS: Rebuilds = {
  bundles: [Buffer.from(AGAIN.sign(makeRebuild("urn:example:again", BUILD.modules)))],
  artifact: { ...BUILD, builders: STATED.builders, firstKeys: new Set([BUILDS.key.fingerprint]) },
  rule: { of: 1, by: [AGAIN.key], notTheBuilder: true },
  of: STATED.of,
};
const GOOD: CheckSubject = {
  files: await openModuleFiles([{ name: NAME, bytes }]),
  kernel: KERNEL,
  keys: { signers: [SIGNER], own: [] },
  origin: {
    kind: "built",
    used: packages.headers,
    listed: packages,
    sources: [makeSource({ id: "debian/bookworm" })],
  },
  stated: STATED,
  loaded: makeVerdict("load", "pass", "inserted and removed, twice"),
  rebuilds: REBUILDS,
};

const withKernel = (name: string, changes: Partial<Record<keyof KernelRecord, unknown>>): NamedSubject => ({
  name,
  subject: { ...GOOD, kernel: { ...KERNEL, ...changes } as KernelRecord },
});
const withOther = (name: string, changes: Partial<Record<keyof CheckSubject, unknown>>): NamedSubject => ({
  name,
  subject: { ...GOOD, ...changes } as CheckSubject,
});
const withFiles = async (name: string, file: string, content: Buffer): Promise<NamedSubject> => ({
  name,
  subject: { ...GOOD, files: await openModuleFiles([{ name: file, bytes: content }]) },
});

const spoilt = Buffer.from(bytes);
spoilt.writeUInt8((spoilt[bytes.indexOf("license=") + 8] ?? 0) ^ 1, bytes.indexOf("license=") + 8);

/** Of each check: in what a set can be wrong for it, and what it cannot know. */
const TRUTHS: Readonly<Record<CheckName, Pick<CheckTruths, "bad" | "open">>> = {
  format: {
    bad: [
      await withFiles("cut off", NAME, bytes.subarray(0, 1000)),
      await withFiles("another's name", "other.ko", bytes),
      await withFiles("not compressed as it says", `${NAME}.xz`, bytes),
    ],
    open: [withOther("no files", { files: [] })],
  },
  identity: {
    bad: [
      withKernel("another vermagic", { vermagic: "6.1.0-1 SMP " }),
      withKernel("another architecture", {
        architecture: MODULE.architecture === "x86_64" ? "aarch64" : "x86_64",
      }),
      withKernel("another build salt", { buildSalt: "another" }),
      withOther("another version", { moduleVersion: "9.9.9" }),
    ],
    open: [
      withKernel("no vermagic known", { vermagic: undefined }),
      withKernel("neither CRCs nor salt", { config: readKernelConfig(""), buildSalt: "" }),
    ],
  },
  environment: {
    bad: [
      withKernel("another major version", {
        compiler: { family: "gcc", version: "4.8.5", source: "config" },
      }),
      withKernel("another family", { compiler: { family: "clang", version: "12.0.0", source: "config" } }),
    ],
    open: [withKernel("no compiler known", { compiler: undefined })],
  },
  symbols: {
    bad: [withKernel("no symbols", { symvers: { symbols: new Map(), hasVersions: true } })],
    open: [withKernel("no Module.symvers", { symvers: undefined })],
  },
  signature: {
    bad: [
      withOther("by a key that is not known", { keys: { signers: [], own: [] } }),
      await withFiles("of other bytes", NAME, spoilt),
    ],
    open: [
      withOther("keys that nobody has seen", {
        keys: { signers: [], own: [], gap: "its boot image is nowhere" },
      }),
      withOther("nobody looked for keys", { keys: undefined }),
    ],
  },
  provenance: {
    bad: [
      withOther("of another module", {
        stated: { ...STATED, build: { ...BUILD, modules: [{ name: "other", digest: sha256(bytes) }] } },
      }),
      withOther("no bundle", { stated: { ...STATED, bundles: [Buffer.from("{}")] } }),
    ],
    open: [
      withOther("imported", {
        origin: { kind: "imported", by: "ann", why: "ticket 7" },
        stated: { ...STATED, bundles: [] },
      }),
      withOther("of packages that nobody vouches for", { origin: { ...GOOD.origin, sources: [] } }),
      withOther("of a kernel that is not listed", { origin: { ...GOOD.origin, listed: undefined } }),
      withOther("by nobody that is known", { stated: { ...STATED, builders: [] } }),
      withOther("nobody says", { stated: undefined }),
    ],
  },
  load: {
    bad: [withOther("refused", { loaded: makeVerdict("load", "fail", "the kernel oopsed") })],
    open: [
      withOther("not tried", { loaded: undefined }),
      withOther("a silent guest", { loaded: makeVerdict("load", "unknown", "the guest said nothing") }),
    ],
  },
  reproducible: {
    bad: [
      withOther("other bytes", {
        rebuilds: { ...REBUILDS, bundles: [Buffer.from(AGAIN.sign(makeFailure(BUILD.modules)))] },
      }),
    ],
    open: [
      withOther("nobody built it again", { rebuilds: undefined }),
      withOther("nobody who counts did", { rebuilds: { ...REBUILDS, rule: { ...REBUILDS.rule, by: [] } } }),
      withOther("too few did", { rebuilds: { ...REBUILDS, rule: { ...REBUILDS.rule, of: 2 } } }),
      withOther("damaged", { rebuilds: { ...REBUILDS, bundles: [Buffer.from("{}")] } }),
    ],
  },
};

const random = randomFrom(20_261_129);
const HOSTILE = await Promise.all(
  Array.from({ length: 120 }, (_, index) => withFiles(`damaged ${index}`, NAME, damaged(bytes, random))),
);

describe.each(CHECKS.map((check) => ({ name: check.name, check })))("the check $name", ({ name, check }) => {
  checkContract({ check, good: GOOD, ...TRUTHS[name] }, HOSTILE);
});

describe("all checks", () => {
  test("have sets to fail", () => {
    expect(CHECK_NAMES.filter((name) => TRUTHS[name].bad.length === 0)).toEqual([]);
  });

  test("have names of their own, by which they are found", () => {
    expect(new Set(CHECK_NAMES).size).toBe(CHECKS.length);
    for (const check of CHECKS) expect(checkNamed(check.name)).toBe(check);
    expect(checkNamed("constructor")).toBeUndefined();
  });

  test("say of a good set that it is good, and name the bytes that they saw", () => {
    const said = verdictsOn(GOOD);

    expect(said.map(({ check, verdict: word }) => [check, word])).toEqual(
      CHECK_NAMES.map((name) => [name, "pass"]),
    );
    for (const { check, of } of said) if (checkNamed(check)?.isOfFiles) expect(of).toHaveLength(1);
  });

  test("say nothing of modules where a file is none", async () => {
    const { subject } = await withFiles("no module", NAME, Buffer.from("junk"));
    const said = verdictsOn({ files: subject.files, kernel: KERNEL, keys: { signers: [], own: [] } });

    expect(said.map(({ check, verdict: word }) => [check, word])).toEqual([["format", "fail"]]);
  });
});
