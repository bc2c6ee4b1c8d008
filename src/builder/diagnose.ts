/**
 * Reads why a build failed from its log: the first line that shows a strong symptom, what it means, which line
 * of the driver is guilty, and what its author can do.
 */

import { closest } from "../base/closest.ts";
import { FarmError } from "../base/error.ts";
import { ownScript } from "../base/own-files.ts";
import { inThread } from "../base/thread.ts";
import type { Limit } from "./sandboxes/sandbox.ts";
import { misspelt } from "./symptoms/compiler.ts";
import { type DiagnosisCode, LAST, STRONG, type Symptom, UNPROVEN, WEAK } from "./symptoms/index.ts";
import { changeOf } from "./symptoms/kernel-changes.ts";
import { KILLED, SHORT, STOPPED } from "./symptoms/machine.ts";
import { findPlace, lineNumberOf, type Place } from "./symptoms/place.ts";
import { trialsAmong } from "./symptoms/trials.ts";

export interface Diagnosis extends Partial<Place> {
  readonly code: DiagnosisCode;
  /** One sentence for a person. */
  readonly cause: string;
  /** The line of the log that says it, with paths as the driver's author knows them. */
  readonly line: string;
  /** What to do about it. */
  readonly advice: string;
  /** What of the kernel it is about: a function, a type, a member, a macro, a header. */
  readonly name?: string;
}

/** A build that failed, and what is known of it beside its own words. */
export interface FailedBuild {
  /** All that it said. */
  readonly log: string;
  readonly exitCode: number;
  /** The limit that it was ended for. */
  readonly stopped?: Limit | undefined;
  /** What the machine saw itself that it had too little of. */
  readonly short?: readonly (keyof typeof SHORT)[] | undefined;
  /** Where the driver's source was while it was built; default: /build. */
  readonly directory?: string | undefined;
  /** Paths of the files in it, where they are known. */
  readonly files?: readonly string[] | undefined;
}

const KILLED_EXIT = 137;
/** More of a line is nothing that a person reads or a compiler says. */
const LINE_LIMIT = 1000;
/** Of a log that never ends, its begin and its end are read. */
const READ_BYTES = 1024 * 1024;
const READ_LINES = 10_000;
const SHOWN_LINE_LIMIT = 300;
/** What make says on its way out tells nothing of where it was. */
const MAKE_ENDS = /^make(?:\[\d+\])?: (?:\*\*\* |Leaving directory)/;
const SHOWN_WORD_LIMIT = 160;
const SHOWN_TEXT_LIMIT = 1000;
/** A log of 2 MiB takes a second or two. */
const TIME_LIMIT_MS = 30_000;

/**
 * Reads a log in a thread of its own, since a stranger wrote it. One that takes too long explains nothing.
 */
export async function diagnoseApart(build: FailedBuild, timeoutMs = TIME_LIMIT_MS): Promise<Diagnosis> {
  const work = { ...build, log: beginAndEnd(build.log) };
  try {
    return await inThread({ script: ownScript("builder/diagnose-thread"), work, timeoutMs });
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "TIMED_OUT") throw thrown;
    return {
      code: "BUILD_UNEXPLAINED",
      cause: `the build failed with exit code ${build.exitCode}, and its log could not be read within ${timeoutMs / 1000} s`,
      line: lastLine(work.log.slice(-READ_BYTES).split("\n"), build.directory),
      advice: "See what the end of the log repeats.",
    };
  }
}

export function diagnose({
  log,
  exitCode,
  stopped,
  short: [short] = [],
  directory = "/build",
  files = [],
}: FailedBuild): Diagnosis {
  const lines = readLines(log);
  const line = lastLine(lines, directory);
  if (stopped !== undefined) return { ...STOPPED[stopped], line };
  if (short !== undefined) return { ...SHORT[short], line };
  const isKilled = exitCode === KILLED_EXIT;
  const trials = trialsAmong(lines, directory);
  const telling = isKilled ? [STRONG, UNPROVEN] : [STRONG, UNPROVEN, WEAK];
  // A trial that failed may be why, but only if there is no error but that.
  for (const isRead of [(index: number) => !trials[index], (index: number) => trials[index] === true])
    for (const symptoms of telling) {
      const found = search({ lines, isRead, directory, files }, symptoms);
      if (found !== undefined) return found;
    }
  const last = isKilled ? undefined : search({ lines, isRead: () => true, directory, files }, LAST);
  if (last !== undefined) return last;
  if (isKilled) return { ...KILLED, line };
  // Nothing says that the source is at fault, so it is not blamed; nothing proves that the machine is, either.
  return {
    code: "BUILD_UNEXPLAINED",
    cause: `the build failed with exit code ${exitCode}, for no known reason`,
    line,
    advice: "Read the whole log; the next runs try again.",
  };
}

function lastLine(lines: readonly string[], directory = "/build"): string {
  return clean(lines.findLast((line) => line.trim() !== "" && !MAKE_ENDS.test(line)) ?? "", directory);
}

/** Lines with plain quotes and without colours; what compilers quote of the source may hold any words, and goes. */
function readLines(log: string): string[] {
  const plain = beginAndEnd(log)
    .replaceAll(/\p{Cc}\[[0-9;]*[A-Za-z]/gu, "")
    .replaceAll(/[‘’`]/g, "'")
    .split("\n")
    .filter((_, index, { length }) => index < READ_LINES || index >= length - READ_LINES)
    .map((line) => calm(line.slice(0, LINE_LIMIT)));
  return plain.filter((line, index) => !isQuotedSource(line, plain[index + 1]));
}

/** Where expressions begin to look: each of these costs them the rest of the line. */
const BEGINNINGS = /error: |\*\*\* |objtool: |clang: |dkms\.conf: |btf_encoder__|"__/g;
/** Compilers and make say such words once or twice in a line. */
const MOST_BEGINNINGS = 8;

/** A line up to where such words are only said over and over. */
function calm(line: string): string {
  return line.slice(0, [...line.matchAll(BEGINNINGS)][MOST_BEGINNINGS]?.index).trimEnd();
}

function beginAndEnd(log: string): string {
  return log.length <= 2 * READ_BYTES ? log : `${log.slice(0, READ_BYTES)}\n${log.slice(-READ_BYTES)}`;
}

/** `   12 |  code` since gcc 9 and clang 15; before that a line of code above a line with a caret. */
function isQuotedSource(line: string, next: string | undefined): boolean {
  if (/^ *\d* \|(?: |$)/.test(line) || /^\s+[~^][~^ ]*$/.test(line)) return true;
  return /^\s/.test(line) && next !== undefined && /^\s+[~^][~^ ]*$/.test(next);
}

interface Log {
  readonly lines: readonly string[];
  /** Whether a line may tell the reason. */
  readonly isRead: (index: number) => boolean;
  readonly directory: string;
  readonly files: readonly string[];
}

function search(log: Log, symptoms: readonly Symptom[]): Diagnosis | undefined {
  const lastFit = new Map<RegExp, number>();
  for (const [index, line] of log.lines.entries()) {
    if (!log.isRead(index)) continue;
    for (const symptom of symptoms) {
      const match = symptom.expression.exec(line);
      if (match === null || !isConfirmed(symptom, log.lines, index, lastFit)) continue;
      const note = symptom.notedBy === undefined ? undefined : noteOf(symptom.notedBy, log.lines, index);
      if (symptom.notedBy === undefined || note !== undefined)
        return tell(symptom, { ...match.groups, ...note }, index, log);
    }
  }
  return undefined;
}

/** @param lastFit the last line that each expression fits, which is looked for once */
function isConfirmed(
  { confirmedBy }: Symptom,
  lines: readonly string[],
  index: number,
  lastFit: Map<RegExp, number>,
): boolean {
  if (confirmedBy === undefined) return true;
  const last = lastFit.get(confirmedBy) ?? lines.findLastIndex((line) => confirmedBy.test(line));
  lastFit.set(confirmedBy, last);
  return last > index;
}

/** `name` and `header` are the kernel's; `thing` is anybody else's. */
type Groups = Readonly<Record<string, string | undefined>>;

/** What a compiler adds to a message stands within so many lines after it. */
const NOTE_DISTANCE = 30;

function noteOf(expression: RegExp, lines: readonly string[], index: number): Groups | undefined {
  for (const line of lines.slice(index + 1, index + NOTE_DISTANCE)) {
    if (/: (?:fatal )?error: |: warning: |^make/.test(line)) return undefined;
    const match = expression.exec(line);
    if (match !== null) return match.groups ?? {};
  }
  return undefined;
}

function tell(symptom: Symptom, groups: Groups, index: number, { lines, directory, files }: Log): Diagnosis {
  const shorten = (word: string) =>
    word.length > SHOWN_WORD_LIMIT ? `${word.slice(0, SHOWN_WORD_LIMIT).toWellFormed()}…` : word;
  // Cleaned as a whole: a path may be put together of two words.
  const fill = (text: string) =>
    clean(
      text.replaceAll(/\{(\w+)\}/g, (_, name) => shorten(groups[name] ?? "…")),
      directory,
      SHOWN_TEXT_LIMIT,
    ).replace(/:$/, ": …");
  const named = lineNumberOf(groups.number);
  const change = changeOf(groups);
  const meant = change === undefined ? meantBy(groups.name, lines, index) : undefined;
  const { cause, advice } = meant === undefined ? symptom : misspelt(meant);
  const place =
    groups.file !== undefined && named !== undefined
      ? { file: clean(groups.file, directory), lineNumber: named }
      : findPlace(lines, index, directory, files);
  return {
    code: symptom.code ?? "BUILD_FAILED",
    cause: fill(cause),
    ...place,
    line: clean(lines[index] ?? "", directory),
    advice: change ?? fill(advice),
    ...nameOf(groups, directory),
  };
}

/**
 * What the compiler suggests in place of a name, in its message or a note, if only one letter is wrong or two changed places:
 * it has a suggestion for most names, and `crypto_cipher_tfm` did not mean `crypto_skcipher_tfm`.
 */
function meantBy(name: string | undefined, lines: readonly string[], index: number): string | undefined {
  if (name === undefined) return undefined;
  const suggestion = /did you mean '(?<word>\w+)'\?/;
  const { word } = suggestion.exec(lines[index] ?? "")?.groups ?? noteOf(suggestion, lines, index) ?? {};
  const [near] = word === undefined ? [] : closest(name, [word]);
  if (near === undefined) return undefined;
  return near.distance === 1 || (near.distance === 2 && sorted(near.word) === sorted(name))
    ? near.word
    : undefined;
}

function sorted(word: string): string {
  return word.split("").toSorted().join("");
}

function nameOf({ name, header }: Groups, directory: string): Pick<Diagnosis, "name"> {
  const found = name ?? header;
  return found === undefined ? {} : { name: clean(found, directory, SHOWN_WORD_LIMIT) };
}

/** As the driver's author knows it, and harmless on a terminal. */
function clean(text: string, directory: string, limit = SHOWN_LINE_LIMIT): string {
  const escaped = directory.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text
    .replaceAll(new RegExp(`(?<![\\w.+~-])${escaped}/(?=[\\w.])`, "g"), "")
    .replaceAll(/(^|[\s'"([])(?:\.\/)+(?=\w)/g, "$1")
    .replaceAll(/[\p{Cc}\p{Cf}\uFFFD]+/gu, " ")
    .trim()
    .slice(0, limit)
    .toWellFormed();
}
