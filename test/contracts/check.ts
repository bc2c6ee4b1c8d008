/**
 * What every check promises, whatever the modules hold: an answer of its own, of the agreed words, with a reason unless it
 * is a pass, the same each time, and nothing thrown.
 */
import { expect, test } from "vitest";
import type { Check, CheckSubject } from "../../src/check/checks/check.ts";
import { COMMON_CODES, Verdict } from "../../src/check/verdict.ts";

/** A subject, and what it is. */
export interface NamedSubject {
  readonly name: string;
  readonly subject: CheckSubject;
}

export interface CheckTruths {
  readonly check: Check;
  /** Of a set that is as it should be, everything known: the check passes it. */
  readonly good: CheckSubject;
  /** Of sets that are wrong in what it looks at: the check fails them. None for a check that never says so. */
  readonly bad: readonly NamedSubject[];
  /** Of subjects of which it cannot know: they are unknown, or it has nothing to say. */
  readonly open: readonly NamedSubject[];
}

export function checkContract(
  { check, good, bad, open }: CheckTruths,
  hostile: readonly NamedSubject[],
): void {
  test("has a name, a question, and words that fit them", () => {
    expect(check.name).toMatch(/^[a-z][A-Za-z]*$/);
    expect(check.question).toMatch(/^[A-Z].*\?$/);
    expect(new Set([...check.codes, ...COMMON_CODES]).size).toBe(check.codes.length + COMMON_CODES.length);
    for (const code of check.codes) expect(code).toMatch(/^[a-z][A-Za-z]*$/);
    expect(check.howToKnow ?? "`kmodfarm x`").toMatch(/`kmodfarm \w+/);
  });

  test("passes what is good, and names what it saw", () => {
    expect(check.judge(good)?.verdict).toBe("pass");
  });

  test("fails what is bad", () => {
    for (const { name, subject } of bad) expect(check.judge(subject)?.verdict, name).toBe("fail");
  });

  test("takes nothing that it does not know for good", () => {
    expect(open.length).toBeGreaterThan(0);
    for (const { name, subject } of open)
      expect(["unknown", undefined], name).toContain(check.judge(subject)?.verdict);
  });

  test("does not pass a set with a file that is no module, nor an empty one", () => {
    if (!check.isOfFiles) return;
    const [first] = good.files;
    const spoilt = { ...good, files: [...good.files, { name: "x.ko", fault: "x.ko: it is no module" }] };

    expect(first).toBeDefined();
    expect(check.judge(spoilt)?.verdict).not.toBe("pass");
    expect(check.judge({ ...good, files: [] })?.verdict).not.toBe("pass");
  });

  const all = [{ name: "good", subject: good }, ...bad, ...open, ...hostile];

  test("answers in the agreed words, and throws nothing", () => {
    for (const { name, subject } of all) {
      const said = check.judge(subject);
      if (said === undefined) continue;

      expect(said.check).toBe(check.name);
      expect(Verdict.safeParse(said).error, name).toBeUndefined();
      const codes: readonly string[] = [...check.codes, ...COMMON_CODES];
      // What a load test said beforehand is made up here.
      const strange = said === subject.loaded ? [] : said.reasons.filter(({ code }) => !codes.includes(code));
      expect(strange, name).toEqual([]);
      if (said.verdict !== "pass") expect(said.reasons.length, name).toBeGreaterThan(0);
      // What somebody answers for is decided by a policy, not here.
      expect(said.verdict, name).not.toBe("waived");
    }
  });

  test("says the same each time, and leaves its subject alone", () => {
    for (const { name, subject } of all) {
      const before = copyOf(subject);

      const [first, second] = [check.judge(subject), check.judge(subject)];

      expect(second, name).toEqual(first);
      expect(copyOf(subject), name).toEqual(before);
    }
  });
}

/** Keys have handles that cannot be copied. */
function copyOf({ keys: _, stated, ...rest }: CheckSubject): unknown {
  return structuredClone({ ...rest, stated: { ...stated, builders: undefined } });
}
