import { expect, test } from "vitest";
import { makeReasons } from "../../test/support/verdicts.ts";
import { checkEnvironment } from "./checks/environment.ts";
import { DEFAULT_POLICY, judge } from "./policy.ts";
import { boundedReasons, summed, Verdict } from "./verdict.ts";

/** More than a call may have arguments. */
const reasonsOf = (texts: readonly string[]) => texts.map((text) => ({ code: "made", text }));
const MANY = Array.from({ length: 150_000 }, (_, index) => `reason ${index}`);

test("names the first of endlessly many reasons, and counts the others", () => {
  const { reasons } = summed("environment", { faults: reasonsOf(MANY), gaps: [], good: [] });

  expect(reasons.slice(0, 20)).toEqual(reasonsOf(MANY.slice(0, 20)));
  expect(reasons.slice(20)).toEqual([{ code: "more", text: "and 149,980 more" }]);
  expect(boundedReasons(reasons)).toEqual(reasons);
});

test("cuts a long reason where it can still be read", () => {
  const faults = makeReasons("x".repeat(1_000_000));
  const [reason] = summed("format", { faults, gaps: [], good: [] }).reasons;

  expect(reason?.text).toBe(`${"x".repeat(499)}…`);
});

test("a refusal is a line, whatever a verdict on record says", () => {
  const subject = {
    ...{ driver: "d", driverversion: "1", kversion: "6", flavour: "amd64" },
    ...{ distribution: "debian12", distributionId: "debian", architecture: "x86_64" as const },
  };
  const stored = {
    check: "format",
    verdict: "fail" as const,
    reasons: reasonsOf(MANY.map((one) => one.repeat(50))),
  };

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
  expect(reasons).toEqual([
    { code: "manyCompilers", text: "m names 150000 compilers, which no real build does" },
  ]);
});

test("a verdict of the first version, whose reasons were texts alone, is read", () => {
  const first = {
    check: "load",
    verdict: "fail",
    reasons: ["the kernel oopsed: loading bell", "Oops: 0002"],
  };

  const read = Verdict.parse(first);

  expect(read.reasons).toEqual(first.reasons.map((text) => ({ code: "unstated", text })));
  expect(Verdict.parse(JSON.parse(JSON.stringify(read)))).toEqual(read);
});
