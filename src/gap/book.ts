/**
 * Everything that the feeds of a farm say, put together. Where two feeds have one CVE, the one that is listed first counts,
 * and what the other says differently is kept beside it.
 */
import { compareUpstreamVersions } from "../kernel/upstream-version.ts";
import { ChangelogFixes, cvesToFind, type SourceChangelog } from "./evidence/changelog.ts";
import type { FeedContent } from "./feeds/feed.ts";
import { type Cve, type Day, type FeedRecord, NONE, type Pair, type RecordOf, versionOf } from "./records.ts";
import { disagree } from "./upstream.ts";

/** A feed that was read. */
export interface ReadFeed {
  readonly kind: string;
  readonly content: Pick<FeedContent, "records" | "date"> & { readonly outline?: Outline };
}

/** What of the CVEs of a feed counts for any of them, where the feed was read for one alone. */
export interface Outline {
  readonly ids: ReadonlySet<string>;
  /** Their releases, without the commits. */
  readonly pairs: Pair[];
  /** Those that have the same title. */
  readonly same: readonly Cve[];
}

export interface Book {
  readonly cves: readonly Cve[];
  readonly cve: ReadonlyMap<string, Cve>;
  /** How many CVEs are known; not all of them are here where feeds were read for one. */
  readonly size: number;
  /** Where the CVEs come from, and the day up to which they are known. */
  readonly feed: { readonly name: string; readonly date?: Day };
  readonly releases: ReadonlyMap<string, Day>;
  readonly advisories: readonly SourcedAdvisory[];
  readonly changelogs: readonly ChangelogFixes[];
  readonly exploited: ReadonlyMap<string, RecordOf<"exploited">>;
  readonly exploits: ReadonlyMap<string, readonly RecordOf<"exploit">[]>;
  readonly likelihood: ReadonlyMap<string, RecordOf<"likelihood">>;
  readonly livePatches: readonly RecordOf<"livepatch">[];
  readonly nodes: readonly RecordOf<"node">[];
  /** Of each kind of feed. */
  readonly dates: ReadonlyMap<string, Day | undefined>;
}

export interface SourcedAdvisory {
  readonly advisory: RecordOf<"advisory">;
  readonly feed: string;
  readonly date: Day | undefined;
}

export function bookOf(feeds: readonly ReadFeed[], changelogs: readonly SourceChangelog[] = []): Book {
  const all = feeds.flatMap(({ kind, content }) =>
    content.records.map((record) => ({ record, feed: kind, date: content.date })),
  );
  const of = <Type extends FeedRecord["type"]>(type: Type) =>
    all.flatMap(({ record, ...from }) =>
      record.type === type ? [{ record: record as RecordOf<Type>, ...from }] : [],
    );
  const records = <Type extends FeedRecord["type"]>(type: Type) => of(type).map(({ record }) => record);
  const cve = cvesOf(records("cve"));
  const releases = new Map(records("release").map(({ version, day }) => [version, day]));
  const hasCves = ({ content: { records: its, outline } }: ReadFeed) =>
    (outline?.ids.size ?? 0) > 0 || its.some(({ type }) => type === "cve");
  const listing = feeds.filter(hasCves);
  const sources = [...new Set(listing.map(({ kind }) => kind))];
  const outlines = feeds.flatMap(({ content: { outline } }) => outline ?? []);
  const known = [
    ...cve.values(),
    ...outlines.flatMap(({ pairs, same }) => [...same, { id: "", title: "", pairs }]),
  ];
  const date = dateOfCves(
    known,
    listing.map(({ content }) => content.date),
    releases,
  );
  const toFind = cvesToFind(known);
  return {
    ...{ cve, cves: [...cve.values()], releases },
    size: new Set([...cve.keys(), ...outlines.flatMap(({ ids }) => [...ids])]).size,
    feed: { name: sources.join(" and "), ...(date === undefined ? {} : { date }) },
    advisories: of("advisory").map(({ record, ...from }) => ({ advisory: record, ...from })),
    changelogs: changelogs.map((one) => new ChangelogFixes(one, toFind)),
    exploited: new Map(records("exploited").map((one) => [one.cve, one])),
    exploits: Map.groupBy(records("exploit"), (one) => one.cve),
    likelihood: new Map(records("likelihood").map((one) => [one.cve, one])),
    livePatches: records("livepatch"),
    nodes: records("node"),
    dates: new Map(feeds.map(({ kind, content }) => [kind, content.date])),
  };
}

function cvesOf(records: readonly Cve[]): ReadonlyMap<string, Cve> {
  const cves = new Map<string, Cve>();
  for (const record of records) {
    const known = cves.get(record.id);
    if (known === undefined) cves.set(record.id, record);
    else if (known.rejected !== true && record.rejected !== true)
      cves.set(record.id, together(known, record));
  }
  return cves;
}

function together(known: Cve, other: Cve): Cve {
  const otherPairs = known.otherPairs ?? (disagree(known.pairs, other.pairs) ? other.pairs : undefined);
  return {
    ...other,
    ...known,
    title: known.title || other.title,
    files: known.files.length > 0 ? known.files : other.files,
    cvss: known.cvss ?? other.cvss,
    ...(otherPairs === undefined ? {} : { otherPairs }),
  };
}

/**
 * The oldest of the feeds' own days. The kernel team's repository names none; but what names a release is no older than
 * that release.
 */
function dateOfCves(
  cves: Iterable<Pick<Cve, "pairs">>,
  dates: readonly (Day | undefined)[],
  releases: ReadonlyMap<string, Day>,
): Day | undefined {
  const known = [...new Set(dates)].filter((day) => day !== undefined).sort();
  if (known.length > 0) return known[0];
  let newest: Day | undefined;
  for (const { pairs } of cves)
    for (const [, , fixed] of pairs) {
      const day = releases.get(fixed);
      if (day !== undefined && (newest === undefined || day > newest)) newest = day;
    }
  return newest;
}

/** The release with the fix in a series, and the first of all releases with it, by their days. */
export function fixesOf(
  cve: Pick<Cve, "pairs">,
  releases: ReadonlyMap<string, Day>,
): readonly { readonly version: string; readonly day: Day }[] {
  const fixed = [...new Set(cve.pairs.map(([, , version]) => version))].filter((version) => version !== NONE);
  return fixed
    .flatMap((version) => {
      const day = releases.get(version);
      return day === undefined ? [] : [{ version, day }];
    })
    .sort((a, b) => (a.day < b.day ? -1 : a.day > b.day ? 1 : compareText(a.version, b.version)));
}

function compareText(a: string, b: string): number {
  const [x, y] = [versionOf(a), versionOf(b)];
  return x === undefined || y === undefined ? 0 : compareUpstreamVersions(x, y);
}
