/**
 * Decisions about artifacts: a list that only grows.
 */
import { canonicalJson } from "../base/json.ts";
import { textsOf, type Verdict } from "../check/verdict.ts";
import type { Decision, IndexEntry } from "./documents.ts";

type ArtifactName = Pick<IndexEntry, "driver" | "output" | "recipe">;

export function artifactName({ driver, output, recipe }: ArtifactName): Decision["artifact"] {
  return { driver, output, recipe };
}

/** A list of decisions while it grows, each found by the artifact that it is about. */
export class DecisionLog {
  readonly #all: Decision[];
  readonly #byArtifact: Map<string, readonly Decision[]>;

  constructor(decisions: readonly Decision[]) {
    this.#all = [...decisions];
    this.#byArtifact = new Map(byArtifact(decisions));
  }

  get all(): readonly Decision[] {
    return this.#all;
  }

  /** What was decided about one artifact, oldest first. */
  of(artifact: ArtifactName): readonly Decision[] {
    return this.#byArtifact.get(keyOf(artifact)) ?? [];
  }

  /** A decision that only repeats the last one about its artifact adds nothing. */
  add(decision: Decision): void {
    const known = this.of(decision.artifact);
    const last = known.findLast(({ action }) => (action === "evidence") === (decision.action === "evidence"));
    if (last !== undefined && timeless(last) === timeless(decision)) return;
    this.#all.push(decision);
    this.#byArtifact.set(keyOf(decision.artifact), [...known, decision]);
  }
}

/** The list with one more, unless that only repeats. */
export function withDecision(decisions: readonly Decision[], decision: Decision): readonly Decision[] {
  const log = new DecisionLog(decisions);
  log.add(decision);
  return log.all.length === decisions.length ? decisions : log.all;
}

/** Decisions that keep something from nodes, and are no longer among some others. They only grow: a later one takes them back. */
export function droppedDecisions(before: readonly Decision[], after: readonly Decision[]): Decision[] {
  const kept = new Set<unknown>(after);
  const lost = before.filter(
    (one) => (one.denied !== undefined || one.floor !== undefined) && !kept.has(one),
  );
  if (lost.length === 0) return [];
  const texts = new Set(after.map((one) => canonicalJson(one)));
  return lost.filter((one) => !texts.has(canonicalJson(one)));
}

/** The last decision that moved an artifact, or kept it where it is. */
export function latestMove(decisions: readonly Decision[], artifact: ArtifactName): Decision | undefined {
  return lastMove(byArtifact(decisions).get(keyOf(artifact)) ?? []);
}

/** The same of decisions that are about one artifact. */
export function lastMove(decisions: readonly Decision[]): Decision | undefined {
  return decisions.findLast(({ action }) => ["promote", "withdraw", "rollback"].includes(action));
}

/** Who took an artifact back, when and why; undefined for any other decision. */
export function takenBackWords(last: Decision | undefined): string | undefined {
  if (last?.action !== "withdraw" && last?.action !== "rollback") return undefined;
  const { action, by, at, why } = last;
  const act = action === "withdraw" ? "withdrawn" : "rolled back";
  return `${act} by ${by} on ${at.slice(0, 10)}: ${why}`;
}

/**
 * What was found out about an artifact after its manifest was written. Earlier versions noted a second build so: a bare word,
 * which counts no more since there are statements.
 */
export function laterEvidence(decisions: readonly Decision[], artifact: ArtifactName): readonly Verdict[] {
  return (byArtifact(decisions).get(keyOf(artifact)) ?? [])
    .filter(({ action }) => action === "evidence")
    .flatMap(({ verdicts }) => verdicts.filter(({ check }) => check !== "reproducible"));
}

/** Lists never change, so each is gone through once, however many artifacts are asked for. */
const KNOWN = new WeakMap<readonly Decision[], ReadonlyMap<string, readonly Decision[]>>();

function byArtifact(decisions: readonly Decision[]): ReadonlyMap<string, readonly Decision[]> {
  const known = KNOWN.get(decisions) ?? Map.groupBy(decisions, ({ artifact }) => keyOf(artifact));
  KNOWN.set(decisions, known);
  return known;
}

function keyOf({ driver, output, recipe }: ArtifactName): string {
  return `${driver}/${output}/${recipe}`;
}

/** Without what says the same in other ways: a time, and codes, which older versions did not write. */
function timeless({ at: _, verdicts, ...rest }: Decision): string {
  return canonicalJson([rest, verdicts.map((one) => ({ ...one, reasons: textsOf(one) }))]);
}
