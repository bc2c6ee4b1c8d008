/**
 * What a check says of an artifact.
 */
import { z } from "zod";

const VERDICT_WORDS = ["pass", "fail", "unknown", "notApplicable", "waived"] as const;

/** The very bytes of a module that a check looked at. */
const Subject = z.object({
  module: z.string(),
  sha256: z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]),
});
export type Subject = z.infer<typeof Subject>;

export const Verdict = z.object({
  check: z.string(),
  /** `unknown` never counts as a pass. */
  verdict: z.enum(VERDICT_WORDS),
  /** For a person: what was seen, and for anything but a pass what to do. */
  reasons: z.array(z.string()),
  /** What was looked at, where a check names it: a verdict holds for these bytes and for no others. */
  of: z.array(Subject).optional(),
});
export type Verdict = z.infer<typeof Verdict>;

/** How many reasons a verdict has, and how long each is: what a driver says must not fill documents that all share. */
const MOST_REASONS = 20;
const REASON_CHARACTERS = 500;

export function verdict(check: string, word: Verdict["verdict"], ...reasons: string[]): Verdict {
  return withReasons(check, word, reasons);
}

/** The same for a list, of any length: the first ones are named, the others counted. */
export function withReasons(check: string, word: Verdict["verdict"], reasons: readonly string[]): Verdict {
  return { check, verdict: word, reasons: boundedReasons(reasons) };
}

/** The first of many reasons, each of a length that can be read, and how many more there are. */
export function boundedReasons(reasons: readonly string[]): string[] {
  // One more than that takes no more room than to say so, and what was counted before is not counted again.
  const isFew = reasons.length <= MOST_REASONS + 1;
  const named = reasons
    .slice(0, isFew ? undefined : MOST_REASONS)
    .map((reason) => shortened(reason, REASON_CHARACTERS));
  const rest = reasons.length - named.length;
  return rest === 0 ? named : [...named, `and ${rest.toLocaleString("en-US")} more`];
}

/** A text of at most so many characters; what was cut is marked. */
export function shortened(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters - 1).toWellFormed()}…`;
}

/**
 * The verdict of a check that looks at several things: faults win over what could not be found out, and that over
 * what is good.
 */
export function summed(
  check: string,
  { faults, gaps, good }: { faults: readonly string[]; gaps: readonly string[]; good: readonly string[] },
): Verdict {
  if (faults.length > 0) return withReasons(check, "fail", faults);
  return gaps.length > 0 ? withReasons(check, "unknown", gaps) : withReasons(check, "pass", good);
}
