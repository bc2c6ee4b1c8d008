import { expect, test } from "vitest";
import { makeElement } from "../../../test/support/elements.ts";
import { sha256 } from "../../base/json.ts";
import type { AttemptNote } from "../../registry/documents.ts";
import { boundedOutcome } from "./outcome-size.ts";

const ENDLESS = "F".repeat(1_000_000);
const note: AttemptNote = {
  element: "doorbell/0.1.0/debian12/x86_64/6.1.0-56-amd64/6.1.170-3",
  at: "2026-03-01T12:00:00.000Z",
  compiler: "gcc-12",
};
const tried = [{ place: ENDLESS, fault: ENDLESS }];

test.each<[string, Partial<AttemptNote>]>([
  [
    "packages",
    { inputs: [{ name: ENDLESS, version: ENDLESS, sha256: "1".repeat(64), from: "archive", tried }] },
  ],
  [
    "a failure",
    {
      failure: {
        code: "BUILD_FAILED",
        blame: "source",
        cause: ENDLESS,
        file: ENDLESS,
        line: ENDLESS,
        advice: ENDLESS,
      },
    },
  ],
  [
    "a load test",
    { load: { verdict: { check: "load", verdict: "fail", reasons: [{ code: ENDLESS, text: ENDLESS }] } } },
  ],
  ["refusals", { refusals: [ENDLESS, ENDLESS] }],
])("a note has an end, whatever is said of %s", (_, said) => {
  const outcome = {
    element: { ...makeElement(), recipe: sha256("recipe") },
    note: { ...note, ...said },
    isSettled: true,
  };

  const bounded = boundedOutcome(outcome);

  expect(JSON.stringify(bounded.note).length).toBeLessThan(8 * 1024);
});
