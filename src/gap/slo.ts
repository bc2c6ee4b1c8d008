/**
 * How soon modules are promised, and what became of that: a kernel's tier follows from what it closes, and each tier has its
 * hours, counted from when the farm first saw the kernel.
 */
import { largest } from "../base/extremes.ts";
import type { Score } from "./order.ts";

/** What a kernel closes: something exploited; with an exploit, or severe and remote; severe; anything else. */
export const TIERS = ["P0", "P1", "P2", "P3"] as const;
export type Tier = (typeof TIERS)[number];

/** Hours until modules are stable; tiers without any have no promise. */
export type Slo = Readonly<Partial<Record<Tier, number>>>;

export function tierOf({ terms }: Score): Tier {
  const has = (...names: readonly string[]) => terms.some(({ name }) => names.includes(name));
  if (has("exploited")) return "P0";
  if (has("exploit", "remote")) return "P1";
  return has("severe") ? "P2" : "P3";
}

/** A driver series that is promised for a kernel. */
export interface Promised {
  readonly driver: string;
  readonly series: string;
  readonly kernel: string;
  readonly tier: Tier;
  readonly hours: number;
  /** When the farm first saw the kernel, and when its modules became stable. */
  readonly since: string;
  readonly stable?: string;
}

export interface Standing extends Promised {
  /** `late` came after its time, `breached` has not come yet. */
  readonly state: "met" | "late" | "open" | "burning" | "breached";
  /** Hours that it took, or has taken so far. */
  readonly taken: number;
}

/** Share of its time from which on what is not there yet is reported. */
export const BURNING = 0.75;
const HOUR_MS = 3_600_000;

export function standingOf(promised: Promised, now: Date): Standing {
  const { since, stable, hours } = promised;
  const end = stable === undefined ? now.getTime() : Date.parse(stable);
  // A clock that went back makes nothing early.
  const taken = Math.max(0, end - Date.parse(since)) / HOUR_MS;
  return { ...promised, taken, state: stateOf(taken / hours, stable !== undefined) };
}

function stateOf(used: number, isStable: boolean): Standing["state"] {
  if (isStable) return used > 1 ? "late" : "met";
  if (used > 1) return "breached";
  return used >= BURNING ? "burning" : "open";
}

export interface TierSummary {
  readonly tier: Tier;
  readonly hours: number;
  readonly met: number;
  /** Came late, or have not come in time. */
  readonly breached: number;
  readonly open: number;
  /** The largest share of its time that any of the open ones has used: 1 is all of it. */
  readonly burn: number;
}

export function tierSummaries(standings: readonly Standing[], slo: Slo): TierSummary[] {
  return TIERS.flatMap((tier) => {
    const hours = slo[tier];
    if (hours === undefined) return [];
    const own = standings.filter((one) => one.tier === tier);
    const count = (...states: readonly Standing["state"][]) =>
      own.filter(({ state }) => states.includes(state)).length;
    const open = own.filter(({ stable }) => stable === undefined);
    return [
      {
        ...{ tier, hours, met: count("met"), breached: count("late", "breached") },
        open: count("open", "burning"),
        burn: largest(
          open.map(({ taken }) => taken / hours),
          0,
        ),
      },
    ];
  });
}
