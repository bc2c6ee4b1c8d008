/**
 * A run's result in Markdown, for the summary page of a CI system: coverage, failures by cause, what changed.
 */

import { appendFile } from "node:fs/promises";
import { counted } from "../base/counted.ts";
import { FarmError, isErrno } from "../base/error.ts";
import { visible } from "../base/visible.ts";
import type { RunReport, RunRow } from "../farm/night/report.ts";
import { elementName } from "../matrix/element.ts";
import { type FailedElement, failureGroups, failureOf } from "./failures.ts";
import { isFailed, isUndecided, type OutcomeWord, outcomeOf } from "./outcomes.ts";

/** GitHub drops a step's summary of more than 1 MiB. */
export const SUMMARY_LIMIT_BYTES = 1000 * 1000;
/** What was left out is said in so many bytes at most. */
const ROOM_BYTES = 200;
const LONGEST_CELL = 300;

/** @throws FarmError FILE_UNREADABLE naming the file if it cannot be written */
export async function addSummary(file: string, text: string): Promise<void> {
  try {
    await appendFile(file, text);
  } catch (cause) {
    const why = isErrno(cause) ? cause.code : String(cause);
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the summary ${file} cannot be written (${why})`,
      cause,
    });
  }
}

export interface SummarizedReport extends RunReport {
  /** Hand-overs that were refused. */
  readonly refused?: readonly { readonly file: string; readonly error: FarmError }[];
}

/** At most `SUMMARY_LIMIT_BYTES`, in ASCII: words of others are in it, and none of them is Markdown. */
export function summaryOf(report: SummarizedReport): string {
  const { rows, wanted, handedOut, generation, problems, refused = [] } = report;
  const stable = rows.filter((row) => outcomeOf(row) === "stable").length;
  const share = wanted === 0 ? "" : ` (${Math.floor((stable / wanted) * 100)} %)`;
  const open = handedOut === 0 ? "" : ` ${handedOut} are still to be done.`;
  const head = `## kmodfarm: generation ${generation}\n\n${stable} of ${counted(wanted, "wanted element")}${share} stable.${open}\n`;
  const faults = [
    ...refused.map(({ error }) => [error.code, error.message, error.hint] as const),
    ...problems.map(({ code, source, detail, hint }) => [code, `${source}: ${detail}`, hint] as const),
  ];
  return joined(head, [
    section("Coverage", ["release", "architecture", ...WORDS, "new"], coverage(rows)),
    section("Failures", FAILURE_HEAD, failures(rows.filter((row) => isFailed(row) || isUndecided(row)))),
    section("Changed", ["element", "is now"], changes(rows)),
    section(
      "Problems",
      ["code", "what", "next step"],
      faults.map((fault) => fault.map(cell)),
    ),
  ]);
}

/** A trial's: its table, whose rows are as `head` says, and what failed. */
export function trySummaryOf(
  result: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
  failed: readonly FailedElement[],
): string {
  return joined(`## kmodfarm try\n\n${cell(result)}\n`, [
    section(
      "Kernels",
      head,
      rows.map((row) => row.map(cell)),
    ),
    section("Failures", FAILURE_HEAD, failures(failed)),
  ]);
}

const WORDS = ["stable", "candidate", "failed", "excluded", "unfetchable"] as const satisfies OutcomeWord[];

function coverage(rows: readonly RunRow[]): string[][] {
  const places = Map.groupBy(
    rows,
    ({ element: { distribution, architecture } }) => `${distribution} ${architecture}`,
  );
  const byName = [...places].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return byName.map(([place, group]) => {
    const counts = WORDS.map((word) => group.filter((row) => outcomeOf(row) === word).length);
    const fresh = group.filter(({ isNew }) => isNew).length;
    return [...place.split(" ").map(cell), ...[...counts, fresh].map(String)];
  });
}

const FAILURE_HEAD = ["driver", "kernels", "cause", "where", "next step"];

function failures(failed: readonly FailedElement[]): string[][] {
  return failureGroups(failed).map((group) => {
    const [{ element, note }] = group as [FailedElement];
    const { code, cause, file, lineNumber, advice } = failureOf(note);
    const where = file === undefined ? "" : `${file}${lineNumber === undefined ? "" : `:${lineNumber}`}`;
    const driver = `${element.driver} ${element.driverversion}`;
    return [driver, String(group.length), `${cause} [${code}]`, where, advice].map(cell);
  });
}

function changes(rows: readonly RunRow[]): string[][] {
  return rows.filter(({ isNew }) => isNew).map((row) => [elementName(row.element), outcomeOf(row)].map(cell));
}

/** A table in lines; empty without rows. */
function section(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |\n`;
  return [`\n### ${title}\n\n${line(head)}${line(head.map(() => "---"))}`, ...rows.map(line)];
}

/** Whole lines, as many as there is room for. */
function joined(head: string, sections: readonly (readonly string[])[]): string {
  let text = head;
  const lines = sections.flat();
  for (const [index, line] of lines.entries()) {
    if (text.length + line.length > SUMMARY_LIMIT_BYTES - ROOM_BYTES)
      return `${text}\n${lines.length - index} more lines are left out; the log of the command has all of it.\n`;
    text += line;
  }
  return text;
}

/** Markdown has no escape for everything that makes links and tables; HTML's references do, and are ASCII. */
function cell(text: string): string {
  return visible(text.slice(0, LONGEST_CELL)).replaceAll(
    /[^A-Za-z0-9 -]/gu,
    (character) => `&#${character.codePointAt(0)};`,
  );
}
