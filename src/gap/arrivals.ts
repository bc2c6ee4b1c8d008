/**
 * When a series of the kernel reaches a place: by how long earlier series took from one place to the next. A place is a
 * suite whose kernels are still to come, or a release of a distribution that users have.
 */
import { showUpstreamVersion, type UpstreamVersion } from "../kernel/upstream-version.ts";
import type { Day } from "./records.ts";
import { daysBetween } from "./report.ts";
import { quantile } from "./statistics.ts";

/** A kernel that came to a place. */
export interface Upload {
  readonly place: string;
  readonly version: UpstreamVersion;
  readonly day: Day;
}

export type Arrival = {
  readonly place: string;
} & (
  | {
      readonly kind: "there";
      readonly since: Day;
      /** Days since the first place had it: so long was the warning. */
      readonly warning: number;
    }
  /** It is there, and no record says since when. */
  | { readonly kind: "there"; readonly since?: undefined }
  | {
      readonly kind: "expected";
      readonly day: Day;
      readonly earliest: Day;
      readonly latest: Day;
      /** Days from today; negative where it should be there already. */
      readonly warning: number;
      /** The place that it was last seen at, and how many earlier series went from there to this one. */
      readonly from: string;
      readonly count: number;
    }
  /** Every kernel that ever came there is of one series: it stays with that until its next release. */
  | { readonly kind: "staysWith"; readonly series: string }
  | { readonly kind: "unknown" }
);

/** One is an accident. */
const FEWEST_OF_ONE_SERIES = 2;

/** A place, as far as it is known without days. */
export interface Place {
  readonly name: string;
  /** It has the series by now. */
  readonly hasIt: boolean;
  /** Users there follow the very series: what arrives is the next release of it. */
  readonly followsIt: boolean;
}

/** Where a release is, and when it, or its series where that is new, will be at each of these places. */
export function arrivalsOf(
  release: UpstreamVersion,
  places: readonly Place[],
  uploads: readonly Upload[],
  today: Day,
): Arrival[] {
  return places.map((place) => {
    const keyOf = place.followsIt ? releaseKey : seriesKey;
    const first = firstDays(uploads, keyOf);
    return arrivalAt(place, keyOf(release), first, today) ?? standstillAt(place, uploads);
  });
}

const releaseKey = (version: UpstreamVersion) => showUpstreamVersion(version);
const seriesKey = ({ series }: UpstreamVersion) => showUpstreamVersion({ series, patch: 0 });

/** By the days that are on record; undefined where they say nothing of it. */
function arrivalAt(
  { name: place, hasIt }: Place,
  key: string,
  first: ReadonlyMap<string, FirstDays>,
  today: Day,
): Arrival | undefined {
  const seen = [...first]
    .flatMap(([name, days]) => {
      const day = days.get(key);
      return day === undefined ? [] : [{ name, day }];
    })
    .toSorted((a, b) => (a.day < b.day ? -1 : 1));
  const since = first.get(place)?.get(key);
  if (since !== undefined)
    return { place, kind: "there", since, warning: daysBetween(seen[0]?.day ?? since, since) };
  if (hasIt) return { place, kind: "there" };
  // From the place that it reached last the rest of the way is known best.
  for (const from of seen.toReversed()) {
    const lags = lagsBetween(first.get(from.name), first.get(place));
    if (lags.length === 0) continue;
    const after = (share: number) => dayAfter(from.day, Math.round(quantile(lags, share) ?? 0));
    const day = after(0.5);
    return {
      ...{ place, kind: "expected", day, earliest: after(0.1), latest: after(0.9) },
      ...{ warning: daysBetween(today, day), from: from.name, count: lags.length },
    };
  }
  return undefined;
}

function standstillAt({ name: place, followsIt }: Place, uploads: readonly Upload[]): Arrival {
  const own = uploads.filter((upload) => upload.place === place).map(({ version }) => seriesKey(version));
  const [series, ...others] = new Set(own);
  const isOfOne = own.length >= FEWEST_OF_ONE_SERIES && others.length === 0 && !followsIt;
  return isOfOne && series !== undefined ? { place, kind: "staysWith", series } : { place, kind: "unknown" };
}

/** How long series took from one place to another, in days. */
export interface Passage {
  readonly from: string;
  readonly to: string;
  readonly count: number;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

/** Between every two places that more than one series went through. */
export function passagesOf(uploads: readonly Upload[]): Passage[] {
  const first = firstDays(uploads, seriesKey);
  return [...first].flatMap(([from, days]) =>
    [...first].flatMap(([to, later]) => {
      const lags = from === to ? [] : lagsBetween(days, later);
      const at = (share: number) => quantile(lags, share) ?? 0;
      return lags.length < 2
        ? []
        : [{ from, to, count: lags.length, median: at(0.5), p10: at(0.1), p90: at(0.9) }];
    }),
  );
}

/** By what is counted: a release, or a series. */
type FirstDays = ReadonlyMap<string, Day>;

/** The first day of each at each place. */
function firstDays(
  uploads: readonly Upload[],
  keyOf: (version: UpstreamVersion) => string,
): ReadonlyMap<string, FirstDays> {
  const first = new Map<string, Map<string, Day>>();
  for (const { place, version, day } of uploads) {
    const [days, key] = [first.get(place) ?? new Map<string, Day>(), keyOf(version)];
    if (day < (days.get(key) ?? "9999")) days.set(key, day);
    first.set(place, days);
  }
  return first;
}

/** Shortest first. What was at the second place first did not come from the other one. */
function lagsBetween(from: FirstDays | undefined, to: FirstDays | undefined): number[] {
  const lags = [...(from ?? [])].flatMap(([key, day]) => {
    const later = to?.get(key);
    return later === undefined || later < day ? [] : [daysBetween(day, later)];
  });
  return lags.toSorted((a, b) => a - b);
}

const DAY_MS = 86_400_000;

function dayAfter(day: Day, days: number): Day {
  return new Date(Date.parse(day) + days * DAY_MS).toISOString().slice(0, 10);
}
