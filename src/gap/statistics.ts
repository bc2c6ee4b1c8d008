/**
 * How long things took, with what is not known of them: what is still open counts as open, and what nobody saw happen is
 * counted and left out.
 */

/** One duration, in days. */
export type Observation =
  | { readonly kind: "exact"; readonly days: number }
  /** It ended between two looks. */
  | { readonly kind: "interval"; readonly after: number; readonly before: number }
  /** It has not ended; so long it has lasted. */
  | { readonly kind: "open"; readonly days: number }
  /** It had ended before anybody looked. */
  | { readonly kind: "unseen" };

/** Days up to which a share is given. */
const WITHIN = [7, 14, 30] as const;

export interface Summary {
  /** What has ended, and when is known. */
  readonly count: number;
  readonly min?: number;
  readonly p10?: number;
  readonly p25?: number;
  readonly median?: number;
  readonly p75?: number;
  readonly p90?: number;
  readonly p95?: number;
  readonly max?: number;
  /** Shares of what has ended. */
  readonly within: Readonly<Record<(typeof WITHIN)[number], number>>;
  /** It ended before it began: a fix that a distribution took before its series had it. */
  readonly negative: number;
  /** What has ended within bounds that are known. Its later bound stands for it. */
  readonly intervals: number;
  readonly open: number;
  readonly unseen: number;
  /** The middle age of what is open. */
  readonly openMedian?: number;
  /** The day by which half of all has ended, what is open included; undefined if less than half has. */
  readonly medianWithOpen?: number;
}

export function summarize(observations: readonly Observation[]): Summary {
  const ended = observations.flatMap(endOf).sort((a, b) => a - b);
  const open = observations.flatMap((one) => (one.kind === "open" ? [one.days] : [])).sort((a, b) => a - b);
  const share = (days: number) =>
    ended.length === 0 ? 0 : ended.filter((one) => one <= days).length / ended.length;
  const half = survival(observations).find(({ open: left }) => left <= 0.5)?.days;
  const openMedian = quantile(open, 0.5);
  return {
    count: ended.length,
    ...quantilesOf(ended),
    within: { 7: share(7), 14: share(14), 30: share(30) },
    negative: ended.filter((days) => days < 0).length,
    intervals: observations.filter(({ kind }) => kind === "interval").length,
    open: open.length,
    unseen: observations.filter(({ kind }) => kind === "unseen").length,
    ...(openMedian === undefined ? {} : { openMedian }),
    ...(half === undefined ? {} : { medianWithOpen: half }),
  };
}

function endOf(one: Observation): number[] {
  return one.kind === "exact" ? [one.days] : one.kind === "interval" ? [one.before] : [];
}

function quantilesOf(sorted: readonly number[]): Partial<Summary> {
  if (sorted.length === 0) return {};
  const at = (share: number) => quantile(sorted, share) as number;
  return {
    ...{ min: at(0), p10: at(0.1), p25: at(0.25), median: at(0.5) },
    ...{ p75: at(0.75), p90: at(0.9), p95: at(0.95), max: at(1) },
  };
}

/** The value below which a share of all lies; between two values, the mean weighted by nearness. */
export function quantile(sorted: readonly number[], share: number): number | undefined {
  const place = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low === undefined || high === undefined
    ? undefined
    : low + (high - low) * (place - Math.floor(place));
}

export interface SurvivalStep {
  readonly days: number;
  /** Open just before that day. */
  readonly atRisk: number;
  readonly ended: number;
  /** The share that is still open after it. */
  readonly open: number;
}

/** Kaplan and Meier's estimate: what is open counts for as long as it has been watched. */
export function survival(observations: readonly Observation[]): SurvivalStep[] {
  const watched = observations
    .flatMap((one) => {
      const [days] = one.kind === "open" ? [one.days] : endOf(one);
      return days === undefined ? [] : [{ days, isOpen: one.kind === "open" }];
    })
    .sort((a, b) => a.days - b.days);
  const steps: SurvivalStep[] = [];
  let open = 1;
  for (let at = 0; at < watched.length; ) {
    const { days } = watched[at] as { days: number };
    let [end, ended] = [at, 0];
    while (watched[end]?.days === days) if (!(watched[end++] as { isOpen: boolean }).isOpen) ended++;
    const atRisk = watched.length - at;
    if (ended > 0) {
      open *= 1 - ended / atRisk;
      steps.push({ days, atRisk, ended, open });
    }
    at = end;
  }
  return steps;
}
