/**
 * A book in two kinds of pieces: its cover, which every question needs, and a page for each CVE. A cover and a page make a
 * book again, which is about no other CVE.
 */
import { z } from "zod";
import type { Book, SourcedAdvisory } from "./book.ts";
import { ChangelogFixes, type Deed, type SourceChangelog } from "./evidence/changelog.ts";
import {
  Advisory,
  Cve,
  Day,
  Exploit,
  Exploited,
  Likelihood,
  LivePatch,
  NodeSeen,
  type RecordOf,
} from "./records.ts";

/** What counts for every CVE. */
export interface Cover extends Pick<Book, "size" | "feed" | "advised" | "livePatches" | "nodes"> {
  readonly releases: readonly (readonly [version: string, day: Day])[];
  /** Without what their uploads did: that is on the pages. */
  readonly changelogs: readonly SourceChangelog[];
  readonly dates: readonly (readonly [kind: string, date: Day | null])[];
}

/** What is said of one CVE, and of no other. */
export interface Page {
  readonly id: string;
  readonly cve?: Cve;
  readonly advisories: readonly SourcedAdvisory[];
  readonly exploited?: RecordOf<"exploited">;
  readonly exploits: readonly RecordOf<"exploit">[];
  readonly likelihood?: RecordOf<"likelihood">;
  /** In the order of the cover's changelogs. */
  readonly deeds: readonly (readonly Deed[])[];
}

const Word = z.string().max(300);

// What comes out of JSON is there or is not: no member is undefined, as the types of zod would have it.
export const CoverDocument = z.object({
  schema: z.literal("kmodfarm.cover/1"),
  size: z.int(),
  feed: z.object({ name: z.string().max(1000), date: Day.optional() }),
  releases: z.array(z.tuple([Word, Day])),
  advised: z.array(z.object({ release: Word, package: Word })),
  changelogs: z.array(
    z.object({
      ...{ source: Word, distribution: Word, isTrimmed: z.boolean() },
      entries: z.array(
        z.object({
          ...{ source: Word, version: Word, suite: Word, day: z.string().max(40).optional() },
          ...{ stable: z.array(z.string()).max(0), bullets: z.array(z.unknown()).max(0) },
        }),
      ),
    }),
  ),
  livePatches: z.array(LivePatch),
  nodes: z.array(NodeSeen),
  dates: z.array(z.tuple([Word, Day.nullable()])),
}) as unknown as z.ZodType<Cover>;

export const PageDocument = z.object({
  id: z.string().max(30),
  cve: Cve.optional(),
  advisories: z.array(z.object({ advisory: Advisory, feed: Word, date: Day.optional() })),
  exploited: Exploited.optional(),
  exploits: z.array(Exploit),
  likelihood: Likelihood.optional(),
  deeds: z.array(
    z.array(
      z.object({
        entry: z.int().min(0),
        id: z.enum(["E2", "E3"]),
        fixes: z.boolean(),
        stable: Word.optional(),
      }),
    ),
  ),
}) as unknown as z.ZodType<Page>;

export function coverOf(book: Book): Cover {
  const { size, feed, releases, advised, changelogs, livePatches, nodes, dates } = book;
  return {
    ...{ size, feed, releases: [...releases], advised },
    changelogs: changelogs.map(({ uploads }) => uploads),
    ...{ livePatches, nodes },
    dates: [...dates].map(([kind, date]) => [kind, date ?? null]),
  };
}

/** A page for each CVE of which anything is said, in the order of their ids. */
export function* pagesOf(book: Book): Generator<Page> {
  const { cve, changelogs, exploited, exploits, likelihood } = book;
  const advisories = new Map<string, SourcedAdvisory[]>();
  for (const one of book.advisories)
    for (const id of one.advisory.cves) {
      const own = advisories.get(id);
      if (own === undefined) advisories.set(id, [one]);
      else own.push(one);
    }
  const ids = new Set([
    ...[cve, advisories, exploited, exploits, likelihood].flatMap((one) => [...one.keys()]),
    ...changelogs.flatMap(({ cves }) => [...cves]),
  ]);
  for (const id of [...ids].toSorted()) {
    const [its, attack, chance] = [cve.get(id), exploited.get(id), likelihood.get(id)];
    yield {
      ...{ id, ...(its === undefined ? {} : { cve: its }) },
      advisories: (advisories.get(id) ?? []).map(({ advisory, ...from }) => ({
        advisory: { ...advisory, cves: [id] },
        ...from,
      })),
      ...(attack === undefined ? {} : { exploited: attack }),
      exploits: exploits.get(id) ?? [],
      ...(chance === undefined ? {} : { likelihood: chance }),
      deeds: changelogs.map((one) => one.deedsOf(id)),
    };
  }
}

/** The book of one CVE; without a page, of one of which nothing is said. */
export function bookFrom(cover: Cover, page: Page | undefined): Book {
  const { releases, changelogs, dates, ...rest } = cover;
  const { id = "", cve, advisories = [], exploited, exploits, likelihood, deeds = [] } = page ?? {};
  const only = <T>(value: T | undefined): ReadonlyMap<string, T> =>
    new Map(value === undefined ? [] : [[id, value]]);
  return {
    ...rest,
    releases: new Map(releases),
    ...{ cve: only(cve), cves: [...only(cve).values()], advisories },
    changelogs: changelogs.map((one, at) => new ChangelogFixes(one, only(deeds[at]))),
    ...{ exploited: only(exploited), exploits: only(exploits), likelihood: only(likelihood) },
    dates: new Map(dates.map(([kind, date]) => [kind, date ?? undefined])),
  };
}
