/** Verdicts of which a test says only the words. */
import { type Verdict, verdict } from "../../src/check/verdict.ts";

export function makeVerdict(check: string, word: Verdict["verdict"], ...texts: readonly string[]): Verdict {
  return verdict(check, word, ...makeReasons(...texts));
}

export function makeReasons(...texts: readonly string[]): Verdict["reasons"] {
  return texts.map((text) => ({ code: "made", text }));
}
