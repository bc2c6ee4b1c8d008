/**
 * `kmodfarm gap report`: how long fixes took to reach distributions.
 */

import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { oneLine } from "../../../base/visible.ts";
import type { Book } from "../../../gap/book.ts";
import { Day } from "../../../gap/records.ts";
import {
  advisedReleases,
  advisoryGaps,
  type Gaps,
  type StageSummary,
  summariesOf,
  uploadGaps,
} from "../../../gap/report.ts";
import { type OwnStage, ownStages } from "../../../gap/stages.ts";
import { watchNewest } from "../../../gap/watch.ts";
import { findRelease } from "../../../kernel/distributions/index.ts";
import type { OptionsOf } from "../../command.ts";
import { type Knowledge, withKnowledge } from "../../gap-book.ts";
import { print, printJson, say, table } from "../../output.ts";
import type { REPORT } from "./command.ts";

type ReportOptions = OptionsOf<typeof REPORT>;

export async function report(options: ReportOptions): Promise<number> {
  const today = dayNamed(options.today ?? new Date().toISOString().slice(0, 10));
  return withKnowledge(options, (known) => reportOn(known, today, options));
}

async function reportOn(known: Knowledge, today: Day, options: ReportOptions): Promise<number> {
  const { book } = known;
  const own = ownPart(known);
  const distributions = gapsOf(book).map(({ gaps, unassigned }) => ({
    ...{ gaps, summaries: summariesOf(gaps, book, today), unassigned },
  }));
  if (options.json)
    await printJson({
      schema: "kmodfarm.gap-report/1",
      ...{ today, feed: book.feed },
      distributions: distributions.map(({ gaps: { rows, ...gaps }, summaries, unassigned }) => ({
        ...{ ...gaps, summaries },
        ...(unassigned === undefined ? {} : { unassigned }),
        ...(options.rows ? { rows } : {}),
      })),
      ...(own.length === 0 ? {} : { own }),
    });
  else {
    for (const { gaps, summaries, unassigned } of distributions)
      await print(`${textOf(gaps, summaries, options.rows ?? false)}${unassignedText(unassigned)}\n`);
    if (distributions.length > 0) await print(LEGEND);
    if (own.length > 0) await print(`${distributions.length > 0 ? "\n" : ""}${ownText(own)}`);
  }
  if (distributions.length > 0 || own.length > 0) return 0;
  say(
    "nothing to report: no changelog and no advisory says what a distribution has fixed; name --changelog debian12=FILE, or a feed of advisories (docs/feeds.md)",
  );
  return 3;
}

/** From a kernel's upload to its modules, as this farm saw it. */
function ownPart({ stored }: Knowledge): OwnStage[] {
  if (stored === undefined) return [];
  const { state, uploadedOf } = stored;
  return ownStages(state.catalog.kernels, uploadedOf, state.history, new Date());
}

function ownText(own: readonly OwnStage[]): string {
  const rows = own.map(({ stage, count, median, p90, open, unseen }) => [
    ...[stage, String(count), span(median), span(p90), String(open), String(unseen)],
  ]);
  return `this farm\n\n${table(["STAGE", "ENDED", "MEDIAN", "P90", "OPEN", "BEFORE US"], rows)}`;
}

/** `53 min`, `5.1 h`, `12 d` */
function span(value: number | undefined): string {
  if (value === undefined) return "-";
  const hours = value * 24;
  if (Math.abs(hours) < 2) return `${Math.round(hours * 60)} min`;
  return Math.abs(value) < 2 ? `${Math.round(hours * 10) / 10} h` : days(value);
}

function dayNamed(text: string): Day {
  if (Day.safeParse(text).success) return text;
  throw new FarmError("USAGE", {
    detail: `${JSON.stringify(text)} is no day`,
    hint: "Write --today 2026-11-29.",
  });
}

/** Each distribution by its uploads if there is a changelog, and by its advisories otherwise. */
function gapsOf(book: Book): { readonly gaps: Gaps; readonly unassigned?: Unassigned }[] {
  const uploads = book.changelogs.map((changelog) => {
    const release = findRelease(changelog.distribution)?.release;
    const codename = release !== undefined && "codename" in release ? release.codename : "";
    const { looked, fixed } = watchNewest(changelog, book.cves);
    return { gaps: uploadGaps(book, changelog, codename), unassigned: { looked, likely: fixed.length } };
  });
  const known = new Set(uploads.map(({ gaps }) => gaps.release));
  const advised = advisedReleases(book).filter(({ release }) => !known.has(release));
  const byRelease = Map.groupBy(book.advisories, ({ advisory }) => advisory.release);
  return [
    ...uploads,
    ...advised.map(({ release, package: name }) => ({
      gaps: advisoryGaps(book, release, name, byRelease.get(release)),
    })),
  ];
}

/** Of the commits that no CVE was given to since the feed ends. */
interface Unassigned {
  readonly looked: number;
  readonly likely: number;
}

function unassignedText(unassigned: Unassigned | undefined): string {
  if (unassigned === undefined || unassigned.looked === 0) return "";
  const { looked, likely } = unassigned;
  return `likely security, unassigned: ${likely} of ${counted(looked, "commit")} that the feed of CVEs is too old for (by the words of subjects: docs/gap.md)\n`;
}

const LEGEND = `OPEN: fixes that have not come yet. EARLY: fixes that came before the step began. Slips: fixes that are said to have been
there half a year before any release, which is taken for an error.
`;
const HEAD = ["FIXES OF", "COUNT", "MEDIAN", "P90", "7 D", "14 D", "30 D", "OPEN", "EARLY"];

function textOf(
  { release, package: name, series, rows, leftOut }: Gaps,
  summaries: readonly StageSummary[],
  isListed: boolean,
): string {
  const stages = [...Map.groupBy(summaries, ({ stage }) => stage)].map(([stage, groups]) => {
    const lines = groups.map(({ group, count, median, p90, within, open, negative }) => [
      ...[group, String(count), days(median), days(p90)],
      ...[share(within[7]), share(within[14]), share(within[30]), String(open), String(negative)],
    ]);
    return `${stage}\n${table(HEAD, lines)}`;
  });
  const { beforeRelease, withoutDay, slips } = leftOut;
  const notes = `left out: ${beforeRelease} it was released with, ${withoutDay} without a day, ${slips} slips`;
  const listed = rows.map(({ cve, first, series, distribution }) => [
    ...[cve, first, series?.version ?? "-", series?.day ?? "-"],
    ...[distribution?.version ?? "-", distribution?.day ?? "open", distribution?.evidence ?? "-"],
  ]);
  return [
    `${oneLine(`${release}, ${name}`)}${series === undefined ? "" : ` ${series}`}\n${notes}\n\n${stages.length === 0 ? "no fix went this way\n" : stages.join("\n")}\n`,
    isListed ? `${table(["CVE", "FIRST", "SERIES", "DAY", "HERE", "DAY", "BY"], listed)}\n` : "",
  ].join("");
}

function days(value: number | undefined): string {
  return value === undefined ? "-" : `${Math.round(value * 10) / 10} d`;
}

function share(value: number): string {
  return `${Math.round(value * 100)} %`;
}
