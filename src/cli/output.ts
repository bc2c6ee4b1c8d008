/**
 * What goes to standard output: documents for programs, tables for people.
 */

import { oneLine, visible, visibleJson } from "../base/visible.ts";
import { textsOf, type Verdict } from "../check/verdict.ts";

export function printJson(value: unknown): Promise<void> {
  return printDocument(`${JSON.stringify(value, null, 2)}\n`);
}

/** Writes JSON, or a part of it, as `print` does; it stays JSON, whatever names are in it. */
export function printDocument(json: string): Promise<void> {
  return write(visibleJson(json));
}

/** Writes for people. Names of files, lines of logs and words of others are in it, and none of them steers the terminal. */
export function print(text: string): Promise<void> {
  return write(visible(text));
}

/** Waits until it is taken: the process may end right after. */
function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (fault) => (fault ? reject(fault) : resolve()));
  });
}

/** One line, or several, beside the result: on standard error, as harmless as what `print` writes. */
export function say(text: string): void {
  process.stderr.write(`${visible(text)}\n`);
}

/** Columns as wide as their widest cell; the last one is left as it is. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map(oneLine));
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join("  ");
  return `${all.map((row) => line(row).trimEnd()).join("\n")}\n`;
}

/** `1 file`, `3 files` */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

export function seconds(ms: number | undefined): string {
  return ms === undefined ? "-" : (ms / 1000).toFixed(1);
}

/** A verdict as `--json` shows it: its reasons are texts, and their codes stand beside them in the same order. */
export function shownVerdict({ reasons, ...rest }: Verdict) {
  return { ...rest, reasons: textsOf({ reasons }), codes: reasons.map(({ code }) => code) };
}
