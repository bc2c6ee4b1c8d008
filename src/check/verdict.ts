/**
 * What a check says of an artifact.
 */
import { z } from "zod";

export const Verdict = z.object({
  check: z.string(),
  /** `unknown` never counts as a pass. */
  verdict: z.enum(["pass", "fail", "unknown", "notApplicable", "waived"]),
  /** For a person: what was seen, and for anything but a pass what to do. */
  reasons: z.array(z.string()),
});
export type Verdict = z.infer<typeof Verdict>;
