import { expect, test } from "vitest";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { withRecord } from "./artifact-check.ts";

const said = (check: string, word: "pass" | "fail" | "unknown", reason: string) =>
  verdict(check, word, reason);

test("what was not asked again is told as being on record", () => {
  const asked = [said("format", "pass", "whole")];

  expect(
    withRecord(asked, [said("format", "fail", "old"), said("provenance", "pass", "built here")]),
  ).toEqual([said("format", "pass", "whole"), said("provenance", "pass", "on record: built here")]);
});

test("a load test that failed stays failed, whatever one without the driver's script says", () => {
  const asked = [said("load", "pass", "inserted")];

  expect(withRecord(asked, [said("load", "fail", "oops")])).toMatchObject([
    { check: "load", verdict: "fail" },
  ]);
  expect(withRecord(asked, [said("load", "unknown", "silence")])).toEqual(asked);
});
