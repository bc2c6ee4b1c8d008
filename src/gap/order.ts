/**
 * What to build first: a score whose every term can be explained. Kernels come first that close what is exploited or
 * severe; whatever waits gains with every day, so that nothing waits for ever.
 */
import type { Book } from "./book.ts";
import type { Cve, Day } from "./records.ts";

interface ScoreTerm {
  readonly name: "exploited" | "exploit" | "remote" | "severe" | "likely" | "fixes" | "age";
  readonly value: number;
  readonly weight: number;
  /** The first CVEs that it rests on. */
  readonly cves: readonly string[];
  /** Where the value comes from, and from which day that is. */
  readonly feed: string;
  readonly date?: Day;
}

export interface Score {
  /** The sum of value × weight. */
  readonly value: number;
  /** Those that are not 0. */
  readonly terms: readonly ScoreTerm[];
}

export interface Candidate {
  /** What the kernel has fixed and the one before it has not, of what it builds. */
  readonly closes: readonly string[];
  /** When it could have been built first. */
  readonly since: Day;
  readonly today: Day;
}

/** What one of each is worth. A day of waiting is worth three remote bugs; an exploited one is worth a week. */
const WEIGHTS = {
  exploited: 100,
  exploit: 40,
  remote: 5,
  severe: 1,
  likely: 30,
  fixes: 0.1,
  age: 15,
} as const;
const SHOWN_CVES = 5;
const DAY_MS = 24 * 60 * 60 * 1000;

export function scoreOf({ closes, since, today }: Candidate, book: Book): Score {
  const cves = closes.flatMap((id) => book.cve.get(id) ?? []);
  const likelihood = (id: string) => book.likelihood.get(id)?.probability ?? 0;
  const likely = closes.filter((id) => likelihood(id) > 0).toSorted((a, b) => likelihood(b) - likelihood(a));
  const counted = (
    name: ScoreTerm["name"],
    of: readonly string[],
    feed: string,
    date = book.dates.get(feed),
  ) => term(name, of.length, of, feed, date);
  const remote = idsOf(cves.filter(isRemote));
  const terms = [
    counted(
      "exploited",
      closes.filter((id) => book.exploited.has(id)),
      "kev",
    ),
    counted(
      "exploit",
      closes.filter((id) => book.exploits.has(id)),
      "kernelctf",
    ),
    counted("remote", remote, book.feed.name, book.feed.date),
    counted(
      "severe",
      idsOf(cves.filter((cve) => isSevere(cve) && !isRemote(cve))),
      book.feed.name,
      book.feed.date,
    ),
    term(
      "likely",
      likely.reduce((sum, id) => sum + likelihood(id), 0),
      likely,
      "epss",
      book.dates.get("epss"),
    ),
    counted("fixes", closes, book.feed.name, book.feed.date),
    term("age", daysBetween(since, today), [], "catalog", since),
  ].filter(({ value }) => value > 0);
  return { value: terms.reduce((sum, { value, weight }) => sum + value * weight, 0), terms };
}

function term(
  name: ScoreTerm["name"],
  value: number,
  cves: readonly string[],
  feed: string,
  date: Day | undefined,
): ScoreTerm {
  return {
    ...{ name, value, weight: WEIGHTS[name], cves: cves.slice(0, SHOWN_CVES), feed },
    ...(date === undefined ? {} : { date }),
  };
}

function idsOf(cves: readonly Cve[]): string[] {
  return cves.map(({ id }) => id);
}

function isSevere({ cvss }: Cve): boolean {
  return cvss != null && cvss.s >= 7;
}

/** Reached over a network by whoever likes. */
function isRemote(cve: Cve): boolean {
  return isSevere(cve) && /\/AV:N\//.test(cve.cvss?.v ?? "") && /\/PR:N\//.test(cve.cvss?.v ?? "");
}

/** Whole days; never negative, whatever clocks do. */
function daysBetween(from: Day, to: Day): number {
  return Math.max(0, Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS));
}

const WORDS: Readonly<Record<ScoreTerm["name"], (value: number) => string>> = {
  exploited: (value) => `closes ${value} exploited`,
  exploit: (value) => `${value} with an exploit`,
  remote: (value) => `${value} severe and remote`,
  severe: (value) => `${value} severe`,
  likely: (value) => `${value.toFixed(2)} expected to be exploited within 30 days`,
  fixes: (value) => `${value} ${value === 1 ? "CVE" : "CVEs"} in all`,
  age: (value) => `has waited ${value} ${value === 1 ? "day" : "days"}`,
};

/** Why a kernel comes when it does, in one line. */
export function reasonOf({ terms }: Score): string {
  if (terms.length === 0) return "closes nothing that is known";
  return terms
    .map(({ name, value, cves }) => {
      const named = name === "exploited" || name === "exploit" ? ` (${cves.join(", ")})` : "";
      return `${WORDS[name](value)}${named}`;
    })
    .join("; ");
}
