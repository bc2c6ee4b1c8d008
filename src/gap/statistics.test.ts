/** Quantiles and survival against values that are known. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Observation, quantile, summarize, survival } from "./statistics.ts";

const exact = (...days: number[]): Observation[] => days.map((one) => ({ kind: "exact", days: one }));
const open = (...days: number[]): Observation[] => days.map((one) => ({ kind: "open", days: one }));

test("quantiles lie between values as they do elsewhere", () => {
  // What numpy.quantile says.
  const shares = [0, 0.1, 0.25, 0.5, 0.9, 1];
  for (const [at, expected] of [1, 1.4, 2, 3, 7.6, 10].entries())
    expect(quantile([1, 2, 3, 4, 10], shares[at] as number)).toBeCloseTo(expected);
  expect(quantile([], 0.5)).toBeUndefined();
});

test("survival is Kaplan and Meier's, on the example of their method", () => {
  // Remission of leukaemia under 6-MP (Gehan 1965): weeks, 12 of 21 still in remission when last seen.
  const weeks = [
    ...exact(6, 6, 6, 7, 10, 13, 16, 22, 23),
    ...open(6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35),
  ];

  expect(
    survival(weeks).map(({ days, atRisk, open: left }) => [days, atRisk, Number(left.toFixed(3))]),
  ).toEqual([
    ...[
      [6, 21, 0.857],
      [7, 17, 0.807],
      [10, 15, 0.753],
      [13, 12, 0.69],
    ],
    ...[
      [16, 11, 0.627],
      [22, 7, 0.538],
      [23, 6, 0.448],
    ],
  ]);
  expect(summarize(weeks)).toMatchObject({ count: 9, open: 12, medianWithOpen: 23 });
});

test("what is left out is counted, and what came early keeps its sign", () => {
  const all: Observation[] = [
    ...exact(-3, 5, 40),
    ...open(100),
    { kind: "unseen" },
    { kind: "interval", after: 1, before: 8 },
  ];

  expect(summarize(all)).toMatchObject({
    ...{ count: 4, min: -3, max: 40, negative: 1, open: 1, unseen: 1, intervals: 1, openMedian: 100 },
    within: { 7: 0.5, 14: 0.75, 30: 0.75 },
  });
  expect(summarize([])).toEqual({
    count: 0,
    within: { 7: 0, 14: 0, 30: 0 },
    negative: 0,
    intervals: 0,
    open: 0,
    unseen: 0,
  });
});

test("without anything open, survival is the share that has not ended", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -50, max: 500 }), { minLength: 1 }), (days) => {
      for (const step of survival(exact(...days)))
        expect(step.open).toBeCloseTo(days.filter((one) => one > step.days).length / days.length);
    }),
  );
});

test("what is open never makes the share of what has ended larger", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300), { minLength: 1 }), fc.array(fc.nat(300)), (ended, waiting) => {
      const [last] = survival([...exact(...ended), ...open(...waiting)]).slice(-1);
      expect(last?.open).toBeGreaterThanOrEqual(-1e-9);
      expect(last?.open).toBeLessThanOrEqual(1);
    }),
  );
});
