/**
 * E2 and E3: what the changelog of a kernel's source package says was done, by CVE ids and by subjects of commits. The
 * newest changelog of a source speaks for all older uploads in it. A fix that was taken out again is none.
 */
import type { ChangelogEntry } from "../../formats/deb-changelog.ts";
import { compareDebVersions } from "../../kernel/deb-version.ts";
import { parseUpstreamVersion } from "../../kernel/upstream-version.ts";
import { type Cve, type Day, versionOf } from "../records.ts";
import type { Target } from "../target.ts";
import type { Evidence } from "../verdict.ts";

/** The changelog of one source package in one distribution release. */
export interface SourceChangelog {
  readonly source: string;
  readonly distribution: string;
  /** Older entries were removed: what is not in it may have been done all the same. */
  readonly isTrimmed: boolean;
  /** Newest first. */
  readonly entries: readonly ChangelogEntry[];
}

/** One thing that an upload did about a CVE. */
export interface Deed {
  /** Place of the entry, counted from the oldest. */
  readonly entry: number;
  readonly id: "E2" | "E3";
  readonly fixes: boolean;
  /**
   * The stable release that did it, where the feed reaches that release: then the feed knows better which commit counts, and
   * only a fix that was taken out for good, or that the distribution names by its CVE, contradicts it.
   */
  readonly stable?: string;
}

/** What is looked for in changelogs: the same for all of them. */
export interface CvesToFind {
  readonly ids: ReadonlySet<string>;
  /** Subject of the fix → id of the CVE. */
  readonly titles: ReadonlyMap<string, string>;
  /** Whether the feed knows all of a stable release. */
  readonly isReached: (stable: string | undefined) => boolean;
}

export function cvesToFind(cves: readonly Pick<Cve, "id" | "title" | "pairs">[]): CvesToFind {
  return {
    ids: new Set(cves.map(({ id }) => id)),
    titles: cvesByTitle(cves),
    isReached: reachedIn(reachOf(cves)),
  };
}

export class ChangelogFixes {
  readonly #changelog: SourceChangelog;
  /** Oldest first. */
  readonly #entries: readonly ChangelogEntry[];
  readonly #deeds: ReadonlyMap<string, readonly Deed[]>;
  /** A package version → its entry: the same few are asked for again and again. */
  readonly #uploads = new Map<string, number>();

  /** `deeds` are what was found in it, by the ids of CVEs. */
  constructor(changelog: SourceChangelog, deeds: ReadonlyMap<string, readonly Deed[]>) {
    this.#changelog = changelog;
    this.#entries = changelog.entries.toReversed();
    this.#deeds = deeds;
  }

  static in(changelog: SourceChangelog, cves: CvesToFind): ChangelogFixes {
    return new ChangelogFixes(changelog, deedsOf(changelog.entries.toReversed(), cves));
  }

  /** Whether the kernel is one of its uploads, or was made from one. */
  speaksOf({ distribution, packages, packageVersion }: Target): boolean {
    const { source, distribution: own } = this.#changelog;
    return distribution === own && packages.includes(source) && this.uploadOf(packageVersion) >= 0;
  }

  /** From which day on it is complete; undefined for one that is complete from the beginning. */
  get since(): { readonly day?: Day } | undefined {
    if (!this.#changelog.isTrimmed) return undefined;
    const day = this.#entries.find((entry) => entry.day !== undefined)?.day;
    return day === undefined ? {} : { day };
  }

  /** The changelog without what its uploads did. */
  get uploads(): SourceChangelog {
    const { entries, ...rest } = this.#changelog;
    return { ...rest, entries: entries.map((entry) => ({ ...entry, stable: [], bullets: [] })) };
  }

  deedsOf(cve: string): readonly Deed[] {
    return this.#deeds.get(cve) ?? [];
  }

  get source(): string {
    return this.#changelog.source;
  }

  get distribution(): string {
    return this.#changelog.distribution;
  }

  /** Oldest first. */
  get entries(): readonly ChangelogEntry[] {
    return this.#entries;
  }

  get cves(): Iterable<string> {
    return this.#deeds.keys();
  }

  /** What had been done about a CVE by the time of the kernel's upload. */
  evidence(cve: string, { packageVersion }: Target): Evidence[] {
    const upload = this.uploadOf(packageVersion);
    let [last, contested]: (Deed | undefined)[] = [];
    for (const deed of this.deedsOf(cve))
      if (deed.entry > upload) break;
      else if (deed.stable !== undefined) contested = deed;
      // The first of several fixes counts, until one is taken out.
      else if (last === undefined || last.fixes !== deed.fixes) last = deed;
    const found: Evidence[] = [];
    if (last?.fixes === true)
      found.push({ ...this.#source(last), says: "fixed", fixedIn: this.#entry(last).version });
    if (last?.fixes === false) found.push({ ...this.#source(last), says: "affected" });
    if (contested?.stable !== undefined && !contested.fixes)
      found.push({ ...this.#source(contested), says: "reverted", revertedIn: contested.stable });
    if (contested?.fixes === true && contested.id === "E2" && last?.fixes !== true)
      found.push({ ...this.#source(contested), says: "claimed", fixedIn: this.#entry(contested).version });
    return found;
  }

  #entry({ entry }: Deed): ChangelogEntry {
    return this.#entries[entry] as ChangelogEntry;
  }

  #source(deed: Deed): Pick<Evidence, "id" | "ref" | "feed" | "day"> {
    const { version, day } = this.#entry(deed);
    return {
      ...{ id: deed.id, ref: `changelog ${version}`, feed: `changelog of ${this.#changelog.source}` },
      ...(day === undefined ? {} : { day }),
    };
  }

  /** The first upload that fixed each CVE, whatever came later. */
  *firstFixes(): Generator<{
    readonly cve: string;
    readonly entry: ChangelogEntry;
    readonly id: "E2" | "E3";
  }> {
    for (const [cve, deeds] of this.#deeds) {
      const first = deeds.find(({ fixes, stable }) => fixes && stable === undefined);
      if (first !== undefined)
        yield { cve, entry: this.#entries[first.entry] as ChangelogEntry, id: first.id };
    }
  }

  /** The place of the upload that a kernel is of, or was made from; -1 if it is of none. */
  uploadOf(version: string | undefined): number {
    if (version === undefined) return -1;
    const known = this.#uploads.get(version);
    if (known !== undefined) return known;
    const wanted = parentVersion(version);
    const upload = this.#entries.findLastIndex((entry) => compareDebVersions(entry.version, wanted) === 0);
    this.#uploads.set(version, upload);
    return upload;
  }
}

/** A rebuild for another release is its parent in all that counts here: `6.12.90-2~bpo12+1`, `6.12.117-1~deb12u1`. */
function parentVersion(version: string): string {
  return version.replace(/~(?:bpo|deb)\d+(?:[+u.]\d+)*$/, "");
}

function deedsOf(
  entries: readonly ChangelogEntry[],
  { ids, titles, isReached }: CvesToFind,
): ReadonlyMap<string, readonly Deed[]> {
  const deeds = new Map<string, Deed[]>();
  const add = (cve: string, deed: Deed) => {
    const own = deeds.get(cve);
    if (own === undefined) deeds.set(cve, [deed]);
    else own.push(deed);
  };
  for (const [entry, { bullets }] of entries.entries())
    for (const { text, stable } of bullets) {
      const named: readonly string[] = text.includes("CVE-")
        ? (text.match(/\bCVE-\d{4}-\d{4,12}\b/g) ?? [])
        : [];
      const subject = subjectOf(text);
      const reverted = /^revert "(.+)"$/.exec(subject)?.[1];
      const cve = titles.get(reverted ?? subject);
      // A subject may be one of several with the same words: what upstream did, the feed knows better.
      const isNews = (id: string) => !ids.has(id) || !isReached(stable);
      // A revert that names CVEs is their fix; one that names none takes a fix out.
      if (cve !== undefined && !named.includes(cve)) {
        const fixes = reverted === undefined;
        if (isNews(cve)) add(cve, { entry, id: "E3", fixes });
        // What was never taken out is the feed's to tell.
        else if (stable !== undefined && (!fixes || deeds.get(cve)?.at(-1)?.fixes === false))
          add(cve, { entry, id: "E3", fixes, stable });
      }
      for (const one of new Set(named))
        if (isNews(one)) add(one, { entry, id: "E2", fixes: true });
        else if (stable !== undefined) add(one, { entry, id: "E2", fixes: true, stable });
    }
  return deeds;
}

/** Whether the feed knows the stable release that a bullet came with: the same few are asked for again and again. */
function reachedIn(reach: ReadonlyMap<number, number>): (stable: string | undefined) => boolean {
  const answers = new Map<string | undefined, boolean>();
  return (stable) => {
    const known = answers.get(stable);
    if (known !== undefined) return known;
    const release = stable === undefined ? undefined : parseUpstreamVersion(stable);
    const isReached = release !== undefined && release.patch <= (reach.get(release.series) ?? -1);
    answers.set(stable, isReached);
    return isReached;
  };
}

/** The newest release of each series that a feed names: up to there it knows upstream's history, reverts included. */
export function reachOf(cves: readonly Pick<Cve, "pairs">[]): ReadonlyMap<number, number> {
  const reach = new Map<number, number>();
  for (const { pairs } of cves)
    for (const [introduced, , fixed] of pairs)
      for (const text of [introduced, fixed]) {
        const version = versionOf(text);
        if (version !== undefined && version.patch > (reach.get(version.series) ?? -1))
          reach.set(version.series, version.patch);
      }
  return reach;
}

/** A title that several CVEs have proves nothing of any of them. */
function cvesByTitle(cves: Iterable<Pick<Cve, "id" | "title">>): ReadonlyMap<string, string> {
  const titles = new Map<string, string>();
  const shared = new Set<string>();
  for (const { id, title } of cves) {
    const subject = subjectOf(title);
    if (titles.has(subject)) shared.add(subject);
    titles.set(subject, id);
  }
  for (const subject of [...shared, ""]) titles.delete(subject);
  return titles;
}

/** A change as the subject of its commit: without architectures before it and what it closes behind it. */
export function subjectOf(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/^(?:\[[^\]]{1,100}\]\s+)+/, "")
    .replace(/\((?:[^()]*\bCVE-\d{4}-\d+[^()]*|Closes:[^()]*)\)/gi, "")
    .replace(/\s+/g, " ")
    .trim()
    .replace(/\.$/, "")
    .toLowerCase();
}
