/**
 * What is thought of a source by its own words: reachable, there at all, signed, recent. Losses are judged later,
 * by the union.
 */
import type { Answered, Source } from "./ask.ts";
import { type Catalog, type CatalogSource, sinceOf } from "./catalog.ts";
import { missingError, type SourceAnswer } from "./source.ts";

const DAY_MS = 86_400_000;
/** How many dates of a source's metadata its cadence is known by. */
export const REMEMBERED_DATES = 10;

/**
 * Makes a failure of "not there" where something must be: what was there before, what the configuration names, a
 * release's first suite; and where a whole release or place has nothing, all of it. Else it is a fact: not every
 * release has every suite.
 */
export function demandPresence(answers: readonly Answered[], previous: Catalog): Answered[] {
  const known = new Set(
    previous.sources.flatMap(({ id, metadataDate }) => (metadataDate === undefined ? [] : [id])),
  );
  const groups = [
    ...Map.groupBy(answers, ({ source }) => source.release).values(),
    ...Map.groupBy(
      answers.filter(({ source }) => source.place !== undefined),
      ({ source }) => source.place,
    ).values(),
  ];
  const absent = groups.filter(
    (group) =>
      group.every(({ answer }) => answer.kind === "notServed") &&
      !group.some(({ source }) => source.isRequired),
  );
  const wrong = new Set(absent.flat());
  return answers.map((one) => {
    const { source, answer } = one;
    if (answer.kind !== "notServed") return one;
    const failed = (fact: string): Answered => ({
      source,
      answer: { kind: "failed", error: missingError(`the server ${fact} ${answer.url}`) },
    });
    if (known.has(source.id)) return failed("no longer has");
    return source.isRequired || wrong.has(one) ? failed("has no") : one;
  });
}

/** The state of a source; its packages are taken only if that is `ok`, or `expired` and accepted. */
export function judge(source: Source, answer: SourceAnswer, previous: Catalog, now: Date): CatalogSource {
  const before = previous.sources.find((known) => known.id === source.id);
  const base = {
    ...before,
    id: source.id,
    kind: source.kind,
    distribution: source.release,
    url: placeOf(source, answer, before),
    checkedAt: now.toISOString(),
    kernels: before?.kernels ?? {},
    cadence: before?.cadence ?? [],
  };
  delete base.detail;
  delete base.accepted;
  delete base.upcoming;
  if (source.isUpcoming === true) base.upcoming = true;
  if (answer.kind === "failed") return { ...base, status: "failed", detail: answer.error.message };
  if (answer.kind === "notServed") return { ...base, status: "notServed" };
  const { date, validUntil } = answer.metadata;
  if (isAhead(date, now)) return { ...base, status: "suspect", detail: aheadText(date) };
  const seen = before?.metadataDate;
  if (seen !== undefined && date < seen && !isAhead(seen, now)) {
    const detail = `its metadata of ${date} is older than the one of ${seen} seen before`;
    return { ...base, status: "suspect", detail };
  }
  const { validUntil: _, unsigned: __, updateinfo: ___, ...rest } = base;
  const { date: metadataDate, ...facts } = answer.metadata;
  const cadence = [...new Set([...base.cadence, date])].slice(-REMEMBERED_DATES);
  const since = sinceOf(source.id, before, previous, now.toISOString());
  const fresh = { ...rest, ...facts, metadataDate, cadence, since };
  const late = lateness(date, validUntil, cadence, now);
  if (late === undefined) return { ...fresh, status: "ok" };
  return { ...fresh, status: "expired", detail: late, ...(source.acceptExpired ? { accepted: true } : {}) };
}

/** Whether a date lies in the future. Once believed, nothing of today would be new enough any more. */
export function isAhead(date: string, now: Date): boolean {
  return Date.parse(date) > now.getTime() + DAY_MS;
}

export function aheadText(date: string): string {
  return `its metadata of ${date} is from the future: its clock is wrong, or this machine's`;
}

/** What the source's paths are relative to; for one that lists mirrors, the mirror that answered last. */
function placeOf(source: Source, answer: SourceAnswer, before: CatalogSource | undefined): string {
  if (answer.kind === "read") return answer.url;
  if (source.kind === "apt") return source.url;
  const [first = ""] = source.location.urls;
  return source.location.kind === "baseurl" ? first : (before?.url ?? first);
}

/** Why metadata is too old, or undefined: past its Valid-Until, or silent for thrice its own usual interval. */
export function lateness(
  date: string,
  validUntil: string | undefined,
  cadence: readonly string[],
  now: Date,
): string | undefined {
  if (validUntil !== undefined) {
    return Date.parse(validUntil) < now.getTime() ? `its metadata was valid until ${validUntil}` : undefined;
  }
  const times = cadence.map((time) => Date.parse(time));
  const intervals = times
    .slice(1)
    .map((time, index) => time - (times[index] as number))
    .sort((a, b) => a - b);
  const median = intervals[Math.floor(intervals.length / 2)];
  const age = now.getTime() - Date.parse(date);
  if (median === undefined || intervals.length < 2 || age <= 3 * median || age <= 14 * DAY_MS)
    return undefined;
  return `its metadata is ${Math.round(age / DAY_MS)} days old, but used to be renewed every ${Math.round(median / DAY_MS)}`;
}
