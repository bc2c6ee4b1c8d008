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
import type { Package } from "../../kernel/kernel.ts";
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
