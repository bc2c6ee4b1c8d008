/**
 * Everything that the feeds of a farm say, put together. Where two feeds have one CVE, the one that is listed first counts,
 * and what the other says differently is kept beside it.
 */
import { compareUpstreamVersions } from "../kernel/upstream-version.ts";
import { ChangelogFixes, cvesToFind, type SourceChangelog } from "./evidence/changelog.ts";
import type { FeedContent } from "./feeds/feed.ts";
import { type Cve, type Day, type FeedRecord, NONE, type RecordOf, versionOf } from "./records.ts";
import { disagree } from "./upstream.ts";

/** A feed that was read. */
export interface ReadFeed {
  readonly kind: string;
  readonly content: Pick<FeedContent, "records" | "date">;
}

export interface Book {
  readonly cves: readonly Cve[];
  readonly cve: ReadonlyMap<string, Cve>;
  /** How many CVEs are known; not all of them are here where a book is about one. */
  readonly size: number;
  /** Where the CVEs come from, and the day up to which they are known. */
  readonly feed: { readonly name: string; readonly date?: Day };
  readonly releases: ReadonlyMap<string, Day>;
  readonly advisories: readonly SourcedAdvisory[];
  /** The packages of distribution releases that advisories speak of, whatever they say. */
  readonly advised: readonly Advised[];
  readonly changelogs: readonly ChangelogFixes[];
  readonly exploited: ReadonlyMap<string, RecordOf<"exploited">>;
  readonly exploits: ReadonlyMap<string, readonly RecordOf<"exploit">[]>;
  readonly likelihood: ReadonlyMap<string, RecordOf<"likelihood">>;
  readonly livePatches: readonly RecordOf<"livepatch">[];
  readonly nodes: readonly RecordOf<"node">[];
  /** Of each kind of feed. */
  readonly dates: ReadonlyMap<string, Day | undefined>;
}

export type Advised = Pick<RecordOf<"advisory">, "release" | "package">;

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
  const listing = feeds.filter(({ content }) => content.records.some(({ type }) => type === "cve"));
  const sources = [...new Set(listing.map(({ kind }) => kind))];
  const date = dateOfCves(
    cve.values(),
    listing.map(({ content }) => content.date),
    releases,
  );
  const toFind = cvesToFind([...cve.values()]);
  const advisories = of("advisory").map(({ record, ...from }) => ({ advisory: record, ...from }));
  return {
    ...{ cve, cves: [...cve.values()], size: cve.size, releases, advisories },
    feed: { name: sources.join(" and "), ...(date === undefined ? {} : { date }) },
    advised: advisedIn(advisories),
    changelogs: changelogs.map((one) => ChangelogFixes.in(one, toFind)),
    exploited: new Map(records("exploited").map((one) => [one.cve, one])),
    exploits: Map.groupBy(records("exploit"), (one) => one.cve),
    likelihood: new Map(records("likelihood").map((one) => [one.cve, one])),
    livePatches: records("livepatch"),
    nodes: records("node"),
    dates: new Map(feeds.map(({ kind, content }) => [kind, content.date])),
  };
}

function advisedIn(advisories: readonly SourcedAdvisory[]): Advised[] {
  const found = advisories.map(({ advisory: { release, package: name } }): [string, Advised] => [
    `${release} ${name}`,
    { release, package: name },
  ]);
  return [...new Map(found).values()];
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
