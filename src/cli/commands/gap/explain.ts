/**
 * `kmodfarm gap explain`: what feeds say of a CVE in kernels, or of a kernel.
 */
import { counted } from "../../../base/counted.ts";
import { oneLine } from "../../../base/visible.ts";
import { type Book, fixesOf } from "../../../gap/book.ts";
import { Gap, type KernelVerdicts } from "../../../gap/gap.ts";
import type { Target } from "../../../gap/target.ts";
import { UNKNOWN_REASONS, type UnknownReason, type Verdict } from "../../../gap/verdict.ts";
import { type Watched, watch } from "../../../gap/watch.ts";
import { parseUpstreamVersion } from "../../../kernel/upstream-version.ts";
import type { OptionsOf } from "../../command.ts";
import { type Knowledge, newestKernels, targetNamed, withKnowledge } from "../../gap-book.ts";
import { print, printJson, say, table } from "../../output.ts";
import type { EXPLAIN } from "./command.ts";

type ExplainOptions = OptionsOf<typeof EXPLAIN>;

export async function explain(name: string, options: ExplainOptions): Promise<number> {
  const cve = /^CVE-/i.test(name) ? name.toUpperCase() : undefined;
  return withKnowledge(options, (known) => explainIn(cve ?? name, options, known), cve);
}

async function explainIn(name: string, options: ExplainOptions, known: Knowledge): Promise<number> {
  const gap = new Gap(known.book);
  if (name.startsWith("CVE-")) return await explainCve(name, options, gap, known);
  const kernel = gap.ofKernel(targetNamed(name, known));
  const doubts = [
    ...(gap.book.cves.length === 0 ? ["no feed has CVEs, so nothing is known of any kernel"] : []),
    ...doubtsOf([kernel.target], known),
  ];
  const unassigned = watch(gap.book.changelogs, gap.book.cves, kernel.target);
  if (options.json) {
    const { counts, unknown, target } = kernel;
    const verdicts = gap.book.cves.map(({ id }) => kernel.of(id));
    await printJson({
      schema: "kmodfarm.gap-kernel/1",
      ...{ feed: gap.book.feed, kernel: target.name, counts, unknown, verdicts },
      ...(unassigned === undefined ? {} : { unassigned }),
    });
  } else {
    const isListed = options.open ?? false;
    await print(`${kernelText(kernel, gap.book, isListed)}${unassignedText(unassigned, isListed)}`);
  }
  for (const doubt of doubts) say(doubt);
  if (kernel.counts.affected + kernel.counts.no_upstream_fix > 0) return 1;
  return kernel.counts.unknown > 0 || doubts.length > 0 ? 3 : 0;
}

/** Why verdicts on releases of kernel.org are worth less than they look: a feed cannot have looked at what nobody released. */
function doubtsOf(targets: readonly Target[], { book }: Knowledge): string[] {
  const unreleased = targets.filter(
    ({ name, distribution }) => distribution === undefined && !book.releases.has(name),
  );
  if (unreleased.length === 0) return [];
  const names = unreleased.map(({ name }) => name).join(", ");
  return book.releases.size === 0
    ? [
        `no feed has the releases of kernel.org, so nobody knows whether ${names} is newer than the list of CVEs: add a feed \`releases\` (docs/feeds.md)`,
      ]
    : [
        `no feed knows a release ${names}: it does not exist, or is newer than the feed; verdicts on it follow from its number alone`,
      ];
}

async function explainCve(id: string, options: ExplainOptions, gap: Gap, known: Knowledge): Promise<number> {
  const { book } = gap;
  const cve = book.cve.get(id);
  const asked = [...(options.release ?? []), ...(options.node ?? [])];
  const targets =
    asked.length > 0 ? asked.map((one) => targetNamed(one, known)) : usualTargets(known, cve !== undefined);
  const verdicts = targets.map((target) => gap.of(id, target));
  const doubts = [
    ...(cve === undefined ? [`no feed has ${id}, which does not mean that no kernel is affected`] : []),
    ...(targets.length === 0
      ? [`no kernel to look at is known: name one with --release, or add a feed \`releases\` (docs/feeds.md)`]
      : []),
    ...doubtsOf(targets, known),
  ];
  const fixes = cve === undefined ? [] : fixesOf(cve, book.releases);
  if (options.json)
    await printJson({ schema: "kmodfarm.gap-cve/1", feed: book.feed, id, cve, fixes, verdicts });
  else {
    const first = fixes[0];
    const lines = [
      oneLine(`${id}: ${cve === undefined ? "in no feed" : cve.title}`),
      ...(cve?.cvss == null ? [] : [oneLine(`severity: ${cve.cvss.sev} ${cve.cvss.s} (${cve.cvss.v})`)]),
      ...(cve === undefined || cve.files.length === 0 ? [] : [oneLine(`files: ${cve.files.join(", ")}`)]),
      ...(first === undefined ? [] : [`first fixed: ${first.version} on ${first.day}`]),
      feedLine(book),
    ];
    const shown = verdicts.length === 0 ? "" : `\n${table(HEAD, verdicts.map(row))}`;
    await print(`${lines.join("\n")}\n${shown}`);
  }
  for (const doubt of doubts) say(doubt);
  if (verdicts.some(({ verdict }) => verdict === "affected" || verdict === "no_upstream_fix")) return 1;
  return verdicts.some(({ verdict }) => verdict === "unknown") || doubts.length > 0 ? 3 : 0;
}

function usualTargets(known: Knowledge, isKnown: boolean): Target[] {
  if (known.stored !== undefined) return newestKernels(known).map(({ target }) => target);
  return isKnown ? newestOfEachSeries(known.book).map((name) => targetNamed(name, known)) : [];
}

/** The newest release of each series of this year: those that are still maintained. */
function newestOfEachSeries({ releases }: Book): string[] {
  const newest = [...releases].toSorted(([, a], [, b]) => (a < b ? 1 : -1));
  const year = newest[0]?.[1].slice(0, 4);
  const bySeries = new Map<number, string>();
  for (const [version, day] of newest) {
    const series = parseUpstreamVersion(version)?.series;
    if (series !== undefined && day.slice(0, 4) === year && !bySeries.has(series))
      bySeries.set(series, version);
  }
  return [...bySeries].toSorted(([a], [b]) => a - b).map(([, version]) => version);
}

const HEAD = ["KERNEL", "VERDICT", "FIXED IN", "EVIDENCE", "WHY"];

function row({ target, verdict, fixedIn, evidence, reason, confidence }: Verdict): string[] {
  return [
    target,
    confidence === "provisional" && verdict !== "unknown" ? `${verdict} (provisional)` : verdict,
    fixedIn ?? "-",
    [...new Set(evidence.map(({ id }) => id))].join(" ") || "-",
    reason === undefined ? "" : UNKNOWN_REASONS[reason],
  ];
}

function kernelText(kernel: KernelVerdicts, book: Book, isListed: boolean): string {
  const counts = Object.entries(kernel.counts).filter(([, count]) => count > 0);
  const reasons = Object.entries(kernel.unknown) as [UnknownReason, number][];
  const rows = [
    ...counts.map(([verdict, count]) => [verdict, String(count)]),
    ...reasons.map(([reason, count]) => [`  ${UNKNOWN_REASONS[reason]}`, String(count)]),
  ];
  const open = isListed ? kernel.cvesThatAre("affected", "no_upstream_fix").map((cve) => kernel.of(cve)) : [];
  const openRows = open.map(({ cve, verdict, fixedIn }) => {
    const { title = "", cvss } = book.cve.get(cve) ?? {};
    return [cve, verdict, fixedIn ?? "-", cvss == null ? "-" : String(cvss.s), title];
  });
  return [
    `${kernel.target.name}\n${feedLine(book)}\n\n`,
    table(["VERDICT", "CVES"], rows),
    openRows.length === 0 ? "" : `\n${table(["CVE", "VERDICT", "FIXED IN", "CVSS", "TITLE"], openRows)}`,
  ].join("");
}

function unassignedText(unassigned: Watched | undefined, isListed: boolean): string {
  if (unassigned === undefined || unassigned.looked === 0) return "";
  const { looked, fixed, open } = unassigned;
  const rows = open.map(({ subject, upload, signals }) => [upload, signals.join(", "), subject]);
  return [
    `\nlikely security, unassigned: ${fixed.length} fixed here, ${open.length} only in later uploads, of ${counted(looked, "commit")}\n`,
    "that the feed of CVEs is too old for (by the words of subjects: docs/gap.md)\n",
    isListed && rows.length > 0 ? `\n${table(["FIXED IN", "SIGNALS", "SUBJECT"], rows)}` : "",
  ].join("");
}

function feedLine({ feed, size }: Book): string {
  return `as of ${feed.date ?? "an unknown day"} (${feed.name}: ${counted(size, "CVE")})`;
}
