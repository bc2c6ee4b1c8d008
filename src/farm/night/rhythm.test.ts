import { describe, expect, test } from "vitest";
import { Rhythm } from "./rhythm.ts";

const MINUTE = 60_000;

describe("a rhythm", () => {
  test("asks everything at first, and each group again after its own time", () => {
    const rhythm = new Rhythm([
      { group: "debian12", everyMs: 15 * MINUTE },
      { group: "almalinux9", everyMs: 60 * MINUTE },
    ]);

    expect([...rhythm.take(0)]).toEqual(["debian12", "almalinux9"]);
    expect([...rhythm.take(15 * MINUTE - 1)]).toEqual([]);
    expect(rhythm.waitMs(14 * MINUTE)).toBe(MINUTE);
    expect([...rhythm.take(15 * MINUTE)]).toEqual(["debian12"]);
    expect(rhythm.waitMs(16 * MINUTE)).toBe(14 * MINUTE);
    expect([...rhythm.take(90 * MINUTE)]).toEqual(["debian12", "almalinux9"]);
  });

  test("asks what is listed together as often as the most frequent of it", () => {
    const rhythm = new Rhythm([
      { group: "debian12", everyMs: 60 * MINUTE },
      { group: "debian12", everyMs: 5 * MINUTE },
    ]);

    rhythm.take(0);

    expect(rhythm.waitMs(0)).toBe(5 * MINUTE);
  });

  test("does not catch up on what it missed", () => {
    const rhythm = new Rhythm([{ group: "debian12", everyMs: MINUTE }]);

    rhythm.take(0);
    rhythm.take(100 * MINUTE);

    expect([...rhythm.take(100.5 * MINUTE)]).toEqual([]);
  });

  test("waits for ever where there is nothing to ask", () => {
    expect(new Rhythm([]).waitMs(0)).toBe(Number.POSITIVE_INFINITY);
  });
});
