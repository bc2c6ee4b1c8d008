import { expect, test } from "vitest";
import { makeEntry } from "../../test/support/artifacts.ts";
import { makeElement } from "../../test/support/elements.ts";
import type { Blame, ErrorCode } from "../base/error-codes.ts";
import type { SourceProblem } from "../catalog/update.ts";
import { type LoadCode, loadReason } from "../check/checks/load.ts";
import { withReasons } from "../check/verdict.ts";
import type { RunRow } from "../farm/night/report.ts";
import type { Placed } from "../registry/element-state.ts";
import { exitOf, faultText } from "./faults.ts";

function failed(code: ErrorCode, blame: Blame): RunRow {
  const element = makeElement();
  const failure = { code, blame, cause: "", line: "" };
  const note = { element: "", at: "2026-01-01T00:00:00.000Z", compiler: "gcc-12", failure };
  return { element, isNew: true, note, state: { word: "failed", attempt: note } };
}

/** Built, and neither found to load nor found not to. */
function undecided(code: LoadCode, word: "candidate" | "stable" = "candidate"): RunRow {
  const element = makeElement();
  const verdict = withReasons("load", "unknown", [loadReason(code, "the reason")]);
  const note = { element: "", at: "2026-01-01T00:00:00.000Z", compiler: "gcc-12", load: { verdict } };
  const listed = { channel: word, entry: makeEntry(element, "built") };
  return { element, isNew: true, note, state: { word, artifact: { listed } as unknown as Placed } };
}

const BAD_DRIVER = failed("BUILD_FAILED", "source");
const NO_SANDBOX = failed("TOOL_MISSING", "infra");
const NO_SERVER = failed("REMOTE_UNAVAILABLE", "remote");
const problem = (code: ErrorCode): SourceProblem => ({
  ...{ source: "x", detail: "", hint: "", code, integrity: false },
});

test.each<[string, readonly RunRow[], readonly SourceProblem[], number]>([
  ["nothing went wrong", [], [], 0],
  ["a driver does not build", [BAD_DRIVER], [], 1],
  ["a setting is wrong", [failed("CONFIG_INVALID", "input")], [], 1],
  ["nobody knows why a build failed", [failed("BUILD_UNEXPLAINED", "unknown")], [], 1],
  ["a tool is missing", [NO_SANDBOX], [], 3],
  ["a server is down, and a tool is missing", [NO_SERVER, NO_SANDBOX], [], 3],
  ["a tool is missing, and a driver does not build either", [NO_SANDBOX, BAD_DRIVER], [], 1],
  ["a guest was silent", [undecided("silent")], [], 3],
  ["a guest was silent, and the policy does not ask", [undecided("silent", "stable")], [], 0],
  ["nobody was to test it", [undecided("untested")], [], 0],
  ["no mirror has an image to test it with", [undecided("noImage")], [], 0],
  ["a source needs a look", [], [problem("REMOTE_UNAVAILABLE")], 3],
  ["a digest is wrong", [NO_SANDBOX, failed("DIGEST_MISMATCH", "integrity")], [], 4],
  ["the store is damaged", [], [problem("STORE_CORRUPT")], 4],
])("when %#: %s, the exit code says who is to look", (_, rows, problems, exit) => {
  expect(exitOf({ rows, problems })).toBe(exit);
});

test("counts what went wrong, by whom it concerns, and says the exit code", () => {
  const mixed = {
    rows: [BAD_DRIVER, NO_SANDBOX, BAD_DRIVER, NO_SERVER],
    problems: [problem("REMOTE_UNAVAILABLE")],
  };

  expect(faultText(mixed, exitOf(mixed))).toBe(
    "Exit code 1: 2 faults of the driver, 3 faults of this machine or a server.\n",
  );
  expect(faultText({ ...mixed, problems: [problem("STORE_CORRUPT")] }, 4)).toBe(
    "Exit code 4: 1 fault of integrity, 2 faults of the driver, 2 faults of this machine or a server.\n",
  );
  expect(faultText({ rows: [], problems: [], isEmpty: true }, 3)).toBe("Exit code 3: nothing is selected.\n");
  expect(faultText({ rows: [], problems: [] }, 0)).toBe("");
});
