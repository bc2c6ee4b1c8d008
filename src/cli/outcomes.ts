/**
 * What became of an element, in one word.
 */
import { hasReason } from "../check/verdict.ts";
import type { RunRow } from "../farm/night/report.ts";

export type OutcomeWord = "stable" | "candidate" | "failed" | "excluded" | "unfetchable" | "withdrawn";

export function outcomeOf({ state: { word } }: RunRow): OutcomeWord {
  // Modules that nodes do not get, for whatever reason, may still become stable.
  return word === "notBuilt" || word === "loadsOn" ? "candidate" : word;
}

/** A candidate counts as failed if a check found something wrong, not if a check could not be made. */
export function isFailed({ note, state }: RunRow): boolean {
  if (state.word === "failed") return true;
  return state.word === "candidate" && note.load?.verdict.verdict !== "unknown";
}

/**
 * Whether a load test was to be made and could not be, which proves nothing of the driver. That a mirror has no image of
 * the kernel is no fault, like a kernel that no mirror has.
 */
export function isUndecided({ note, state }: RunRow): boolean {
  const tested = note.load?.verdict;
  if (state.word !== "candidate" || tested?.verdict !== "unknown") return false;
  return !hasReason(tested, "untested", "noImage");
}

/** Whether nobody was to test it: `take --no-load` leaves that to others. */
export function isUntested({ note }: RunRow): boolean {
  return note.load !== undefined && hasReason(note.load.verdict, "untested");
}
