/**
 * Decisions about artifacts: a list that only grows.
 */
import { canonicalJson } from "../base/json.ts";
import type { Verdict } from "../check/verdict.ts";
import type { Decision, IndexEntry } from "./documents.ts";

type ArtifactName = Pick<IndexEntry, "driver" | "output" | "recipe">;

export function artifactName({ driver, output, recipe }: ArtifactName): Decision["artifact"] {
  return { driver, output, recipe };
}

/** What was decided about one artifact, oldest first. */
function decisionsOf(decisions: readonly Decision[], artifact: ArtifactName): readonly Decision[] {
  return decisions.filter(
    ({ artifact: one }) =>
      one.recipe === artifact.recipe && one.driver === artifact.driver && one.output === artifact.output,
  );
}

/** A decision that only repeats the last one about its artifact adds nothing. */
export function withDecision(decisions: readonly Decision[], decision: Decision): readonly Decision[] {
  const last = decisionsOf(decisions, decision.artifact).findLast(
    ({ action }) => (action === "evidence") === (decision.action === "evidence"),
  );
  const timeless = ({ at: _, ...rest }: Decision) => canonicalJson(rest);
  return last !== undefined && timeless(last) === timeless(decision) ? decisions : [...decisions, decision];
}

/** The last decision that moved an artifact, or kept it where it is. */
export function latestMove(decisions: readonly Decision[], artifact: ArtifactName): Decision | undefined {
  return decisionsOf(decisions, artifact).findLast(({ action }) =>
    ["promote", "withdraw", "rollback"].includes(action),
  );
}

/** Taken back by somebody, and not promoted by anybody since. */
export function isWithdrawn(decisions: readonly Decision[], artifact: ArtifactName): boolean {
  return takenBackWords(latestMove(decisions, artifact)) !== undefined;
}

/** Who took an artifact back, when and why; undefined for any other decision. */
export function takenBackWords(last: Decision | undefined): string | undefined {
  if (last?.action !== "withdraw" && last?.action !== "rollback") return undefined;
  const { action, by, at, why } = last;
  const act = action === "withdraw" ? "withdrawn" : "rolled back";
  return `${act} by ${by} on ${at.slice(0, 10)}: ${why}`;
}

/** What was found out about an artifact after its manifest was written. */
export function laterEvidence(decisions: readonly Decision[], artifact: ArtifactName): readonly Verdict[] {
  return decisionsOf(decisions, artifact)
    .filter(({ action }) => action === "evidence")
    .flatMap(({ verdicts }) => verdicts);
}
