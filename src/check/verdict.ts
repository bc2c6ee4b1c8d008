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

export function verdict(check: string, word: Verdict["verdict"], ...reasons: string[]): Verdict {
  return { check, verdict: word, reasons };
}

/**
 * The verdict of a check that looks at several things: faults win over what could not be found out, and that over
 * what is good.
 */
export function summed(
  check: string,
  { faults, gaps, good }: { faults: readonly string[]; gaps: readonly string[]; good: readonly string[] },
): Verdict {
  if (faults.length > 0) return verdict(check, "fail", ...faults);
  return gaps.length > 0 ? verdict(check, "unknown", ...gaps) : verdict(check, "pass", ...good);
}
