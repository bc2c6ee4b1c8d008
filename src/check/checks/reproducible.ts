/**
 * Whether a second build, elsewhere and otherwise, gave the same bytes.
 */
import { reason, type Verdict, verdict } from "../verdict.ts";
import type { Check, Rebuilt } from "./check.ts";

const CODES = ["buildFailed", "differs", "equal"] as const;
type Code = (typeof CODES)[number];

export const reproducible = {
  name: "reproducible",
  codes: CODES,
  question: "Did a second build give the same bytes?",
  howToKnow: "not built a second time yet; `kmodfarm rebuild` does that",
  isDefault: false,
  isOfFiles: false,
  judge: ({ rebuilt }) => rebuilt && checkRebuilt(rebuilt),
} as const satisfies Check;

function checkRebuilt({ result, different, of }: Rebuilt): Verdict {
  switch (result) {
    case "failed":
      return said("fail", "buildFailed", "the second build failed");
    case "different":
      return said(
        "fail",
        "differs",
        `a second build in a different environment gave different bytes: ${different.join(", ")}`,
      );
    case "equal":
      return {
        ...said("pass", "equal", "a second build in a different environment gave the same bytes"),
        of: [...of],
      };
  }
}

function said(word: Verdict["verdict"], code: Code, text: string): Verdict {
  return verdict("reproducible", word, reason(code, text));
}
