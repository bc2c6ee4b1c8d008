/**
 * Reads why a build failed from its log: the first line that shows a strong symptom, what it means, which line
 * of the driver is guilty, and what its author can do.
 */
import type { Limit } from "./sandboxes/sandbox.ts";
import { type DiagnosisCode, LAST, MACHINE, STRONG, type Symptom, WEAK } from "./symptoms/index.ts";
import { changeOf } from "./symptoms/kernel-changes.ts";
import { KILLED, STOPPED } from "./symptoms/machine.ts";
import { findPlace, type Place } from "./symptoms/place.ts";

export interface Diagnosis extends Partial<Place> {
  readonly code: DiagnosisCode;
  /** One sentence for a person. */
  readonly cause: string;
  /** The line of the log that says it, with paths as the driver's author knows them. */
  readonly line: string;
  /** What to do about it. */
  readonly advice: string;
}

const OUT_OF_MEMORY_EXIT = 137;
/** More of a line is nothing that a person reads or a compiler says. */
const LINE_LIMIT = 1000;
/** Of a log that never ends, its begin and its end are read. */
const READ_BYTES = 1024 * 1024;
const READ_LINES = 10_000;
const SHOWN_LINE_LIMIT = 300;
/** What make says on its way out tells nothing of where it was. */
const MAKE_ENDS = /^make(?:\[\d+\])?: (?:\*\*\* |Leaving directory)/;
const SHOWN_WORD_LIMIT = 160;

/** @param directory where the driver's source was while it was built */
export function diagnose(log: string, exitCode: number, stopped?: Limit, directory = "/build"): Diagnosis {
  const lines = readLines(log);
  const last = clean(lines.findLast((line) => line.trim() !== "" && !MAKE_ENDS.test(line)) ?? "", directory);
  if (stopped !== undefined) return { ...STOPPED[stopped], line: last };
  const isKilled = exitCode === OUT_OF_MEMORY_EXIT;
  const tables = isKilled ? [MACHINE, STRONG] : [MACHINE, STRONG, WEAK, LAST];
  for (const symptoms of tables) {
    const found = search(lines, symptoms, directory);
    if (found !== undefined) return found;
  }
  if (isKilled) return { ...KILLED, line: last };
  // Nothing says that the source is at fault, so it is not blamed.
  return {
    code: "TOOL_FAILED",
    cause: `the build ended with exit code ${exitCode} and no reason that is known`,
    line: last,
    advice: "Look at the whole log; the next run tries again.",
  };
}

/** Lines with plain quotes and without colours; what compilers quote of the source may hold any words, and goes. */
function readLines(log: string): string[] {
  const plain = beginAndEnd(log)
    .replaceAll(/\p{Cc}\[[0-9;]*[A-Za-z]/gu, "")
    .replaceAll(/[‘’`]/g, "'")
    .split("\n")
    .filter((_, index, { length }) => index < READ_LINES || index >= length - READ_LINES)
    .map((line) => line.slice(0, LINE_LIMIT).trimEnd());
  return plain.filter((line, index) => !isQuotedSource(line, plain[index + 1]));
}

function beginAndEnd(log: string): string {
  return log.length <= 2 * READ_BYTES ? log : `${log.slice(0, READ_BYTES)}\n${log.slice(-READ_BYTES)}`;
}

/** `   12 |  code` since gcc 9 and clang 15; before that a line of code above a line with a caret. */
function isQuotedSource(line: string, next: string | undefined): boolean {
  if (/^ *\d* \|(?: |$)/.test(line) || /^\s+[~^][~^ ]*$/.test(line)) return true;
  return /^\s/.test(line) && next !== undefined && /^\s+[~^][~^ ]*$/.test(next);
}

function search(
  lines: readonly string[],
  symptoms: readonly Symptom[],
  directory: string,
): Diagnosis | undefined {
  for (const [index, line] of lines.entries()) {
    for (const symptom of symptoms) {
      const match = symptom.expression.exec(line);
      if (match !== null && isConfirmed(symptom, lines, index))
        return tell(symptom, match.groups ?? {}, { lines, index, directory });
    }
  }
  return undefined;
}

function isConfirmed({ confirmedBy }: Symptom, lines: readonly string[], index: number): boolean {
  return confirmedBy === undefined || lines.slice(index + 1).some((line) => confirmedBy.test(line));
}

interface Finding {
  readonly lines: readonly string[];
  readonly index: number;
  readonly directory: string;
}

type Groups = Readonly<Record<string, string | undefined>>;

function tell(symptom: Symptom, groups: Groups, { lines, index, directory }: Finding): Diagnosis {
  const fill = (text: string) =>
    text.replaceAll(/\{(\w+)\}/g, (_, name) => {
      const word = clean(groups[name] ?? "", directory);
      return word.length > SHOWN_WORD_LIMIT ? `${word.slice(0, SHOWN_WORD_LIMIT)}…` : word || "…";
    });
  const place =
    groups.file !== undefined && groups.number !== undefined
      ? { file: clean(groups.file, directory), lineNumber: Number(groups.number) }
      : findPlace(lines, index, directory);
  return {
    code: symptom.code ?? "BUILD_FAILED",
    cause: fill(symptom.cause),
    ...place,
    line: clean(lines[index] ?? "", directory),
    advice: changeOf(groups) ?? fill(symptom.advice),
  };
}

/** As the driver's author knows it, and harmless on a terminal. */
function clean(text: string, directory: string): string {
  const escaped = directory.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text
    .replaceAll(new RegExp(`(?<![\\w.+~-])${escaped}/(?=[\\w.])`, "g"), "")
    .replaceAll(/(^|[\s'"([])(?:\.\/)+(?=\w)/g, "$1")
    .replaceAll(/[\p{Cc}\p{Cf}\uFFFD]+/gu, " ")
    .trim()
    .slice(0, SHOWN_LINE_LIMIT);
}
