/**
 * What became of an element, in one word.
 */
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
