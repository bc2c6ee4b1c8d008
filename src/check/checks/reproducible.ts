/**
 * Whether others who built it again, elsewhere and otherwise, got the same bytes: as many of them as the policy wants.
 */
import { countRebuilds, findingsText, shortKey } from "../rebuilds.ts";
import { type Reason, reason, type Verdict, type VerdictWord, withReasons } from "../verdict.ts";
import type { Check, Rebuilds } from "./check.ts";

const CODES = ["differs", "equal", "tooFew"] as const;
type Because = Reason<(typeof CODES)[number]>;

export const reproducible = {
  name: "reproducible",
  codes: CODES,
  question: "Did a second build give the same bytes?",
  howToKnow: "not built a second time yet; `kmodfarm rebuild` does that",
  isDefault: false,
  isOfFiles: false,
  isKeyed: true,
  judge: ({ rebuilds }) =>
    rebuilds === undefined || rebuilds.bundles.length === 0 ? undefined : checkRebuilds(rebuilds),
} as const satisfies Check;

function checkRebuilds({ bundles, artifact, rule, of }: Rebuilds): Verdict {
  const { equal, different } = countRebuilds(bundles, artifact, rule);
  const said = (word: VerdictWord, ...reasons: readonly Because[]): Verdict => ({
    ...withReasons("reproducible", word, reasons),
    of: [...of],
  });
  if (different.size > 0)
    return said(
      "fail",
      ...[...different].map(([key, findings]) =>
        reason("differs", `${shortKey(key)} built it again: ${findingsText(findings)}`),
      ),
    );
  const others = rule.notTheBuilder ? " besides the builder's" : "";
  const count = `${equal.length} of the ${rule.of} wanted ${rule.of === 1 ? "key" : "keys"}${others}`;
  if (equal.length < rule.of)
    return said("unknown", reason("tooFew", `${count} built it again with the same bytes`));
  return said(
    "pass",
    reason("equal", `built again with the same bytes by ${equal.map(shortKey).join(", ")}`),
  );
}
