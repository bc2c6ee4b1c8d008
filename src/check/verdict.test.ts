import { expect, test } from "vitest";
import { checkEnvironment } from "./checks/environment.ts";
import { DEFAULT_POLICY, judge } from "./policy.ts";
import { boundedReasons, summed } from "./verdict.ts";

const MANY = Array.from({ length: 150_000 }, (_, index) => `reason ${index}`);

test("names the first of endlessly many reasons, and counts the others", () => {
  const { reasons } = summed("environment", { faults: MANY, gaps: [], good: [] });

  expect(reasons.slice(0, 20)).toEqual(MANY.slice(0, 20));
  expect(reasons.slice(20)).toEqual(["and 149,980 more"]);
  expect(boundedReasons(reasons)).toEqual(reasons);
});

test("cuts a long reason where it can still be read", () => {
  const [reason = ""] = summed("format", { faults: ["x".repeat(1_000_000)], gaps: [], good: [] }).reasons;

  expect(reason).toBe(`${"x".repeat(499)}…`);
});

test("a refusal is a line, whatever a verdict on record says", () => {
  const subject = {
    ...{ driver: "d", driverversion: "1", kversion: "6", flavour: "amd64" },
    ...{ distribution: "debian12", distributionId: "debian", architecture: "x86_64" as const },
  };
  const stored = { check: "format", verdict: "fail" as const, reasons: MANY.map((one) => one.repeat(50)) };

  const { refusals } = judge(
    { ...DEFAULT_POLICY, require: ["format"] },
    subject,
    { verdicts: [stored] },
    new Date(),
  );

  expect(refusals).toHaveLength(1);
  expect(refusals[0]?.length).toBeLessThanOrEqual(2000);
});

test("a module that names endless compilers has one reason against it", () => {
  const compilers = MANY.map((text) => `${text} words`);
  const kernel = { compiler: { family: "gcc", version: "12.2.0", source: "config" } } as Parameters<
    typeof checkEnvironment
  >[1];

  const guards = { entries: new Map(), hasCode: true, hasCfi: false, hasBtf: false };
  const module = { name: "m", architecture: "x86_64" as const, modinfo: [], imports: [], guards, compilers };
  const { verdict, reasons } = checkEnvironment([module], kernel);

  expect(verdict).toBe("fail");
  expect(reasons).toEqual(["m names 150000 compilers, which no build leaves in a module"]);
});
