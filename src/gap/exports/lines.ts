/** Verdicts as lines: CSV for tables (RFC 4180), NDJSON for programs. */
import type { Verdict } from "../verdict.ts";

const COLUMNS = [
  "kernel",
  "cve",
  "verdict",
  "reason",
  "fixed_in",
  "evidence",
  "feed_date",
  "confidence",
] as const;

export function* toCsv(verdicts: Iterable<Verdict>): Generator<string> {
  yield `${COLUMNS.join(",")}\r\n`;
  for (const { target, cve, verdict, reason, fixedIn, evidence, feedDate, confidence } of verdicts) {
    const seen = [...new Set(evidence.map(({ id }) => id))].join(" ");
    yield `${[target, cve, verdict, reason, fixedIn, seen, feedDate, confidence].map(cell).join(",")}\r\n`;
  }
}

export function* toNdjson(verdicts: Iterable<Verdict>): Generator<string> {
  for (const verdict of verdicts) yield `${JSON.stringify(verdict)}\n`;
}

/** What a spreadsheet would take for a formula is text there. */
function cell(value: string | undefined): string {
  const text = value ?? "";
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
