/**
 * What people are told, each thing once: a closed list of kinds, and of each the keys of what it tells. What cannot wait for
 * the day's digest goes out alone.
 */
import { cut } from "../base/copied.ts";
import { largest } from "../base/extremes.ts";
import type { Book } from "./book.ts";
import { scoreOf } from "./order.ts";
import type { Day } from "./records.ts";
import { BURNING, type Standing } from "./slo.ts";

export const NOTICE_KINDS = {
  kernel: "a new kernel, and what it closes",
  waiting: "fixes that a series of kernel.org has had for long, and a distribution that follows it has not",
  burning: "modules that have used most of their time and are not stable",
  breached: "modules that were not stable in time",
} as const;
export type NoticeKind = keyof typeof NOTICE_KINDS;

export interface Notice {
  readonly kind: NoticeKind;
  readonly lane: "urgent" | "digest";
  /** A sentence, in which nothing is a stranger's but names of kernels and CVEs. */
  readonly text: string;
  /** All of them, the most pressing first. */
  readonly cves: readonly string[];
  /** The titles of the first: words of strangers. */
  readonly titles: readonly { readonly cve: string; readonly title: string }[];
  /** What it tells, each once and for all. */
  readonly keys: readonly string[];
}

/** A kernel that appeared while the farm watched. */
export interface NewKernel {
  /** `debian12`, and the version of the package: flavours and architectures of one upload are one. */
  readonly distribution: string;
  readonly packageVersion: string;
  /** `uname -r` of each. */
  readonly releases: readonly string[];
  /** What it has fixed and the upload before it has not; undefined for the first of its series. */
  readonly closes?: readonly string[];
}

/** A fix that is in the series and not in the distribution. */
export interface WaitingFix {
  readonly distribution: string;
  readonly package: string;
  readonly series: string;
  readonly cve: string;
  /** Since when the series has it. */
  readonly since: Day;
}

export interface Situation {
  readonly book: Book;
  readonly today: Day;
  /** Days after which a fix that is waited for is reported. */
  readonly waitingDays: number;
  readonly kernels: readonly NewKernel[];
  readonly waiting: readonly WaitingFix[];
  readonly standings: readonly Standing[];
}

const SHOWN = 5;
const LONGEST_TITLE = 120;
const DAY_MS = 86_400_000;

/** What there is to tell that was not told yet, urgent things first. */
export function noticesOf(situation: Situation, told: ReadonlySet<string>): Notice[] {
  const isNews = ({ keys }: Notice) => keys.some((key) => !told.has(key));
  const all = [
    ...situation.kernels.map((kernel) => ofKernel(kernel, situation)),
    ...ofWaiting(situation, told),
    ...ofPromises(situation.standings, told),
  ];
  return all.filter(isNews).toSorted((a, b) => Number(b.lane === "urgent") - Number(a.lane === "urgent"));
}

function ofKernel(kernel: NewKernel, { book, today }: Situation): Notice {
  const { distribution, packageVersion, releases, closes } = kernel;
  const exploited = (closes ?? []).filter((cve) => book.exploited.has(cve));
  const what =
    closes === undefined
      ? "is the first of its series here"
      : closes.length === 0
        ? "closes nothing that the feeds know"
        : `closes ${closingWords(closes, book, today)}`;
  return {
    ...{ kind: "kernel", lane: exploited.length > 0 ? "urgent" : "digest" },
    text: `new kernel: ${distribution} ${packageVersion} (${some(releases)}) ${what}`,
    ...pressing(closes ?? [], book),
    keys: [`kernel/${distribution}/${packageVersion}`],
  };
}

const CLOSING_WORDS: Readonly<Record<string, string>> = {
  exploited: "exploited",
  exploit: "with an exploit",
  remote: "severe and remote",
  severe: "severe",
};

/** `14 CVEs, of them 1 exploited (CVE-2026-1001), 3 severe` */
function closingWords(closes: readonly string[], book: Book, today: Day): string {
  const { terms } = scoreOf({ closes, since: today, today }, book);
  const parts = terms.flatMap(({ name, value, cves }) => {
    const words = CLOSING_WORDS[name];
    if (words === undefined) return [];
    return [`${value} ${words}${name === "exploited" ? ` (${cves.join(", ")})` : ""}`];
  });
  return `${counted(closes.length, "CVE")}${parts.length === 0 ? "" : `, of them ${parts.join(", ")}`}`;
}

function ofWaiting({ waiting, waitingDays, book, today }: Situation, told: ReadonlySet<string>): Notice[] {
  const keyOf = (fix: WaitingFix) => `waiting/${fix.distribution}/${fix.package}/${fix.series}/${fix.cve}`;
  const late = waiting.filter((fix) => daysSince(fix.since, today) > waitingDays && !told.has(keyOf(fix)));
  const groups = Map.groupBy(late, ({ distribution, package: name, series, cve }) =>
    [distribution, name, series, book.exploited.has(cve)].join("\n"),
  );
  return [...groups.values()].map((fixes): Notice => {
    const { distribution, package: name, series, cve } = fixes[0] as WaitingFix;
    const isUrgent = book.exploited.has(cve);
    const cves = fixes.map((fix) => fix.cve);
    const oldest = largest(fixes.map(({ since }) => daysSince(since, today)));
    const what = fixes.length === 1 ? "a fix" : `${fixes.length} fixes`;
    const has = fixes.length === 1 ? "is" : "are";
    return {
      ...{ kind: "waiting", lane: isUrgent ? "urgent" : "digest" },
      text: `waiting on the distribution: ${what} that ${series}.y has had for more than ${waitingDays} days ${has} not in ${distribution} (${name}), the oldest for ${oldest} days: ${closingWords(cves, book, today)}`,
      ...pressing(cves, book),
      keys: fixes.map(keyOf),
    };
  });
}

const STATES = { burning: ["burning"], breached: ["breached", "late"] } as const;

function ofPromises(standings: readonly Standing[], told: ReadonlySet<string>): Notice[] {
  return (["breached", "burning"] as const).flatMap((kind) => {
    const keyOf = ({ tier, driver, series, kernel }: Standing) =>
      `${kind}/${tier}/${driver}/${series}/${kernel}`;
    const concerned = standings.filter(
      (one) => (STATES[kind] as readonly string[]).includes(one.state) && !told.has(keyOf(one)),
    );
    const groups = Map.groupBy(concerned, ({ driver, series, tier }) => [driver, series, tier].join("\n"));
    return [...groups.values()].map((members): Notice => {
      const { driver, series, tier, hours } = members[0] as Standing;
      const longest = Math.round(largest(members.map(({ taken }) => taken)));
      const on = `${driver} ${series} on ${counted(members.length, "kernel")} (${some(members.map((one) => one.kernel))})`;
      const late = members.filter(({ state }) => state === "late").length;
      const since = late === 0 ? "" : `; ${late} of them ${late === 1 ? "is" : "are"} stable by now`;
      return {
        ...{ kind, lane: tier === "P0" ? "urgent" : "digest" },
        text:
          kind === "burning"
            ? `${on} has used ${BURNING * 100} % or more of the ${hours} hours of ${tier}`
            : `${on} was not stable within the ${hours} hours of ${tier}, the longest for ${longest}${since}`,
        ...{ cves: [], titles: [] },
        keys: members.map(keyOf),
      };
    });
  });
}

/** CVEs with those first that are exploited, have an exploit, or are the most severe. */
function pressing(cves: readonly string[], book: Book): Pick<Notice, "cves" | "titles"> {
  const weight = (cve: string) =>
    1000 * Number(book.exploited.has(cve)) +
    100 * Number(book.exploits.has(cve)) +
    (book.cve.get(cve)?.cvss?.s ?? 0);
  const sorted = cves.toSorted((a, b) => weight(b) - weight(a) || (a < b ? -1 : 1));
  const titles = sorted.slice(0, SHOWN).flatMap((cve) => {
    const { title = "" } = book.cve.get(cve) ?? {};
    return title === "" ? [] : [{ cve, title: cut(title, LONGEST_TITLE) }];
  });
  return { cves: sorted, titles };
}

/** The first of them, and how many more. */
function some(names: readonly string[]): string {
  const more = names.length - SHOWN;
  return `${names.slice(0, SHOWN).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

function daysSince(day: Day, today: Day): number {
  return Math.round((Date.parse(today) - Date.parse(day)) / DAY_MS);
}
