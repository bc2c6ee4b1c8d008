import { describe, expect, test } from "vitest";
import type { Score } from "./order.ts";
import { type Promised, standingOf, tierOf, tierSummaries } from "./slo.ts";

const scored = (...names: Score["terms"][0]["name"][]): Score => ({
  value: 1,
  terms: names.map((name) => ({ name, value: 1, weight: 1, cves: [], feed: "cna" })),
});
const PROMISED: Promised = {
  ...{ driver: "doorbell", series: "0.1.0", kernel: "debian12/x86_64/6.1.0-52-amd64_6.1.170-1" },
  ...{ tier: "P0", hours: 24, since: "2026-11-27T00:00:00Z" },
};
const at = (day: number, hour: number) => new Date(Date.UTC(2026, 10, day, hour));

test("a kernel's tier is that of the worst that it closes", () => {
  expect(tierOf(scored("fixes", "severe", "exploited"))).toBe("P0");
  expect(tierOf(scored("severe", "exploit"))).toBe("P1");
  expect(tierOf(scored("severe", "remote"))).toBe("P1");
  expect(tierOf(scored("fixes", "severe", "likely"))).toBe("P2");
  expect(tierOf(scored("fixes", "age"))).toBe("P3");
});

describe("a promise", () => {
  test.each([
    ["open", at(27, 17), undefined],
    ["burning", at(27, 18), undefined],
    ["burning", at(28, 0), undefined],
    ["breached", at(28, 1), undefined],
    ["met", at(30, 0), "2026-11-27T20:00:00Z"],
    ["late", at(30, 0), "2026-11-29T00:00:00Z"],
    // A clock that went back.
    ["open", at(20, 0), undefined],
    ["met", at(30, 0), "2026-11-20T00:00:00Z"],
  ])("is %s", (state, now, stable) => {
    const promised = stable === undefined ? PROMISED : { ...PROMISED, stable };

    expect(standingOf(promised, now)).toMatchObject({ state, taken: expect.any(Number) });
    expect(standingOf(promised, now).taken).toBeGreaterThanOrEqual(0);
  });

  test("is counted with its tier, and tiers without hours are not", () => {
    const now = at(28, 6);
    const standings = [
      standingOf(PROMISED, now),
      standingOf({ ...PROMISED, since: "2026-11-27T18:00:00Z" }, now),
      standingOf({ ...PROMISED, stable: "2026-11-27T20:00:00Z" }, now),
      standingOf({ ...PROMISED, stable: "2026-11-28T04:00:00Z" }, now),
    ];

    expect(tierSummaries(standings, { P0: 24, P2: 720 })).toEqual([
      { tier: "P0", hours: 24, met: 1, breached: 2, open: 1, burn: 1.25 },
      { tier: "P2", hours: 720, met: 0, breached: 0, open: 0, burn: 0 },
    ]);
  });
});
