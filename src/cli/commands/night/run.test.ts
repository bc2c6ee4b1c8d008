/** What `run` prints at its end. */
import { expect, test } from "vitest";
import type { RunReport } from "../../../farm/night/report.ts";
import type { Farm } from "../../../farm/open.ts";
import { summaryText, toText } from "./run.ts";

const REPORT: RunReport = {
  ...{ rows: [], wanted: 0, outOfReach: 0, handedOut: 0, excluded: [], isEmpty: false, ofAll: undefined },
  ...{ otherStable: 0, earlierStable: 0, problems: [], unfetchable: 0, generation: 7, kernels: 12 },
};

test.each<[string, Partial<RunReport>, string]>([
  ["a quiet run", {}, "Generation 7: 0 stable, 0 candidates, 0 failed, 0 of them new; 12 kernels known.\n"],
  [
    "stable artifacts outside of the selection",
    { otherStable: 6 },
    "known. It also has 6 stable outside this run's selection: `kmodfarm matrix show`.\n",
  ],
  [
    "a driver that no longer builds, whose earlier modules nodes still get",
    { earlierStable: 6 },
    "known. What was published before stays so for 6 of what is not stable now.\n",
  ],
  [
    "exclusions",
    { excluded: [{ reason: "not yet", count: 3, stable: 3 }] },
    "3 excluded from the selection: not yet (3 of them stay published: `kmodfarm withdraw` takes them back)\n",
  ],
  [
    "an exclusion of what was never stable",
    { excluded: [{ reason: "no", count: 1, stable: 0 }] },
    "selection: no\n",
  ],
  [
    "one kernel that its mirror does not have",
    { unfetchable: 1 },
    " 1 of them is listed but not on its mirror",
  ],
  ["a single kernel", { kernels: 1 }, "; 1 kernel known.\n"],
])("of %s the end says so", (_, changes, said) => {
  expect(summaryText({ ...REPORT, ...changes })).toContain(said);
});

test.each<[string, Partial<RunReport>, RegExp]>([
  [
    "everything is excluded",
    { excluded: [{ reason: "not yet", count: 3, stable: 0 }] },
    /^Nothing to build: everything selected is excluded\./,
  ],
  [
    "nothing is selected",
    { isEmpty: true },
    /^Nothing to build: the selection matches none of the 12 known kernels\./,
  ],
  [
    "no source could be asked",
    {
      problems: [
        {
          source: "debian/bookworm",
          detail: "gone",
          hint: "Wait.",
          code: "REMOTE_UNAVAILABLE",
          integrity: false,
        },
      ],
    },
    /^Nothing to build among the 12 known kernels, but not every source could be queried: see below\./,
  ],
])("where %s, that is why there is no row", (_, changes, said) => {
  const farm = { store: { place: "/store" } } as Farm;

  expect(toText({ ...REPORT, ...changes }, farm)).toMatch(said);
});

test("a problem's words make no lines of their own", () => {
  const problem = {
    source: "a",
    detail: "b\n::error::c",
    hint: "Look.",
    code: "REMOTE_UNAVAILABLE",
    integrity: false,
  } as const;

  expect(summaryText({ ...REPORT, problems: [problem] })).toMatch(/^a: b\\n::error::c\n {2}Look\. \[/);
});
