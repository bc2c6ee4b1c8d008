import { describe, expect, test } from "vitest";
import type { Stage } from "../base/progress.ts";
import { type Ahead, roughly, secondsLeft } from "./eta.ts";

const NOTHING_SEEN = { took: { building: [], booting: [] }, stayed: 0, redone: 0 };
const ahead = (count: number, stage: Stage = "waiting", seconds = 0): Ahead[] =>
  Array.from({ length: count }, (_, index) => ({ key: `${stage} ${index}`, stage, seconds }));
const outlook = (known: { building?: number; booting?: number }, isDone = false, atOnce = 1) => ({
  ...{ atOnce, of: () => ({ ...known, isDone }), fetchedBytes: () => 0 },
});

describe("the time that is left", () => {
  test("is what earlier runs took for the stages to come, by as many as work at once", () => {
    const known = { building: 10, booting: 20 };

    expect(secondsLeft(ahead(8), outlook(known, false, 4), NOTHING_SEEN)).toBe(60);
    expect(secondsLeft(ahead(1, "building", 4), outlook(known), NOTHING_SEEN)).toBe(26);
    expect(secondsLeft(ahead(1, "booting", 15), outlook(known), NOTHING_SEEN)).toBe(5);
  });

  test("is never shorter than its longest element", () => {
    expect(secondsLeft(ahead(2), outlook({ building: 10, booting: 20 }, false, 8), NOTHING_SEEN)).toBe(30);
  });

  test("takes what was done for done, unless this run shows otherwise", () => {
    const known = outlook({ building: 10, booting: 20 }, true);

    expect(secondsLeft(ahead(100), known, NOTHING_SEEN)).toBe(0);
    expect(secondsLeft(ahead(100), known, { ...NOTHING_SEEN, stayed: 1, redone: 3 })).toBe(2250);
  });

  test("is what this run saw if there is no history, and unknown if it saw nothing", () => {
    const took = { building: [4, 8], booting: [] };

    expect(secondsLeft(ahead(1), outlook({}), NOTHING_SEEN)).toBeUndefined();
    expect(secondsLeft(ahead(1), outlook({}), { ...NOTHING_SEEN, took })).toBe(6);
  });
});

test.each([
  [1, "5 s"],
  [31, "35 s"],
  [58, "1 min"],
  [800, "13 min"],
  [3600, "1 h"],
  [12_000, "3 h 20 min"],
  [14_300, "4 h"],
])("%i seconds are said as %s", (seconds, said) => {
  expect(roughly(seconds)).toBe(said);
});
