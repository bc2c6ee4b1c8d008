/**
 * Verdicts as OSV records (ossf.github.io/osv-schema), one for each CVE. Affected versions are listed one by one: a range
 * that begins at 0 would claim something of kernels that nobody judged.
 */
import type { Book } from "../book.ts";
import type { Target } from "../target.ts";
import type { Verdict } from "../verdict.ts";

export interface OsvOptions {
  /** `2026-11-29T20:00:00Z` */
  readonly modified: string;
  /** OSV's name of a distribution release (`Debian:12`); undefined for one that has none. */
  readonly ecosystemOf: (distribution: string) => string | undefined;
}

export interface Judged {
  readonly target: Target;
  readonly verdict: Verdict;
}

/** `judged` is about one CVE. @returns undefined if nothing is affected that OSV has a name for */
export function toOsv(
  cve: string,
  judged: readonly Judged[],
  book: Book,
  options: OsvOptions,
): object | undefined {
  const { title, cvss, published, rejected } = book.cve.get(cve) ?? {};
  if (rejected === true) return undefined;
  const open = judged.filter(
    ({ verdict }) => verdict.verdict === "affected" || verdict.verdict === "no_upstream_fix",
  );
  const packages = Map.groupBy(open, ({ target }) => `${target.distribution}\n${target.packages[0]}`);
  const affected = [...packages.values()].flatMap((of) => affectedOf(of, options));
  if (affected.length === 0) return undefined;
  return {
    schema_version: "1.6.0",
    id: cve,
    modified: options.modified,
    ...(published === undefined ? {} : { published: new Date(published).toISOString() }),
    ...(title === undefined || title === "" ? {} : { summary: title }),
    ...(cvss == null ? {} : { severity: [{ type: "CVSS_V3", score: cvss.v }] }),
    affected,
    database_specific: {
      source: book.feed.name,
      ...(book.feed.date === undefined ? {} : { feed_date: book.feed.date }),
    },
  };
}

function affectedOf(judged: readonly Judged[], { ecosystemOf }: OsvOptions): object[] {
  const { distribution = "", packages: [name] = [] } = judged[0]?.target ?? {};
  const ecosystem = ecosystemOf(distribution);
  if (ecosystem === undefined || name === undefined) return [];
  const versions = [...new Set(judged.flatMap(({ target }) => target.packageVersion ?? []))].sort();
  return [{ package: { ecosystem, name }, versions }];
}
