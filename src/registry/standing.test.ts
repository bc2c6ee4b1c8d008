import { expect, test } from "vitest";
import { makeEntry } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { artifactName } from "./decisions.ts";
import type { Decision } from "./documents.ts";
import { standingOf, standingWords } from "./standing.ts";

const ENTRY = { ...makeEntry(makeElement()), reasons: ["load: fail: it oopsed"] };
const decided = (action: Decision["action"], verdicts: Decision["verdicts"] = []): Decision => ({
  at: "2026-11-27T10:00:00.000Z",
  ...{ action, by: "ann", why: "because", verdicts },
  artifact: artifactName(ENTRY),
});
const words = (channel: "stable" | "candidate", ...decisions: Decision[]) =>
  standingWords(standingOf(decisions, { entry: ENTRY, channel }));

test("a candidate stands where its reasons say, until somebody takes it back", () => {
  expect(words("candidate", decided("refuse"))).toBe("candidate: load: fail: it oopsed");
  expect(words("candidate", decided("promote"), decided("withdraw"), decided("refuse"))).toBe(
    "withdrawn by ann on 2026-11-27: because",
  );
  expect(words("candidate", decided("rollback"))).toBe("rolled back by ann on 2026-11-27: because");
});

test("a stable one says what was waived for it", () => {
  const waived = verdict("load", "waived", "it oopsed", "excepted until 2027-01-01 by ann: why");

  expect(words("stable", decided("promote"))).toBe("stable");
  expect(words("stable", decided("promote", [waived]))).toBe(
    "stable: load waived: it oopsed; excepted until 2027-01-01 by ann: why",
  );
});
