/**
 * What goes to standard output: documents for programs, tables for people.
 */

import { visible, visibleJson } from "../base/visible.ts";
import { textsOf, type Verdict } from "../check/verdict.ts";
import type { TableFormat } from "./common-options.ts";
import type { DocumentName, HeldToDocument } from "./documents.ts";
import { type Layout, tableText, tsvText } from "./table.ts";
import { isColourful, painted, type Shown, sizeOf, wrapped } from "./terminal.ts";

/** Prints a document of documents.ts, and nothing that its type does not have. */
export function printJson<const T extends { readonly schema: DocumentName }>(
  value: T & HeldToDocument<T>,
): Promise<void> {
  return printDocument(`${JSON.stringify(value, null, 2)}\n`);
}

/** Writes JSON, or a part of it, as `print` does; it stays JSON, whatever names are in it. */
export function printDocument(json: string): Promise<void> {
  return write(visibleJson(json));
}

/** Writes for people. Names of files, lines of logs and words of others are in it, and none of them steers the terminal. */
export function print(text: string): Promise<void> {
  const shown = fitted(visible(text), process.stdout);
  return write(isColourful(process.stdout) ? painted(shown) : shown);
}

/** Writes the text of a file as it is: wrapped, it would be another one. */
export function printFile(text: string): Promise<void> {
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
  process.stderr.write(`${fitted(visible(text), process.stderr)}\n`);
}

/** A command (`::error …`) to a runner of CI that reads standard error, in words that give it no other one. */
export function tellRunner(command: string): void {
  process.stderr.write(`::${visible(command.replace(/^::/, ""))}\n`);
}

/** Sentences as wide as the terminal; as they are where nobody looks. */
function fitted(text: string, stream: Shown): string {
  return stream.isTTY ? wrapped(text, sizeOf(stream).columns) : text;
}

/** A table for people: as wide as the terminal at most. Whole where it is piped. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  layout: Omit<Layout, "width"> = {},
): string {
  return tableText(head, rows, {
    ...layout,
    width: process.stdout.isTTY ? sizeOf(process.stdout).columns : undefined,
  });
}

/** A table, and what is said below it; as TSV the table alone. */
export function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  {
    format,
    below = "",
    ...layout
  }: Omit<Layout, "width"> & { readonly format: TableFormat; readonly below?: string },
): Promise<void> {
  return print(format === "tsv" ? tsvText(head, rows) : `${table(head, rows, layout)}${below}`);
}

export function seconds(ms: number | undefined): string {
  return ms === undefined ? "-" : (ms / 1000).toFixed(1);
}

/** A verdict as `--json` shows it: its reasons are texts, and their codes stand beside them in the same order. */
export function shownVerdict({ reasons, ...rest }: Verdict) {
  return { ...rest, reasons: textsOf({ reasons }), codes: reasons.map(({ code }) => code) };
}
