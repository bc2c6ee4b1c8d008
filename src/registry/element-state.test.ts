import { describe, expect, test } from "vitest";
import { CATALOG, makeEntry, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import type { AttemptNote } from "./documents.ts";
import { elementStates } from "./element-state.ts";
import { nextState } from "./publish.ts";
import { loadsOnOf, withReuse } from "./reuse.ts";

const ELEMENT = makeElement();
const OTHER = makeElement({
  kversion: "6.1.0-57-amd64",
  output: "0.1.0/debian12/x86_64/6.1.0-57-amd64_6.1.170-3",
});
const outcome = (content: string, isStable: boolean) =>
  makeOutcome(ELEMENT, { content, artifact: { entry: makeEntry(ELEMENT, content), isStable } });
const failed = (code: string) => {
  const { artifact: _, ...rest } = makeOutcome(ELEMENT);
  const failure: AttemptNote["failure"] = { code, blame: "source", cause: "no", line: "" } as never;
  return { ...rest, note: { ...rest.note, failure } };
};
const wordOf = (...outcomes: Parameters<typeof nextState>[2]) =>
  elementStates(nextState(NOTHING, CATALOG, outcomes))(ELEMENT);

describe("an element is", () => {
  test("stable where nodes get something, and what waits stands beside it", () => {
    expect(wordOf(outcome("first", true))).toMatchObject({ word: "stable" });
    expect(wordOf(outcome("first", true), outcome("second", false))).toMatchObject({
      word: "stable",
      beside: { listed: { channel: "candidate" } },
    });
    // What is stable stays, whatever a later try came to.
    expect(wordOf(outcome("first", true), failed("BUILD_FAILED"))).toMatchObject({ word: "stable" });
  });

  test("of its own version: what nodes get of another one is said beside it", () => {
    const newer = makeElement({ driverversion: "0.1.2" });
    const state = nextState(NOTHING, CATALOG, [outcome("first", true)]);
    const candidate = makeOutcome(newer, {
      artifact: { entry: makeEntry(newer, "second"), isStable: false },
    });
    const both = nextState(NOTHING, CATALOG, [outcome("first", true), candidate]);
    const instead = { listed: { entry: { driverVersion: "0.1.1" } } };

    expect(elementStates(state)(newer)).toMatchObject({ word: "notBuilt", instead });
    expect(elementStates(both)(newer)).toMatchObject({ word: "candidate", instead });
    expect(elementStates(state)(ELEMENT)).not.toHaveProperty("instead");
  });

  test("a candidate where nodes get nothing yet", () => {
    expect(wordOf(outcome("first", false))).toMatchObject({ word: "candidate" });
  });

  test.each([
    ["BUILD_FAILED", "failed"],
    ["KERNEL_EXCLUDED", "excluded"],
    ["NOT_FETCHABLE", "unfetchable"],
  ])("what its last try came to, where that gave nothing (%s)", (code, word) => {
    expect(wordOf(failed(code))).toMatchObject({ word, attempt: { failure: { code } } });
  });

  test("not built, where nobody tried", () => {
    expect(wordOf()).toEqual({ word: "notBuilt" });
  });

  test("served by another kernel's modules, where nothing was built for it", () => {
    const state = nextState(NOTHING, CATALOG, [outcome("first", true)]);
    const [index] = state.indices;
    const [entry] = index?.stable ?? [];
    if (index === undefined || entry === undefined) throw new Error("no artifact");
    const reused = withReuse(state.indices, OTHER, loadsOnOf({ index, entry }, OTHER));

    expect(elementStates({ ...state, indices: reused })(OTHER)).toMatchObject({
      word: "loadsOn",
      by: { artifact: { output: ELEMENT.output } },
    });
  });
});
