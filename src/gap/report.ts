/**
 * How long fixes took to reach distributions: from the first release of any series that had one, to the release of the
 * distribution's own series, to its upload or advisory.
 */
import type { ChangelogEntry } from "../formats/deb-changelog.ts";
import { upstreamOfPackage } from "../kernel/base.ts";
import {
  parseUpstreamVersion,
  showUpstreamVersion,
  type UpstreamVersion,
} from "../kernel/upstream-version.ts";
import { type Book, fixesOf } from "./book.ts";
import type { ChangelogFixes } from "./evidence/changelog.ts";
import { type Cve, type Day, NONE, versionOf } from "./records.ts";
import { type Observation, type Summary, summarize } from "./statistics.ts";
import { culpritsOf, upstreamVerdict } from "./upstream.ts";

/** One fix on its way into one distribution. */
interface GapRow {
  readonly cve: string;
  /** The first release of all that had it. */
  readonly first: Day;
  /** The release of the distribution's series that completed it; undefined where no feed knows one. */
  readonly series?: { readonly version: string; readonly day: Day };
  /** Undefined while the distribution does not have it. */
  readonly distribution?: {
    readonly version: string;
    readonly day: Day;
    readonly evidence: "E1" | "E2" | "E3" | "E4";
  };
}

export interface Gaps {
  /** `debian12`, `almalinux9`. */
  readonly release: string;
  /** The source package of the kernel, and the series of kernel.org that it follows: a release may have several of both. */
  readonly package: string;
  readonly series?: string;
  readonly rows: readonly GapRow[];
  readonly leftOut: LeftOut;
}

interface LeftOut {
  /** The distribution was released with the fix. */
  readonly beforeRelease: number;
  /** No day is known of a release with the fix. */
  readonly withoutDay: number;
  /** The distribution is said to have had it long before anybody. */
  readonly slips: number;
}

/** A distribution may be ahead of every release by the days of an embargo, and not by half a year. */
const MOST_DAYS_AHEAD = 180;
const DAY_MS = 24 * 60 * 60 * 1000;

interface Upload {
  readonly version: string;
  readonly day: Day;
  readonly base: UpstreamVersion;
}

/**
 * Fixes of the series that a distribution release builds, on their way into it. Its uploads are those for suites that
 * begin with its codename; what the last upload before these had, it was released with.
 */
export function uploadGaps(book: Book, changelog: ChangelogFixes, codename: string): Gaps {
  const { uploads, releasedWith } = uploadsOf(changelog.entries, codename);
  const { distribution: release, source } = changelog;
  const named = { release, package: source };
  const leftOut = { beforeRelease: 0, withoutDay: 0, slips: 0 };
  if (releasedWith === undefined) return { ...named, rows: [], leftOut };
  const shipped = new Map([...changelog.firstFixes()].map((fix) => [fix.cve, fix]));
  const places = new Map(uploads.map(({ version }, at) => [version, at]));
  const rows: GapRow[] = [];
  for (const cve of book.cves) {
    const fix = fixInSeries(cve, releasedWith.series);
    const own = shipped.get(cve.id);
    const picked = own === undefined ? undefined : places.get(own.entry.version);
    if (fix === undefined && picked === undefined && !isOpen(cve, uploads.at(-1))) continue;
    const day = fix === undefined ? undefined : book.releases.get(fix.text);
    const [first] = fixesOf(cve, book.releases);
    if (fix !== undefined && fix.patch <= releasedWith.patch) leftOut.beforeRelease++;
    else if (first === undefined || (fix !== undefined && day === undefined)) leftOut.withoutDay++;
    else {
      const merged = fix === undefined ? -1 : uploads.findIndex(({ base }) => base.patch >= fix.patch);
      const isPicked = picked !== undefined && (merged < 0 || picked < merged);
      const upload = uploads[isPicked ? picked : merged];
      if (upload !== undefined && daysBetween(first.day, upload.day) < -MOST_DAYS_AHEAD) leftOut.slips++;
      else
        rows.push({
          ...{ cve: cve.id, first: first.day },
          ...(fix === undefined || day === undefined ? {} : { series: { version: fix.text, day } }),
          ...(upload === undefined
            ? {}
            : {
                distribution: {
                  ...{ version: upload.version, day: upload.day },
                  evidence: isPicked && own !== undefined ? own.id : "E1",
                },
              }),
        });
    }
  }
  const series = showUpstreamVersion({ series: releasedWith.series, patch: 0 });
  return { ...named, series, rows, leftOut };
}

/** Whether the newest upload is affected, and no release of its series has a fix. */
function isOpen({ pairs, rejected }: Cve, newest: Upload | undefined): boolean {
  if (newest === undefined || rejected === true) return false;
  return upstreamVerdict(culpritsOf(pairs), newest.base).verdict === "affected";
}

/** @param entries oldest first */
function uploadsOf(
  entries: readonly ChangelogEntry[],
  codename: string,
): { uploads: readonly Upload[]; releasedWith: UpstreamVersion | undefined } {
  const isOwn = ({ suite }: ChangelogEntry) => suite === codename || suite.startsWith(`${codename}-`);
  const first = entries.findIndex(isOwn);
  const baseOf = ({ version }: ChangelogEntry) => parseUpstreamVersion(upstreamOfPackage(version) ?? "");
  const before = first < 1 ? undefined : baseOf(entries[first - 1] as ChangelogEntry);
  const uploads = entries.filter(isOwn).flatMap((entry) => {
    const [base, { version, day }] = [baseOf(entry), entry];
    return base === undefined || day === undefined ? [] : [{ version, day, base }];
  });
  // Another series before the release says nothing of what this one had.
  const series = uploads[0]?.base.series;
  return { uploads, releasedWith: before?.series === series ? before : uploads[0]?.base };
}

/** The release of a series that completed the fix of a CVE in it: some came in several commits. */
function fixInSeries({ pairs }: Cve, series: number): { text: string; patch: number } | undefined {
  let last: { text: string; patch: number } | undefined;
  for (const [introduced, , fixed] of pairs) {
    const version = fixed === NONE || introduced === fixed ? undefined : versionOf(fixed);
    if (version?.series === series && (last === undefined || version.patch > last.patch))
      last = { text: fixed, patch: version.patch };
  }
  return last;
}

/**
 * Fixes on their way into a distribution release that says by advisories what it has. `advisories` are those that may be of
 * it.
 */
export function advisoryGaps(
  book: Book,
  release: string,
  name: string,
  advisories: Book["advisories"] = book.advisories,
): Gaps {
  const earliest = new Map<string, { version: string; day: Day }>();
  for (const { advisory } of advisories) {
    const { version, published: day, status, cves } = advisory;
    if (status !== "fixed" || version === undefined || day === undefined || advisory.livepatch === true)
      continue;
    if (advisory.release !== release || advisory.package !== name) continue;
    for (const cve of cves) if (day < (earliest.get(cve)?.day ?? "9999")) earliest.set(cve, { version, day });
  }
  const leftOut = { beforeRelease: 0, withoutDay: 0, slips: 0 };
  const rows: GapRow[] = [];
  for (const [id, { version, day }] of earliest) {
    const cve = book.cve.get(id);
    const first = cve === undefined ? undefined : fixesOf(cve, book.releases)[0]?.day;
    if (first === undefined) leftOut.withoutDay++;
    else if (daysBetween(first, day) < -MOST_DAYS_AHEAD) leftOut.slips++;
    else rows.push({ cve: id, first, distribution: { version, day, evidence: "E4" } });
  }
  return { release, package: name, rows, leftOut };
}

/** Distribution releases that advisories speak of, each with the package that it calls its kernel. */
export function advisedReleases({
  advisories,
}: Book): { readonly release: string; readonly package: string }[] {
  const named = new Map(
    advisories.flatMap(({ advisory: { release, package: name } }) =>
      name === "kernel" || name === "linux" || name === "kernel-default"
        ? [[release, { release, package: name }]]
        : [],
    ),
  );
  return [...named.values()].sort((a, b) => (a.release < b.release ? -1 : 1));
}

/** A negative number where the second came first. */
export function daysBetween(from: Day, to: Day): number {
  return Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS);
}

const STAGES = {
  "first release to series": ({ first, series, distribution }: GapRow, today: Day) =>
    // A distribution that has it without a series got it from a release that is newer than the feed.
    series === undefined && distribution !== undefined ? undefined : lasting(first, series?.day, today),
  "series to distribution": ({ series, distribution }: GapRow, today: Day) =>
    series === undefined ? undefined : lasting(series.day, distribution?.day, today),
  "first release to distribution": ({ first, distribution }: GapRow, today: Day) =>
    lasting(first, distribution?.day, today),
} as const satisfies Readonly<Record<string, (row: GapRow, today: Day) => Observation | undefined>>;
type StageName = keyof typeof STAGES;

function lasting(from: Day, to: Day | undefined, today: Day): Observation {
  return to === undefined
    ? { kind: "open", days: daysBetween(from, today) }
    : { kind: "exact", days: daysBetween(from, to) };
}

export interface StageSummary extends Summary {
  readonly stage: StageName;
  /** `all`, or what these have in common: `year 2024`, `severity HIGH`, `exploited`. */
  readonly group: string;
}

/** Every stage, of all rows and of each group of them. Stages of which a distribution has no rows are left out. */
export function summariesOf({ rows }: Gaps, book: Book, today: Day): StageSummary[] {
  const groups = new Map<string, readonly GapRow[]>([["all", rows]]);
  const add = (group: (row: GapRow) => string | undefined) => {
    const found = Map.groupBy(rows, group);
    for (const name of [...found.keys()].filter((one) => one !== undefined).sort())
      groups.set(name, found.get(name) ?? []);
  };
  add(({ distribution }) =>
    distribution === undefined ? undefined : `year ${distribution.day.slice(0, 4)}`,
  );
  add(({ cve }) => `severity ${book.cve.get(cve)?.cvss?.sev ?? "not rated"}`);
  add(({ cve }) => (book.exploited.has(cve) ? "exploited" : undefined));
  return (Object.keys(STAGES) as StageName[]).flatMap((stage) =>
    [...groups].flatMap(([group, of]) => {
      const observations = of.flatMap((row) => STAGES[stage](row, today) ?? []);
      return observations.some(({ kind }) => kind === "exact")
        ? [{ stage, group, ...summarize(observations) }]
        : [];
    }),
  );
}
