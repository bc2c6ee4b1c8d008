import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readKernelModule } from "../formats/kernel-module.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { growTree, leafOf, writeProof } from "../provenance/trees/linux-merkle.ts";
import { type AuditedFile, type AuditInput, auditFiles, type ModuleFacts, unread } from "./audit.ts";
import { findings, unjudged } from "./audit-findings.ts";

const read = (name: string) => readFileSync(new URL(`../../test/fixtures/modules/${name}`, import.meta.url));
const CRC7 = read("crc7.ko");
const RELEASE = "6.1.0-56-amd64";
const KERNEL = `lib/modules/${RELEASE}/kernel`;

/** The same module with other bytes in place of some, at their first place. */
function patched(from: string, to: string, bytes = CRC7) {
  const changed = Buffer.from(bytes);
  const at = changed.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error(`${from} cannot be patched`);
  changed.write(to, at, "latin1");
  return changed;
}

async function found(files: readonly AuditInput[], context = {}) {
  const audited = await auditFiles(files, () => undefined);
  return findings(audited, { builtin: new Map(), exports: new Map(), ...context }).map(
    ({ path, kind, fact }) => [kind, path, fact],
  );
}
const at = (path: string, bytes: Buffer = CRC7): AuditInput => ({ path, bytes });

describe("audit", () => {
  test("has nothing against a module where it belongs", async () => {
    expect(
      await found([
        at(`${KERNEL}/lib/crc7.ko`),
        at(`${KERNEL}/lib/crc7.ko.gz`.replace("lib/m", "x/lib/m"), gzipSync(CRC7)),
      ]),
    ).toEqual([]);
  });

  test("reads the kernel out of names of Ubuntu's, with their revision and series", async () => {
    const module = patched("vermagic=6.1.0-56-amd64", "vermagic=5.15.0-102-aws");
    const named = (kernel: string) => at(`4.0.0+driver/x86_64/falco_ubuntu-aws_${kernel}.ko`, module);

    expect(await found([named("5.15.0-102-aws_112~20.04.1")])).toEqual([]);
    expect(await found([named("5.15.0-103-aws_113~20.04.1")])).toEqual([
      ["wrongKernel", expect.stringContaining("103-aws"), expect.stringContaining("5.15.0-102-aws")],
    ]);
  });

  test("says of a page of HTML under a module's name only that it is damaged", async () => {
    const page = Buffer.from("<!DOCTYPE html><title>404 Not Found</title>");

    const kinds = await found([at(`${KERNEL}/a.ko.gz`, page), at(`${KERNEL}/b.ko`, page)]);

    expect(kinds.map(([kind]) => kind)).toEqual(["damaged", "damaged"]);
  });

  test("knows from a System.map which symbols a kernel lacks", async () => {
    const path = `${KERNEL}/lib/crc7.ko`;
    const exportsOf = (...names: string[]) => ({ exports: new Map([[RELEASE, new Set(names)]]) });
    const { imports } = readKernelModule(CRC7, "crc7.ko");

    expect(imports.length).toBeGreaterThan(0);
    expect(await found([at(path)], exportsOf(...imports))).toEqual([]);
    expect(await found([at(path)], exportsOf(...imports.slice(1)))).toEqual([
      [
        "cannotLoad",
        path,
        `it needs the symbol ${imports[0]}, which neither ${RELEASE} nor its modules export`,
      ],
    ]);
  });

  test("knows the kernel from the place that all lie below", async () => {
    const [module] = await auditFiles([at("kernel/lib/crc7.ko")], () => undefined, `/lib/modules/${RELEASE}`);
    const [stranger] = await auditFiles([at("kernel/lib/crc7.ko")], () => undefined, "/srv/drivers");

    expect([module?.claim?.release, stranger?.claim]).toEqual([RELEASE, undefined]);
  });

  test("finds nothing wrong with a file that could not be read", () => {
    const files = ["a.ko", "b.ko"].map((path) => unread(path, "it cannot be read (EIO)"));

    expect(findings(files, { builtin: new Map(), exports: new Map() })).toEqual([]);
  });

  test("says of damaged files only that, though all of them are empty", async () => {
    const empty = ["a.ko", "b.ko", "c.ko"].map((name) => at(`${KERNEL}/${name}`, Buffer.alloc(0)));

    expect((await found(empty, { kernels: new Set(["6.1.0-1-amd64"]) })).map(([kind]) => kind)).toEqual([
      "damaged",
      "damaged",
      "damaged",
    ]);
  });

  test.each([
    ["crc7.ko", gzipSync(CRC7), "it is compressed as gz, contrary to its name"],
    ["crc7.ko.xz", gzipSync(CRC7), "it is compressed as gz, contrary to its name"],
    ["crc7.ko.gz", CRC7, "it is not compressed, contrary to its name"],
  ])("tells of %s with other bytes than its name says", async (name, bytes, fact) => {
    expect(await found([at(`${KERNEL}/${name}`, bytes)])).toEqual([["misnamed", `${KERNEL}/${name}`, fact]]);
  });

  test("tells of an unsigned module among signed ones", async () => {
    const signed = (name: string) => {
      const module = patched("name=crc7", `name=${name}`);
      return at(`${KERNEL}/${name}.ko`, module);
    };
    const stripped = at(
      `${KERNEL}/crcd.ko`,
      Buffer.from(splitSignature(patched("name=crc7", "name=crcd"), "").content),
    );

    expect(await found([signed("crca"), signed("crcb"), stripped])).toEqual([
      [
        "unsigned",
        stripped.path,
        expect.stringMatching(/^it is not signed, but the other modules of .* are/),
      ],
    ]);
    expect(await found([stripped])).toEqual([]);
  });

  test("takes a module that its owner signed for what it is", async () => {
    const own = (name: string) => at(`${KERNEL}/${name}.ko`, patched("name=crc7", `name=${name}`));
    const signedByOther = await auditFiles([own("crca"), own("crcb"), own("crcd")], () => undefined);
    const [first, ...others] = signedByOther;
    const foreign = (isInTree: boolean) => ({
      ...(first as AuditedFile),
      facts: { ...(first as AuditedFile).facts, isInTree, signer: "owner" } as ModuleFacts,
    });
    const kinds = (isInTree: boolean) =>
      findings([foreign(isInTree), ...others], { builtin: new Map(), exports: new Map() }).map(
        ({ kind }) => kind,
      );

    expect([kinds(false), kinds(true)]).toEqual([[], ["wrongKernel"]]);
  });

  test("takes a view's module and its compressed shape for one", async () => {
    const view = `view/bell/1.0/debian12/x86_64/${RELEASE}_6.1.170-3`;
    const twice = [at(`${view}/crc7.ko`), at(`${view}/crc7.ko.gz`, gzipSync(CRC7))];

    expect(await found(twice)).toEqual([]);
    expect(await found(twice.map(({ path, bytes }) => at(path.replace(view, KERNEL), bytes)))).toHaveLength(
      1,
    );
  });

  test.each<[string, AuditInput, string, RegExp]>([
    ["cut off", at(`${KERNEL}/crc7.ko`, CRC7.subarray(0, 3000)), "damaged", /./],
    [
      "longer than it is",
      at(`${KERNEL}/crc7.ko`, Buffer.concat([CRC7, Buffer.from("more")])),
      "damaged",
      /follow/,
    ],
    ["signed twice", at(`${KERNEL}/crc7.ko`, Buffer.concat([CRC7, CRC7.subarray(-500)])), "damaged", /./],
    ["compressed and damaged", at(`${KERNEL}/crc7.ko.gz`, gzipSync(CRC7).subarray(0, 900)), "damaged", /./],
    [
      "no module",
      at(`${KERNEL}/crc7.ko`, Buffer.from("text")),
      "damaged",
      /shorter than an ELF header|not ELF/,
    ],
    ["of another name", at(`${KERNEL}/crc8.ko`), "misnamed", /it contains the module crc7/],
    [
      "of another kernel",
      at("lib/modules/6.1.0-55-amd64/crc7.ko"),
      "wrongKernel",
      /built for 6\.1\.0-56-amd64, not for 6\.1\.0-55-amd64/,
    ],
    [
      "of another architecture",
      at(`1.0/debian12/aarch64/${RELEASE}/crc7.ko`),
      "wrongKernel",
      /for x86_64, not for aarch64/,
    ],
  ])("tells of a module that is %s", async (_, input, kind, fact) => {
    expect(await found([input])).toEqual([[kind, input.path, expect.stringMatching(fact)]]);
  });

  test("tells of one that the others of its kernel disagree with", async () => {
    const others = ["a", "b", "c"].map((name) =>
      at(`${KERNEL}/crc${name}.ko`, patched("name=crc7", `name=crc${name}`)),
    );
    const flags = at(`${KERNEL}/crc7.ko`, patched("SMP preempt ", "SMP PREEMPT "));

    expect(await found([...others, flags])).toEqual([
      [
        "wrongKernel",
        flags.path,
        expect.stringMatching(/its vermagic is ".* SMP PREEMPT .*, but that of the other modules/),
      ],
    ]);
  });

  test("tells of doubles", async () => {
    const twice = [at(`${KERNEL}/lib/crc7.ko`), at(`lib/modules/${RELEASE}/updates/crc7.ko`)];
    const another = at(`lib/modules/${RELEASE}/updates/crc7.ko`, patched("retpoline=", "Retpoline="));

    expect(await found(twice)).toEqual([
      ["duplicate", twice[1]?.path, `it is identical to ${twice[0]?.path}`],
    ]);
    expect(await found([twice[0] as AuditInput, another])).toEqual([
      ["duplicate", another.path, `${twice[0]?.path} is also the module crc7`],
    ]);
  });

  test("tells of kernels that are not there, once for each, where somebody knows what is there", async () => {
    const files = [at(`${KERNEL}/lib/crc7.ko`)];

    expect(await found(files, { kernels: new Set([RELEASE]) })).toEqual([]);
    expect(await found(files, { kernels: new Set(["6.1.0-55-amd64"]) })).toEqual([
      ["noKernel", files[0]?.path, `there is no kernel ${RELEASE}`],
    ]);
  });

  test("tells of a module whose dependency a whole tree lacks", async () => {
    const thermal = read("processor_thermal_power_floor.ko");
    const path = "lib/modules/6.12.107+deb13-cloud-amd64/kernel/processor_thermal_power_floor.ko";
    const builtin = (...names: string[]) => ({
      builtin: new Map([["6.12.107+deb13-cloud-amd64", new Set(names)]]),
    });

    expect(await found([at(path, thermal)])).toEqual([]);
    expect(await found([at(path, thermal)], builtin("processor_thermal_mbox"))).toEqual([]);
    expect(await found([at(path, thermal)], builtin())).toEqual([
      ["cannotLoad", path, expect.stringMatching(/needs the module processor_thermal_mbox/)],
    ]);
  });

  describe.each([
    // 6.1.192-2 is the package version of 6.1.0-56.
    ["driver/4.0.0+driver/x86_64/falco_debian_6.1.192-2-amd64_1.ko", "possible"],
    ["driver/4.0.0+driver/x86_64/falco_debian_6.1.0-56-amd64_1.ko", "same"],
    ["driver/4.0.0+driver/x86_64/falco_debian_6.1.192-2-cloud-amd64_1.ko", "other"],
    ["driver/4.0.0+driver/x86_64/falco_debian_5.10.223-1-amd64_1.ko", "other"],
    ["driver/4.0.0+driver/aarch64/falco_debian_6.1.192-2-amd64_1.ko", "other"],
    ["driver/4.0.0+driver/x86_64/falco_ubuntu-aws_5.15.0-103-aws_113~20.04.1.ko", "other"],
    ["driver/4.0.0+driver/x86_64/falco_centos_3.10.0-1160.el7.x86_64_1.ko", "other"],
    ["4.0.0/collector-6.1.0-56-amd64.ko.gz", "same"],
    ["4.0.0/collector-6.1.0-55-amd64.ko.gz", "other"],
    ["sysdig-probe-0.26.7-x86_64-6.1.0-56-amd64-0123456789abcdef0123456789abcdef.ko", "same"],
    ["sysdig-probe-0.26.7-x86_64-6.1.0-55-amd64-0123456789abcdef0123456789abcdef.ko", "other"],
    ["dkms/crc7/1.0/6.1.0-56-amd64/x86_64/module/crc7.ko", "same"],
    ["lib/modules/6.1.0-57-amd64/weak-updates/crc7.ko", "possible"],
    ["probes/6.1.0-56-amd64/crc7-6.1.0-55-amd64.ko", "possible"],
  ])("of a module for 6.1.0-56-amd64 as %s", (path, fit) => {
    test(`says ${fit === "other" ? "wrong kernel" : fit === "same" ? "nothing" : "that it cannot be judged"}`, async () => {
      const input = at(path, path.endsWith(".gz") ? gzipSync(CRC7) : CRC7);
      const audited = await auditFiles([input], () => undefined);

      expect((await found([input])).map(([kind]) => kind)).toEqual(fit === "other" ? ["wrongKernel"] : []);
      expect(unjudged(audited).map((one) => one.path)).toEqual(fit === "possible" ? [path] : []);
    });
  });

  test("takes one module under several names of a bucket for one kernel", async () => {
    const names = ["debian_6.1.192-2-amd64", "debian_6.1.0-56-amd64"];

    expect(await found(names.map((name) => at(`1.0/x86_64/falco_${name}_1.ko`)))).toEqual([]);
  });

  test("only looks at what is no claim of a place", async () => {
    expect(await found([at("crc7.ko")])).toEqual([]);
    expect(await found([at("crc8.ko")])).toEqual([["misnamed", "crc8.ko", "it contains the module crc7"]]);
  });
});

test("a module with a Merkle proof is judged by the root in its kernel's boot image, and by nothing else", async () => {
  const { content } = splitSignature(CRC7, "crc7.ko");
  const tree = growTree([leafOf(0, content), leafOf(1, Buffer.from("another"))]);
  const proven = Buffer.concat([content, writeProof(tree.proof(0))]);
  const astray = Buffer.concat([content, writeProof(tree.proof(1))]);
  const path = `${KERNEL}/lib/crc7.ko`;
  const wordsOf = async (bytes: Buffer, root?: typeof tree.root) => {
    const trustedBy = () => (root === undefined ? undefined : { signers: [], root });
    const audited = await auditFiles([at(path, bytes)], trustedBy);
    const context = { builtin: new Map(), exports: new Map() };
    return [...findings(audited, context), ...unjudged(audited)].map((one) =>
      "fact" in one ? one.fact : one.why,
    );
  };

  expect(await wordsOf(proven, tree.root)).toEqual([]);
  expect(await wordsOf(astray, tree.root)).toEqual([expect.stringContaining("does not lead to the root")]);
  expect(await wordsOf(proven)).toEqual([expect.stringContaining("in no boot image next to it")]);
});
