import { describe, expect, test } from "vitest";
import { type BoardState, boardLines } from "./live-board.ts";

const NOW = Date.parse("2026-11-28T12:00:00Z");

function stateWith(changes: Partial<BoardState> = {}): BoardState {
  return {
    ...{ active: new Map(), tasks: new Map(), done: 0, failed: 0, asBefore: 0 },
    ...{ secondsLeft: undefined, fetchedBytes: 0, ...changes },
  };
}

function working(count: number): BoardState["active"] {
  return new Map(
    Array.from({ length: count }, (_, index) => [
      `${index}`,
      {
        name: `doorbell 1.0.0 debian12/x86_64/6.1.0-${index}-amd64`,
        stage: index % 2 === 0 ? ("booting" as const) : ("building" as const),
        detail: undefined,
        sinceMs: NOW - index * 1000,
      },
    ]),
  );
}

describe("the lines of a board", () => {
  test.each([
    [80, 24, 32],
    [140, 40, 3],
    [50, 10, 32],
    [20, 4, 32],
    [300, 2, 32],
    [10, 1, 5],
  ])(
    "on %i columns and %i rows leave the last of both free, with %i elements under way",
    (columns, rows, count) => {
      const state = stateWith({
        active: working(count),
        asBefore: 2000,
        secondsLeft: 125,
        fetchedBytes: 5e7,
      });
      const lines = boardLines(state, { columns, rows }, NOW);

      expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows - 1));
      for (const line of lines) expect(Array.from(line).length).toBeLessThan(columns);
      const shown = lines.filter((line) => /^ {3}(building|booting)/.test(line)).length;
      if (columns >= 50 && shown < count && rows > 2)
        expect(lines.at(-1)).toBe(`   and ${count - shown} more`);
    },
  );

  test("say how it goes, what is built before what is booted, the oldest first", () => {
    const state = stateWith({
      ...{ active: working(4), done: 3, failed: 1, asBefore: 30, secondsLeft: 700, fetchedBytes: 5 << 20 },
      tasks: new Map([["asking the mirrors", { detail: "3 of 17 answered", sinceMs: NOW - 4000 }]]),
    });

    expect(boardLines(state, { columns: 100, rows: 24 }, NOW)).toEqual([
      "── 3 done, 1 failed, 4 to do, about 12 min left, 30 as before, 5.0 MiB fetched",
      expect.stringMatching(/^ {3}[⠋-⠿] {12}4 s {2}asking the mirrors: 3 of 17 answered$/u),
      "   building     3 s  doorbell 1.0.0 debian12/x86_64/6.1.0-3-amd64",
      "   building     1 s  doorbell 1.0.0 debian12/x86_64/6.1.0-1-amd64",
      "   booting      2 s  doorbell 1.0.0 debian12/x86_64/6.1.0-2-amd64",
      "   booting      0 s  doorbell 1.0.0 debian12/x86_64/6.1.0-0-amd64",
    ]);
  });

  test("where it is narrow drop what tells least, and keep the kernel", () => {
    const state = stateWith({ active: working(1), asBefore: 30, secondsLeft: 700, fetchedBytes: 5 << 20 });

    expect(boardLines(state, { columns: 50, rows: 10 }, NOW)).toEqual([
      "── 0 done, 0 failed, 1 to do, about 12 min left",
      "   booting      0 s  …bian12/x86_64/6.1.0-0-amd64",
    ]);
  });

  test("are none before anything happens", () => {
    expect(boardLines(stateWith({ asBefore: 3 }), { columns: 80, rows: 24 }, NOW)).toEqual([]);
  });
});
