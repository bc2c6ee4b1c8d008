/**
 * Where artifacts stand, and why: what nodes get, what waits, and what was withdrawn.
 */
import { textsOf } from "../check/verdict.ts";
import { latestMove, takenBackWords } from "./decisions.ts";
import type { ChannelName, Decision, Index, IndexEntry } from "./documents.ts";

/** An artifact with the index that lists it, and the channel it is in. */
export interface Listed {
  readonly index: Index;
  readonly entry: IndexEntry;
  readonly channel: ChannelName;
}

export interface Standing {
  readonly word: "stable" | "candidate" | "withdrawn";
  /** Why it is no more than that; of a stable one, what was waived for it. */
  readonly reasons: readonly string[];
}

/** Every artifact of some indices. */
export function listAll(indices: readonly Index[]): Listed[] {
  return indices.flatMap((index) =>
    (["stable", "candidate"] as const).flatMap((channel) =>
      index[channel].map((entry) => ({ index, entry, channel })),
    ),
  );
}

export function standingOf(
  decisions: readonly Decision[],
  { entry, channel }: Pick<Listed, "entry" | "channel">,
): Standing {
  const last = latestMove(decisions, entry);
  if (channel === "stable") return { word: "stable", reasons: waivers(last?.verdicts ?? []) };
  const takenBack = takenBackWords(last);
  return takenBack === undefined
    ? { word: "candidate", reasons: entry.reasons ?? [] }
    : { word: "withdrawn", reasons: [takenBack] };
}

/** `stable`, `candidate: load: fail: …`, `withdrawn by ann on 2026-11-27: …` */
export function standingWords({ word, reasons }: Standing): string {
  if (reasons.length === 0) return word;
  return word === "withdrawn" ? reasons.join("; ") : `${word}: ${reasons.join("; ")}`;
}

/** What a promotion rests on that is no pass. */
export function waivers(verdicts: readonly Decision["verdicts"][number][]): string[] {
  return verdicts
    .filter(({ verdict }) => verdict === "waived")
    .map(({ check, reasons }) => `${check} waived: ${textsOf({ reasons }).join("; ")}`);
}
