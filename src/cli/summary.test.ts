import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { FarmError } from "../base/error.ts";
import type { RunRow } from "../farm/night/report.ts";
import { SUMMARY_LIMIT_BYTES, type SummarizedReport, summaryOf, trySummaryOf } from "./summary.ts";

const DONE = { at: "2026-03-01T00:00:00.000Z", compiler: "gcc-12" };

function row(changes: Partial<RunRow>, kversion = "6.1.0-56-amd64", distribution = "debian12"): RunRow {
  return {
    element: makeElement({ kversion, distribution }),
    note: { element: kversion, ...DONE },
    isNew: true,
    state: { word: "stable" } as RunRow["state"],
    ...changes,
  };
}

function failed(cause: string, kversion?: string): RunRow {
  const failure = {
    code: "BUILD_FAILED",
    blame: "source" as const,
    cause,
    line: "",
    file: "x.c",
    lineNumber: 7,
  };
  return row(
    {
      note: {
        element: kversion ?? "",
        ...DONE,
        failure: { ...failure, advice: "Fix it." },
      } as RunRow["note"],
      state: { word: "failed" } as RunRow["state"],
    },
    kversion,
  );
}

function reportOf(rows: readonly RunRow[], changes: Partial<SummarizedReport> = {}): SummarizedReport {
  return {
    ...{
      rows,
      wanted: rows.length,
      outOfReach: 0,
      handedOut: 0,
      excluded: [],
      otherStable: 0,
      earlierStable: 0,
      isEmpty: false,
    },
    ...{ problems: [], unfetchable: 0, generation: 12, kernels: 84, ...changes },
  };
}

describe("the summary of a run", () => {
  test("has coverage, failures by cause, and what changed", () => {
    const rows = [
      row({ isNew: false }),
      row({}, "6.1.0-57-amd64"),
      row({ isNew: false }, "6.12.1-amd64", "debian13"),
      failed("no such header", "6.1.0-58-amd64"),
      failed("no such header", "6.1.0-59-amd64"),
    ];

    const lines = summaryOf(reportOf(rows, { wanted: 7, handedOut: 2 })).split("\n");

    expect(lines.slice(0, 3)).toEqual([
      "## kmodfarm: generation 12",
      "",
      "3 of 7 wanted elements (42 %) stable. 2 are still to be done.",
    ]);
    expect(lines).toContain("| debian12 | x86&#95;64 | 2 | 0 | 2 | 0 | 0 | 3 |");
    expect(lines).toContain("| debian13 | x86&#95;64 | 1 | 0 | 0 | 0 | 0 | 0 |");
    expect(lines.filter((line) => line.includes("no such header"))).toEqual([
      "| doorbell 0&#46;1&#46;1 | 2 | no such header &#91;BUILD&#95;FAILED&#93; | x&#46;c&#58;7 | Fix it&#46; |",
    ]);
    expect(lines.filter((line) => line.endsWith("| stable |"))).toHaveLength(1);
  });

  test("makes neither a link nor a table of others' words", () => {
    const words =
      "[x](https://evil.example) ![](x) <img src=x> | `a` | @all www.evil.example\n## head \u202e";

    const text = summaryOf(
      reportOf([failed(words)], {
        refused: [{ file: "x.tar", error: new FarmError("HAND_OVER_REFUSED", { detail: words }) }],
      }),
    );

    expect(text).not.toMatch(/[^\x20-\x7e\n]/);
    expect(text).not.toMatch(/\[x\]|<img|www\.|https:|@all|`|\n## head/);
    for (const line of text.split("\n").filter((one) => one.startsWith("|")))
      expect([6, 9, 3, 4]).toContain(line.split("|").length - 1);
  });

  test("stays within what is shown, and says that it does not have all", () => {
    const rows = Array.from({ length: 20_000 }, (_, index) => row({}, `6.1.0-${index}-${"long".repeat(20)}`));

    const text = summaryOf(reportOf(rows));

    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(SUMMARY_LIMIT_BYTES);
    expect(text).toMatch(/\n\n\d+ more lines are left out; the log of the command has all of it\.\n$/);
  });
});

test("a trial's summary has its table, and each cause once", () => {
  const rows = [failed("a prototype changed"), failed("a prototype changed", "6.1.0-57-amd64")];

  const text = trySummaryOf(
    "0 of 2 kernels",
    ["RELEASE", "BUILT"],
    [["6.1.0-56-amd64", "failed | <b>"]],
    rows,
  );

  expect(text).toMatch(/^## kmodfarm try\n\n0 of 2 kernels\n\n### Kernels\n\n\| RELEASE \| BUILT \|\n/);
  expect(text).not.toMatch(/<b>|failed \| {2}</);
  expect(text.match(/a prototype changed/g)).toHaveLength(1);
});
