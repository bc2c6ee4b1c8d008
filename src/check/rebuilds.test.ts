/** Who counts as having built something again, and who only seems to. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BUILDER,
  IDENTITY,
  MODULES,
  makeBuild,
  makeFailure,
  makeRebuild,
  makeSigner,
  makeStatement,
  type TestSigner,
} from "../../test/support/statements.ts";
import { sha256 } from "../base/json.ts";
import { PREDICATE_TYPE } from "../provenance/slsa.ts";
import type { Statement } from "../provenance/statement.ts";
import { reproducible } from "./checks/reproducible.ts";
import { countRebuilds, judgeRebuild, type RebuildRule, type RebuiltArtifact } from "./rebuilds.ts";

const [farm, alice, bob, mallory] = [makeSigner(), makeSigner(), makeSigner("ed25519"), makeSigner()];
const ALICE = "urn:example:alice";
const ARTIFACT: RebuiltArtifact = {
  ...{ identity: IDENTITY, modules: MODULES, materials: makeBuild() },
  builders: [{ id: BUILDER, key: farm.key }],
  firstKeys: new Set([farm.key.fingerprint]),
};
const RULE: RebuildRule = { of: 2, by: [alice.key, bob.key, farm.key], notTheBuilder: false };
const by = (signer: TestSigner, statement: Statement = makeRebuild(ALICE)) =>
  Buffer.from(signer.sign(statement));
const countOf = (bundles: readonly Buffer[], rule = RULE, artifact = ARTIFACT) =>
  countRebuilds(bundles, artifact, rule);
const codeOf = (bundle: Buffer, artifact = ARTIFACT) => {
  const found = judgeRebuild(bundle, artifact, RULE.by);
  return found.kind === "refused" ? found.because.code : found.kind;
};
/** The statement as the text of JSON that a change makes of it. */
const changed = (change: (text: string) => string, statement = makeRebuild(ALICE)) =>
  Buffer.from(alice.sign(change(JSON.stringify(statement))));

/** Whether only the hint of a bundle was changed, which decides nothing. */
function isOnlyHint(damaged: Buffer, bytes: Buffer): boolean {
  const without = (text: Buffer) => text.toString("latin1").replace(/"hint":"[^"]*"/, "");
  return without(damaged) === without(bytes);
}

test("distinct keys that built the same bytes are counted", () => {
  expect(countOf([by(alice), by(bob)]).equal).toEqual(
    [alice.key.fingerprint, bob.key.fingerprint].toSorted(),
  );
});

test("a builder of another registry states his own first build, and that is a second one here", () => {
  expect(codeOf(by(alice, makeStatement(MODULES, makeBuild(), ALICE)))).toBe("equal");
});

describe("attacks", () => {
  test("C17: the same key under two names, and signing twice, is one", () => {
    const twice = [by(alice), by(alice, makeRebuild("urn:example:somebody-else")), by(alice)];

    expect(countOf(twice, { ...RULE, by: [alice.key, { ...alice.key }] }).equal).toEqual([
      alice.key.fingerprint,
    ]);
  });

  test("C18: a hint that names another key decides nothing", () => {
    const bundle = JSON.parse(by(mallory).toString()) as { verificationMaterial: object };
    const hint = Buffer.from(alice.key.fingerprint.slice(7), "hex").toString("base64");

    expect(
      codeOf(Buffer.from(JSON.stringify({ ...bundle, verificationMaterial: { publicKey: { hint } } }))),
    ).toBe("untrustedKey");
  });

  test("C19: a statement under another type of payload is none", () => {
    expect(codeOf(Buffer.from(alice.sign(makeRebuild(ALICE), "application/json")))).toBe("malformed");
  });

  test("C20: the builder as its own rebuilder counts only where the policy lets it, and never for the first build", () => {
    const again = by(farm, makeRebuild(BUILDER));

    expect(countOf([again]).equal).toEqual([farm.key.fingerprint]);
    expect(countOf([again], { ...RULE, notTheBuilder: true }).equal).toEqual([]);
    expect(codeOf(by(farm, makeStatement()))).toBe("noRebuild");
  });

  test("C21: a digest in MD5 only, beside SHA-256 or in capitals, and 10,000 subjects are refused", () => {
    const hex = (text: string) => /"sha256":"([0-9a-f]{64})"/.exec(text)?.[1] ?? "";
    const md5 = "0".repeat(32);
    const many = Array.from({ length: 10_000 }, (_, at) => ({
      ...{ name: `m${at}.ko`, digest: { sha256: "a".repeat(64) } },
    }));

    expect(codeOf(changed((text) => text.replace(`"sha256":"${hex(text)}"`, `"md5":"${md5}"`)))).toBe(
      "malformed",
    );
    expect(codeOf(changed((text) => text.replace(`"sha256":"`, `"md5":"${md5}","sha256":"`)))).toBe(
      "malformed",
    );
    expect(codeOf(changed((text) => text.replace(hex(text), hex(text).toUpperCase())))).toBe("malformed");
    expect(codeOf(changed((text) => JSON.stringify({ ...JSON.parse(text), subject: many })))).toBe(
      "malformed",
    );
  });

  test("C21: equal is claimed over different bytes, of fewer modules, or of more", () => {
    const [first, ...others] = MODULES;
    const other = { ...(first as (typeof MODULES)[number]), digest: sha256("other bytes") };
    const claims = [[other, ...others], others, [...MODULES, { name: "more", digest: sha256("more") }]];

    expect(claims.map((modules) => codeOf(by(alice, makeRebuild(ALICE, modules))))).toEqual(
      claims.map(() => "otherModules"),
    );
  });

  test("C22: the right subject of another target, driver, recipe or source is refused", () => {
    const kernel = { ...IDENTITY.kernel, release: "6.1.0-56-amd64" };
    const target = makeBuild({ identity: { ...IDENTITY, kernel } });
    const driver = makeBuild({ identity: { ...IDENTITY, driver: { ...IDENTITY.driver, version: "9" } } });
    const recipe = makeBuild({ recipeKey: sha256("another recipe") });

    expect(codeOf(by(alice, makeRebuild(ALICE, MODULES, target)))).toBe("otherParameters");
    expect(codeOf(by(alice, makeRebuild(ALICE, MODULES, driver)))).toBe("otherParameters");
    expect(codeOf(by(alice, makeRebuild(ALICE, MODULES, recipe)))).toBe("otherMaterials");
    expect(codeOf(by(alice, makeFailure(MODULES, recipe)))).toBe("otherMaterials");
  });

  test("C22: other inputs than those that the registry keeps are refused", () => {
    const kept: RebuiltArtifact = { ...ARTIFACT, materials: { ...makeBuild(), inputs: sha256("inputs") } };
    const right = makeBuild({ inputs: sha256("inputs") });

    expect(codeOf(by(alice, makeRebuild(ALICE, MODULES, right)), kept)).toBe("equal");
    expect(codeOf(by(alice), kept)).toBe("otherMaterials");
    expect(codeOf(by(alice, makeFailure(MODULES, right)), kept)).toBe("different");
    expect(codeOf(by(alice, makeFailure()), kept)).toBe("otherMaterials");
  });

  test("C22: a rebuilder does not speak in the builder's name", () => {
    expect(codeOf(by(alice, makeRebuild(BUILDER)))).toBe("otherBuilder");
  });

  test("C25: a name twice in one object is refused", () => {
    expect(codeOf(changed((text) => text.replace("{", `{"predicateType":"${PREDICATE_TYPE}",`)))).toBe(
      "malformed",
    );
  });

  test("a test that passed proves no bytes: only provenance does", () => {
    expect(codeOf(changed((text) => text.replace(`"FAILED"`, `"PASSED"`), makeFailure()))).toBe("malformed");
  });

  test("who says both says that it differs", () => {
    const { equal, different } = countOf([by(alice), by(alice, makeFailure()), by(bob)]);

    expect(equal).toEqual([bob.key.fingerprint]);
    expect([...different.keys()]).toEqual([alice.key.fingerprint]);
  });

  test("whatever is left of a statement gives a verdict, and nothing is thrown", () => {
    const bytes = by(alice, makeFailure());
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, value, end) => {
        const damaged = Buffer.from(bytes.subarray(0, at % 2 === 0 ? end : bytes.length));
        if (at < damaged.length) damaged[at] = value;
        const { kind } = judgeRebuild(damaged, ARTIFACT, RULE.by);

        if (!isOnlyHint(damaged, bytes)) expect(kind).toBe("refused");
      }),
      { numRuns: 2000 },
    );
  });

  test("a stranger's word counts for nothing, against an artifact either", () => {
    expect(codeOf(by(mallory))).toBe("untrustedKey");
    expect(countOf([by(mallory, makeFailure())]).different.size).toBe(0);
  });
});

describe("the check", () => {
  const judged = (bundles: readonly Buffer[], rule: Partial<RebuildRule> = {}) =>
    reproducible.judge({
      files: [],
      kernel: { architecture: "x86_64" },
      rebuilds: { bundles, artifact: ARTIFACT, rule: { ...RULE, ...rule }, of: [] },
    });

  test("passes at the wanted number of keys, and not before", () => {
    expect(judged([by(alice)])).toMatchObject({ verdict: "unknown", reasons: [{ code: "tooFew" }] });
    expect(judged([by(alice), by(bob)])).toMatchObject({ verdict: "pass", reasons: [{ code: "equal" }] });
    expect(judged([by(alice)], { of: 1 })?.verdict).toBe("pass");
  });

  test("every field of the policy makes a difference", () => {
    const two = [by(alice), by(farm, makeRebuild(BUILDER))];

    expect(judged(two)?.verdict).toBe("pass");
    expect(judged(two, { of: 3 })?.verdict).toBe("unknown");
    expect(judged(two, { by: [alice.key] })?.verdict).toBe("unknown");
    expect(judged(two, { notTheBuilder: true })?.verdict).toBe("unknown");
  });

  test("shows where somebody got other bytes, and lets nothing pass then", () => {
    expect(judged([by(alice), by(bob), by(farm, makeFailure())])).toMatchObject({
      verdict: "fail",
      reasons: [
        {
          code: "differs",
          text: expect.stringMatching(/^sha256:\w{16} built it again: .*tally\.ko in \.text$/),
        },
      ],
    });
  });

  test("says nothing where nobody built it again", () => {
    expect(judged([])).toBeUndefined();
  });
});
