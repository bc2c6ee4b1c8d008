import { describe, expect, test } from "vitest";
import { makeSigner } from "../../test/support/statements.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { CHECK_NAMES } from "./checks/index.ts";
import { allowsReuse, DEFAULT_POLICY, judge, Policy, policyDigest, refusalsByNote } from "./policy.ts";
import type { Verdict } from "./verdict.ts";

const SUBJECT = {
  driver: "bell",
  driverversion: "1.0.0",
  distribution: "debian12",
  distributionId: "debian",
  architecture: "x86_64",
  flavour: "generic",
  kversion: "6.1.0-56-amd64",
} as const;
const NOW = new Date("2026-11-27T12:00:00Z");
const ALL = CHECK_NAMES.map((check) => verdict(check, "pass", "good"));
const but = (...changed: Verdict[]) => [...ALL, ...changed];
const exception = (changes = {}) => ({
  check: "environment" as const,
  owner: "ann",
  reason: "an old compiler",
  until: "2026-11-27",
  ...changes,
});
const judged = (verdicts: readonly Verdict[], policy: unknown = {}, sibling?: string) =>
  judge(Policy.parse(policy), SUBJECT, { verdicts, sibling }, NOW);

describe("judge", () => {
  test("lets through what passed everything", () => {
    expect(judged(ALL)).toMatchObject({ isStable: true, refusals: [] });
  });

  test.each(["fail", "unknown", "notApplicable"] as const)("refuses a required check that is %s", (word) => {
    expect(judged(but(verdict("symbols", word, "why")))).toMatchObject({
      isStable: false,
      refusals: [`symbols: ${word}: why`],
    });
  });

  test.each(DEFAULT_POLICY.require)("does not take silence of %s for a pass", (check) => {
    const found = judged(ALL.filter((one) => one.check !== check));

    expect(found.isStable).toBe(false);
    expect(found.refusals).toEqual([expect.stringMatching(new RegExp(`^${check}: unknown: `))]);
  });

  test("asks nothing of a check that is not required", () => {
    expect(judged(but(verdict("signature", "fail", "no"))).isStable).toBe(true);
  });

  test("requires of a release what is said for it, before what is said for its distribution", () => {
    const policy = {
      distributions: { debian: { require: ["signature"] }, debian12: { require: ["reproducible"] } },
    };

    expect(judged([verdict("reproducible", "pass", "")], policy).isStable).toBe(true);
    expect(judged([verdict("signature", "pass", "")], policy).isStable).toBe(false);
  });

  test("takes an expected refusal for a load test only where it may, and nothing else of that kind", () => {
    const refused = verdict("load", "notApplicable", "bell finds no device of its own here");
    const allowed = { standIns: { load: ["noDevice"] } };

    expect(judged(but(refused)).isStable).toBe(false);
    expect(judged(but(refused), { standIns: { load: ["siblingLoad"] } }, "sibling").isStable).toBe(false);
    expect(judged(but(refused), allowed).verdicts.find(({ check }) => check === "load")).toEqual({
      check: "load",
      verdict: "waived",
      reasons: [{ code: "standIn", text: "bell finds no device of its own here; the policy accepts that" }],
    });
    expect(judged(but(verdict("load", "unknown", "no kernel")), allowed).isStable).toBe(false);
    expect(judged(but(verdict("load", "fail", "refused")), allowed).isStable).toBe(false);
    expect(judged(but(verdict("symbols", "notApplicable", "others")), allowed).isStable).toBe(false);
  });

  test("waives what somebody answers for, and says who, why and until when", () => {
    const found = judged(but(verdict("environment", "fail", "gcc 11")), { exceptions: [exception()] });

    expect(found.isStable).toBe(true);
    expect(found.verdicts.find(({ check }) => check === "environment")).toEqual({
      check: "environment",
      verdict: "waived",
      reasons: [
        { code: "made", text: "gcc 11" },
        { code: "excepted", text: "excepted until 2026-11-27 by ann: an old compiler" },
      ],
    });
  });

  test.each([
    ["ended", { until: "2026-11-26" }, /the exception by ann ended on 2026-11-26/],
    ["is for another check", { check: "load" }, /gcc 11$/],
    ["is for another driver", { driver: "chime" }, /gcc 11$/],
    ["is for another release", { distributions: ["debian13"] }, /gcc 11$/],
    ["is for another kernel", { kernelRelease: "6\\.12.*" }, /gcc 11$/],
    ["is for another flavour", { flavours: ["rt"] }, /gcc 11$/],
    ["is for another architecture", { architectures: ["aarch64"] }, /gcc 11$/],
    ["is for another version", { driverVersion: "2.*" }, /gcc 11$/],
  ])("waives nothing by an exception that %s", (_, changes, refusal) => {
    const found = judged(but(verdict("environment", "fail", "gcc 11")), { exceptions: [exception(changes)] });

    expect(found.refusals).toEqual([expect.stringMatching(refusal)]);
  });

  test("lets a sibling stand in for a kernel that could not be booted, where the policy says so", () => {
    const verdicts = but(verdict("load", "unknown", "no boot image"));
    const policy = { standIns: { load: ["siblingLoad"] } };

    expect(judged(verdicts, policy, "6.1.0-55-amd64").isStable).toBe(true);
    expect(judged(verdicts, policy).isStable).toBe(false);
    expect(judged(verdicts, {}, "6.1.0-55-amd64").isStable).toBe(false);
    expect(judged(but(verdict("load", "fail", "oops")), policy, "6.1.0-55-amd64").isStable).toBe(false);
  });

  test("takes the last verdict of a check", () => {
    expect(judged([verdict("load", "fail", "then"), ...ALL]).isStable).toBe(true);
  });
});

const NOBODY = { signers: [], builders: [], rebuilds: { of: 1, by: [], notTheBuilder: false } };

test("every setting of a policy is in its digest, and every key that counts", () => {
  const policies = [
    {},
    { require: ["load"] },
    { distributions: { debian: { require: ["load"] } } },
    { standIns: { load: ["siblingLoad"] } },
    { signers: ["a.pem"] },
    { builders: [{ id: "urn:x:a", key: "a.pem" }] },
    { builders: [{ id: "urn:x:b", key: "a.pem" }] },
    { builders: [{ id: "urn:x:a", key: "b.pem" }] },
    { rebuilders: ["a.pem"] },
    { reproducible: {} },
    { reproducible: { of: 2 } },
    { reproducible: { by: ["a.pem"] } },
    { reproducible: { notTheBuilder: true } },
    { exceptions: [exception()] },
    { exceptions: [exception({ until: "2027-01-01" })] },
  ].map((policy) => policyDigest(Policy.parse(policy), NOBODY));

  const [one, other] = [makeSigner().key, makeSigner().key];
  const keyed = [
    [{ id: "urn:x:a", key: one }],
    [{ id: "urn:x:b", key: one }],
    [{ id: "urn:x:a", key: other }],
    [
      { id: "urn:x:a", key: one },
      { id: "urn:x:a", key: other },
    ],
  ].map((builders) => policyDigest(DEFAULT_POLICY, { ...NOBODY, builders }));

  expect(new Set([...policies, ...keyed]).size).toBe(policies.length + keyed.length);
});

test("a pass of a check that rests on keys holds for the policy that named them, and no other", () => {
  const policy = policyDigest(DEFAULT_POLICY, NOBODY);
  const words = Object.fromEntries(CHECK_NAMES.map((name) => [name, "pass" as const]));
  const subject = {
    ...{ driver: "a", driverversion: "1", distribution: "debian12", distributionId: "debian" },
    ...{ architecture: "x86_64" as const, flavour: "generic", kversion: "6.1" },
  };
  const refusals = (digest: typeof policy) =>
    refusalsByNote(DEFAULT_POLICY, digest, subject, { words, refusals: [], policy }, new Date());

  expect(refusals(policy)).toEqual([]);
  expect(
    refusals(
      policyDigest(DEFAULT_POLICY, { ...NOBODY, builders: [{ id: "urn:x:a", key: makeSigner().key }] }),
    ),
  ).toBeUndefined();
});

describe("loadsOn", () => {
  test("allows it to releases and distributions that keep an ABI, where they are named", () => {
    const policy = Policy.parse({ loadsOn: ["almalinux9.4", "rhel"] });
    const allows = (distribution: string, distributionId: string) =>
      allowsReuse(policy, { distribution, distributionId });

    expect(allows("almalinux9.4", "almalinux")).toBe(true);
    expect(allows("rhel9.5", "rhel")).toBe(true);
    expect(allows("almalinux9.5", "almalinux")).toBe(false);
    expect(allowsReuse(DEFAULT_POLICY, { distribution: "rhel9.5", distributionId: "rhel" })).toBe(false);
  });

  test.each(["debian12", "ubuntu24.04", "fedora41", "amazonlinux2023", "debian", "nosuch"])(
    "is refused to %s, whose kernels promise no ABI",
    (name) => {
      const { error } = Policy.safeParse({ loadsOn: [name] });

      expect(error?.issues[0]?.message).toMatch(`${name} does not belong to the Enterprise Linux family`);
    },
  );
});
