import { describe, expect, test } from "vitest";
import { makeListedKernel, makePackage, makeSource } from "../../../test/support/kernels.ts";
import {
  BUILDER,
  IDENTITY,
  MODULES,
  makeBuild,
  makeSigner,
  makeStatement,
} from "../../../test/support/statements.ts";
import {
  judgeSignature,
  type PackageSignature,
  refused,
  SIGNATURE_FAULTS,
  type SignedPackage,
} from "../../inputs/package-signature.ts";
import type { Package } from "../../kernel/kernel.ts";
import type { VerdictWord } from "../verdict.ts";
import type { CheckSubject, Origin, Stated } from "./check.ts";
import { provenance } from "./provenance.ts";

const LIST = "kernel-crawler-x86_64/debian12";
const REPOSITORY = makeSource({ id: "debian/bookworm" });
const list = makeSource({ id: LIST, kind: "kernel-crawler" });
const { packages } = makeListedKernel();
const withStrange = {
  ...packages,
  headers: [...packages.headers, makePackage({ name: "linux-kbuild", source: LIST })],
};
const signer = makeSigner();
const STATED: Stated = {
  bundles: [Buffer.from(signer.sign(makeStatement()))],
  builders: [{ id: BUILDER, key: signer.key }],
  build: { identity: IDENTITY, modules: MODULES, materials: makeBuild() },
  of: [],
};

function judge(origin: Origin | undefined, stated: Partial<Stated> = {}) {
  const subject = {
    files: [],
    kernel: { architecture: "x86_64" },
    stated: { ...STATED, ...stated },
  } as const;
  return provenance.judge(origin === undefined ? subject : ({ ...subject, origin } satisfies CheckSubject));
}

describe("of what was built here", () => {
  const judgeBuilt = (
    listed: typeof packages | undefined,
    sources: readonly ReturnType<typeof makeSource>[],
    used: readonly Package[] = Object.values(listed ?? packages).flat(),
  ) => judge({ kind: "built", used, listed, sources });

  test("a statement, and packages of a repository, are known provenance", () => {
    expect(judgeBuilt(packages, [REPOSITORY, list])).toMatchObject({ verdict: "pass" });
  });

  test("a single package that only a list names makes it unknown, and says why and what helps", () => {
    const said = judgeBuilt(withStrange, [REPOSITORY, list]);

    expect(said).toMatchObject({
      check: "provenance",
      verdict: "unknown",
      reasons: [{ code: "unsignedList" }],
    });
    expect(said?.reasons[0]?.text).toMatch(/^only kernel-crawler.* vouches for linux-kbuild.*trusted: true/);
  });

  test("a list that a person vouches for, and said so, counts", () => {
    const trusted = makeSource({ id: LIST, kind: "kernel-crawler", trusted: true });

    expect(judgeBuilt(withStrange, [REPOSITORY, trusted])).toMatchObject({ verdict: "pass" });
  });

  // What a package says of its source is a claim; who wrote it knows the ids of all sources.
  test.each<[string, string, ReturnType<typeof judge>]>([
    [
      "other bytes than the catalog's",
      "unlisted",
      judgeBuilt(packages, [REPOSITORY], [makePackage({ name: "evil" })]),
    ],
    [
      "a package without a digest",
      "unlisted",
      judgeBuilt(packages, [REPOSITORY], [{ name: "evil" } as Package]),
    ],
    ["a kernel that the catalog does not list", "unlisted", judgeBuilt(undefined, [REPOSITORY])],
    ["a source that is not configured", "unlisted", judgeBuilt(packages, [])],
    ["an imported catalog", "unlisted", judgeBuilt(packages, [{ ...REPOSITORY, kind: "import" }])],
    [
      "a repository whose metadata nobody signed",
      "unsignedRepository",
      judgeBuilt(packages, [{ ...REPOSITORY, kind: "rpm-md", unsigned: true }]),
    ],
  ])("is unknown of %s", (_, code, said) => {
    expect(said).toMatchObject({ verdict: "unknown", reasons: [{ code }] });
  });

  test("nothing is known without a statement, whoever says that it was built here", () => {
    const origin = { kind: "built" as const, used: [], listed: packages, sources: [REPOSITORY] };

    expect(judge(origin, { bundles: [] })).toMatchObject({
      verdict: "unknown",
      reasons: [{ code: "noStatement" }],
    });
  });
});

describe("of packages that no signed metadata lists", () => {
  const KEY = "A".repeat(40);
  const kversion = IDENTITY.kernel.release;
  const unsigned = [{ ...REPOSITORY, kind: "rpm-md" as const, unsigned: true as const }];
  const used = Object.values(packages).flat();
  const by = (one: Package, changes: Partial<SignedPackage> = {}): [string, PackageSignature] => [
    one.sha256 ?? "",
    {
      ...{ kind: "signed", key: KEY, header: "0".repeat(64), payload: "0".repeat(64), releases: [kversion] },
      ...{ name: one.name, version: one.version, architecture: one.architecture, ...changes },
    },
  ];
  const judgeSigned = (
    signatures: ReadonlyMap<string, PackageSignature>,
    changes: Partial<Extract<Origin, { kind: "built" }>> = {},
  ) =>
    judge({
      ...{ kind: "built", used, listed: packages, sources: unsigned, signers: [KEY], signatures },
      ...changes,
    });
  const all = new Map(used.map((one) => by(one)));
  const [first] = used as [Package];
  const allBut = (changed: [string, PackageSignature]) => new Map([...all, changed]);

  test("their own signatures are known provenance, and by whom stands in the verdict", () => {
    const said = judgeSigned(all);

    expect(said).toMatchObject({
      verdict: "pass",
      reasons: [{ code: "stated" }, { code: "signedPackages", text: expect.stringContaining(`by ${KEY}`) }],
    });
    expect(said?.reasons[1]?.text).toContain(first.name);
  });

  test("nor of a list, nor of another farm's catalog, count likewise", () => {
    for (const kind of ["kernel-crawler", "import"] as const)
      expect(judgeSigned(all, { sources: [{ ...REPOSITORY, kind }] })).toMatchObject({ verdict: "pass" });
    expect(judgeSigned(all, { sources: [] })).toMatchObject({ verdict: "pass" });
  });

  test("nothing is said of signatures where signed metadata vouches", () => {
    expect(judgeSigned(new Map(), { sources: [REPOSITORY] })).toEqual(
      judge({ kind: "built", used, listed: packages, sources: [REPOSITORY] }),
    );
  });

  test.each<[string, VerdictWord, string, ReturnType<typeof judge>]>([
    [
      "one that nobody signed",
      "unknown",
      "unsigned",
      judgeSigned(allBut([first.sha256 ?? "", refused("unsigned", "it is not signed")])),
    ],
    ["one that was not read", "unknown", "notRead", judgeSigned(new Map([...all].slice(1)))],
    [
      "one signed by another release's key",
      "unknown",
      "strangeKey",
      judgeSigned(all, { signers: ["B".repeat(40)] }),
    ],
    [
      "an older version under a newer one's name",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { version: "6.1.1-1" }))),
    ],
    [
      "another package under this one's name",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { name: "kernel-debug-devel" }))),
    ],
    [
      "another architecture's",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { architecture: "aarch64" }))),
    ],
    [
      "one with an epoch",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { version: `1:${first.version}` }))),
    ],
    [
      "another kernel's",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { releases: ["6.1.1-1.x86_64"] }))),
    ],
    [
      "one that begins like this kernel's, but not as its version",
      "fail",
      "otherPackage",
      judgeSigned(allBut(by(first, { releases: [] }))),
    ],
    [
      "one whose payload was changed",
      "fail",
      "changedPayload",
      judgeSigned(allBut([first.sha256 ?? "", refused("changedPayload", "")])),
    ],
    [
      "one whose header was changed",
      "fail",
      "changedHeader",
      judgeSigned(allBut([first.sha256 ?? "", refused("changedHeader", "")])),
    ],
    [
      "packages that the catalog does not list",
      "unknown",
      "unlisted",
      judgeSigned(all, { used: [makePackage({ name: "evil" })] }),
    ],
    [
      "a kernel that the catalog does not list",
      "unknown",
      "unlisted",
      judgeSigned(all, { listed: undefined }),
    ],
    ["a release without known keys", "unknown", "unsignedRepository", judgeSigned(all, { signers: [] })],
  ])("%s is no pass", (_, word, code, said) => {
    expect(said).toMatchObject({ verdict: word, reasons: [{ code }] });
  });

  test("every fault of a signature has its code", () => {
    for (const why of SIGNATURE_FAULTS) {
      const said = judgeSigned(allBut([first.sha256 ?? "", refused(why, "so it is")]));
      expect(said).toMatchObject({ reasons: [{ code: why, text: expect.stringContaining("so it is") }] });
      expect(said?.verdict).not.toBe("pass");
    }
  });

  test("where a package does not name its kernel, the kernel's release begins with its version", () => {
    const listed = {
      ...packages,
      headers: [rpmOf("5.14.0-427.el9")],
      crossTools: [],
      image: [],
      modules: [],
    };
    const signed = (release: string) =>
      judgeSignature(by(listed.headers[0] as Package, { releases: [] })[1], listed.headers[0] as Package, {
        keys: [KEY],
        kversion: release,
      }).kind;

    expect(signed("5.14.0-427.el9.x86_64")).toBe("signed");
    expect(signed("5.14.0-427.el9.x86_64+rt")).toBe("signed");
    expect(signed("5.14.0-428.el9.x86_64")).toBe("refused");
    expect(signed("5.14.0-427.el9.aarch64")).toBe("refused");
  });
});

function rpmOf(version: string): Package {
  return makePackage({ name: "kernel-devel", version, path: "kernel-devel.rpm" });
}

describe("of several statements", () => {
  const bad = Buffer.from(
    signer.sign(makeStatement([{ name: "other", digest: `sha256:${"0".repeat(64)}` }])),
  );
  const strange = Buffer.from(makeSigner().sign(makeStatement()));

  test("one good one is enough", () => {
    expect(judge(undefined, { bundles: [bad, strange, ...STATED.bundles] })).toMatchObject({
      verdict: "pass",
    });
  });

  test("none that is good is a failure if one is wrong, and each says what is the matter with it", () => {
    expect(judge(undefined, { bundles: [strange, bad] })).toMatchObject({
      verdict: "fail",
      reasons: [{ code: "untrustedKey" }, { code: "otherModules" }],
    });
    expect(judge(undefined, { bundles: [strange] })).toMatchObject({ verdict: "unknown" });
  });
});
