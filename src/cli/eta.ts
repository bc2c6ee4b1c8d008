/**
 * How long a run still takes: by what earlier runs took for each stage, and by this one where there are none.
 */
import { largest } from "../base/extremes.ts";
import type { Outlook, Stage } from "../base/progress.ts";

/** An element that is not done yet. */
export interface Ahead {
  readonly key: string;
  readonly stage: Stage;
  /** How long it has been in that stage. */
  readonly seconds: number;
}

/** What this run saw so far. */
export interface Seen {
  /** Seconds of the stages that ended. */
  readonly took: Readonly<Record<"building" | "booting", readonly number[]>>;
  /** Of elements that were done before: how many turned out to be done still, and how many not. */
  readonly stayed: number;
  readonly redone: number;
}

/** Undefined as long as nothing shows how long anything takes. */
export function secondsLeft(ahead: readonly Ahead[], outlook: Outlook, seen: Seen): number | undefined {
  const usual = { building: mean(seen.took.building), booting: mean(seen.took.booting) };
  const share = seen.stayed + seen.redone === 0 ? 0 : seen.redone / (seen.stayed + seen.redone);
  const each: number[] = [];
  for (const { key, stage, seconds } of ahead) {
    const { building = usual.building, booting = usual.booting, isDone } = outlook.of(key);
    if (building === undefined && booting === undefined) return undefined;
    const [build, boot] = [building ?? 0, booting ?? 0];
    if (stage === "building") each.push(Math.max(0, build - seconds) + boot);
    else if (stage === "booting") each.push(Math.max(0, boot - seconds));
    // What was done is likely to be done still, unless this run shows otherwise.
    else each.push((isDone ? share : 1) * (build + boot));
  }
  const together = each.reduce((sum, one) => sum + one, 0) / outlook.atOnce;
  // The longest one takes its time, however many there are at once.
  return largest(each, Math.max(together, 0));
}

function mean(numbers: readonly number[]): number | undefined {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
}

/** `40 s`, `12 min`, `3 h 20 min`: as exact as a guess may be. */
export function roughly(seconds: number): string {
  if (seconds < 55) return `${Math.max(5, Math.ceil(seconds / 5) * 5)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = Math.round((minutes % 60) / 10) * 10;
  return rest === 0 || rest === 60
    ? `${Math.round(minutes / 60)} h`
    : `${Math.floor(minutes / 60)} h ${rest} min`;
}
