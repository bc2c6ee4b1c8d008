/**
 * Whether a second build, elsewhere and otherwise, gave the same bytes.
 */
import { type Verdict, verdict } from "../verdict.ts";
import type { Check, Rebuilt } from "./check.ts";

export const reproducible = {
  name: "reproducible",
  question: "Did a second build give the same bytes?",
  howToKnow: "nobody has built it again: `kmodfarm rebuild` does it",
  isDefault: false,
  isOfFiles: false,
  judge: ({ rebuilt }) => rebuilt && checkRebuilt(rebuilt),
} as const satisfies Check;

function checkRebuilt({ result, different, of }: Rebuilt): Verdict {
  switch (result) {
    case "failed":
      return verdict("reproducible", "fail", "the second build failed");
    case "different":
      return verdict("reproducible", "fail", `built again elsewhere, other bytes: ${different.join(", ")}`);
    case "equal":
      return { ...verdict("reproducible", "pass", "built again elsewhere, the same bytes"), of: [...of] };
  }
}
