import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CATALOG, makeEntry, makeOutcome, NOTHING } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import { elementKey } from "../matrix/element.ts";
import { nextState } from "./publish.ts";

const [ONE, TWO, ARM] = [
  makeElement({ kversion: "6.1.0-55-amd64" }),
  makeElement({ kversion: "6.1.0-56-amd64" }),
  makeElement({ kversion: "6.1.0-56-arm64", architecture: "aarch64" }),
];
const failure = { code: "BUILD_FAILED", blame: "source", cause: "c", line: "l" };

describe("nextState", () => {
  test("puts stable artifacts under their release and architecture", () => {
    const state = nextState(
      NOTHING,
      CATALOG,
      [ARM, TWO, ONE].map((element) => makeOutcome(element)),
    );

    expect(state).toMatchObject({
      head: null,
      catalog: CATALOG,
      indices: [
        { distribution: "debian12", architecture: "aarch64", stable: [makeEntry(ARM)], candidate: [] },
        { distribution: "debian12", architecture: "x86_64", stable: [makeEntry(ONE), makeEntry(TWO)] },
      ],
    });
    expect(new Set(state.matrix)).toEqual(new Set([ONE, TWO, ARM]));
    expect(state.attempts).toHaveLength(3);
  });

  test("leaves everything that is not mentioned as it is", () => {
    const before = nextState(NOTHING, CATALOG, [makeOutcome(ONE)]);

    const after = nextState(before, CATALOG, [makeOutcome(ARM)]);

    expect(after.indices).toEqual(expect.arrayContaining([...before.indices]));
    expect(after.matrix).toContainEqual(ONE);
    expect(before.matrix).toEqual([ONE]);
  });

  test("a new candidate leaves what is stable alone", () => {
    const before = nextState(NOTHING, CATALOG, [makeOutcome(ONE)]);
    const entry = makeEntry(ONE, "rebuilt");

    const after = nextState(before, CATALOG, [makeOutcome(ONE, { artifact: { entry, isStable: false } })]);

    expect(after.indices).toMatchObject([{ stable: [makeEntry(ONE)], candidate: [entry] }]);
  });

  test("a new stable artifact takes the place of the old one, and of its candidate", () => {
    const candidate = makeOutcome(ONE, { artifact: { entry: makeEntry(ONE, "first"), isStable: false } });
    const before = nextState(NOTHING, CATALOG, [makeOutcome(ONE, { content: "zero" }), candidate]);

    const after = nextState(before, CATALOG, [makeOutcome(ONE, { content: "second" })]);

    expect(after.indices).toMatchObject([{ stable: [makeEntry(ONE, "second")], candidate: [] }]);
  });

  test("artifacts of two drivers for one kernel stand beside each other", () => {
    const chime = { ...ONE, driver: "chime" };

    const state = nextState(NOTHING, CATALOG, [makeOutcome(ONE), makeOutcome(chime)]);

    expect(state.indices[0]?.stable.map(({ driver }) => driver)).toEqual(["chime", "doorbell"]);
  });

  test("what failed by its own fault is settled, and stays published as it last was", () => {
    const before = nextState(NOTHING, CATALOG, [makeOutcome(ONE)]);
    const { artifact: _, ...failed } = makeOutcome({ ...ONE, driverversion: "0.1.2" });
    const note = { ...failed.note, failure };

    const after = nextState(before, CATALOG, [{ ...failed, note }]);

    expect(after.indices).toEqual(before.indices);
    expect(after.matrix).toEqual([{ ...ONE, driverversion: "0.1.2" }]);
    expect(after.attempts).toEqual([note]);
  });

  test("what failed for want of a server is not settled, so that it is tried again", () => {
    const before = nextState(NOTHING, CATALOG, [makeOutcome(ONE), makeOutcome(TWO)]);
    const { artifact: _, ...failed } = makeOutcome(ONE, { isSettled: false });

    const after = nextState(before, CATALOG, [failed]);

    expect(after.matrix).toEqual([TWO]);
    expect(after.indices).toEqual(before.indices);
    expect(after.attempts.map(({ element }) => element)).toContain(elementKey(ONE));
  });

  test("is the same in whatever order outcomes of different elements come", () => {
    const outcomes = [ONE, TWO, ARM].map((element) => makeOutcome(element));
    const state = nextState(NOTHING, CATALOG, outcomes);
    fc.assert(
      fc.property(fc.shuffledSubarray(outcomes, { minLength: 3 }), fc.nat(3), (shuffled, cut) => {
        const half = nextState(NOTHING, CATALOG, shuffled.slice(0, cut));

        expect(nextState(half, CATALOG, shuffled.slice(cut))).toEqual(state);
      }),
    );
  });
});
