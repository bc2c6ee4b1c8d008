/**
 * What upstream's history says of one CVE in one of its releases. Pairs of a CVE that name one culprit belong together: each
 * culprit that a release has must be fixed in it.
 */
import { smallest } from "../base/extremes.ts";
import { compareUpstreamVersions, type UpstreamVersion } from "../kernel/upstream-version.ts";
import { NONE, type Pair, versionOf } from "./records.ts";

interface Stretch {
  readonly introduced: UpstreamVersion;
  readonly fixed: UpstreamVersion | undefined;
}

/** Where one commit brought the bug in, branch by branch, and where each of these was fixed. */
export interface Culprit {
  readonly stretches: readonly Stretch[];
}

export type UpstreamVerdict =
  | { readonly verdict: "not_affected" }
  /** The newest release up to this one that fixed a culprit of it. */
  | { readonly verdict: "fixed"; readonly fixedIn: UpstreamVersion }
  /** The first release of the same series in which no culprit is open; undefined if there is none. */
  | { readonly verdict: "affected"; readonly fixedIn: UpstreamVersion | undefined };

/** Before every release, and contained in all of them. */
const BEGINNING: UpstreamVersion = { series: 0, patch: 0 };

/** The culprits of a CVE, without pairs that say nothing of any release. */
export function culpritsOf(pairs: readonly Pair[]): readonly Culprit[] {
  const all = pairs.map(([introduced, culprit, fixed]) => ({
    culprit,
    introduced: introduced === NONE ? BEGINNING : (versionOf(introduced) ?? BEGINNING),
    fixed: fixed === NONE ? undefined : versionOf(fixed),
  }));
  const fixedSeries = new Set(all.map(({ fixed }) => fixed?.series));
  const kept = all.filter(({ introduced, fixed }) =>
    fixed === undefined
      ? // Its branch has a fix, so the culprit was taken out of the branch again.
        introduced.patch === 0 || !fixedSeries.has(introduced.series)
      : // What came and went within one release never reached anybody; what was fixed before it came is a slip.
        compareUpstreamVersions(introduced, fixed) < 0,
  );
  return [...Map.groupBy(kept, ({ culprit }) => culprit).values()].map((stretches) => ({ stretches }));
}

/** Whether a release contains what first appeared in another: by its own series, or by mainline before it. */
function contains(release: UpstreamVersion, first: UpstreamVersion): boolean {
  if (first.series === release.series) return first.patch <= release.patch;
  return first.patch === 0 && first.series < release.series;
}

/** One cell: a CVE in a release. */
export function upstreamVerdict(culprits: readonly Culprit[], release: UpstreamVersion): UpstreamVerdict {
  let isHit = false;
  let isOpen = false;
  let newest: UpstreamVersion | undefined;
  let closes: UpstreamVersion | undefined = { series: release.series, patch: 0 };
  for (const { stretches } of culprits) {
    const hit = stretches.filter(({ introduced }) => contains(release, introduced));
    if (hit.length === 0) continue;
    isHit = true;
    const fixes = hit.flatMap(({ fixed }) => (fixed === undefined ? [] : [fixed]));
    const reached = fixes.filter((fixed) => contains(release, fixed));
    for (const fixed of reached)
      if (newest === undefined || compareUpstreamVersions(fixed, newest) > 0) newest = fixed;
    if (reached.length > 0) continue;
    isOpen = true;
    const patch = smallest(stretches.map((stretch) => closedFrom(stretch, release.series)));
    if (patch === Number.POSITIVE_INFINITY) closes = undefined;
    else if (closes !== undefined && patch > closes.patch) closes = { series: release.series, patch };
  }
  if (!isHit) return { verdict: "not_affected" };
  if (isOpen || newest === undefined) return { verdict: "affected", fixedIn: closes };
  return { verdict: "fixed", fixedIn: newest };
}

/** The patch of a series from which on a stretch that is in it is over. */
function closedFrom({ introduced, fixed }: Stretch, series: number): number {
  const reaches = introduced.series === series || (introduced.patch === 0 && introduced.series < series);
  if (!reaches || fixed?.series !== series) return Number.POSITIVE_INFINITY;
  return introduced.series === series ? Math.max(introduced.patch, fixed.patch) : fixed.patch;
}

/** Whether two accounts of one CVE ever differ in whether a release is affected. */
export function disagree(one: readonly Pair[], other: readonly Pair[]): boolean {
  const [a, b] = [culpritsOf(one), culpritsOf(other)];
  const isAffected = (culprits: readonly Culprit[], release: UpstreamVersion) =>
    upstreamVerdict(culprits, release).verdict === "affected";
  return turningPoints([...a, ...b]).some((release) => isAffected(a, release) !== isAffected(b, release));
}

/** Releases that stand for all others: where something begins or ends, just before that, and the series behind it. */
function turningPoints(culprits: readonly Culprit[]): UpstreamVersion[] {
  const named = culprits.flatMap(({ stretches }) =>
    stretches.flatMap(({ introduced, fixed }) => [introduced, ...(fixed === undefined ? [] : [fixed])]),
  );
  return named.flatMap(({ series, patch }) => [
    { series, patch },
    { series, patch: Math.max(0, patch - 1) },
    { series: series + 1, patch: 0 },
    { series: series - 1, patch: 0 },
  ]);
}
