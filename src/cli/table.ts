/**
 * Tables: as wide as they are, or as the terminal is; and the same as TSV for programs.
 */
import { largest } from "../base/extremes.ts";
import { oneLine } from "../base/visible.ts";
import { cut } from "./terminal.ts";

export interface Layout {
  /** How wide the table may be; default: as wide as it is. */
  readonly width?: number | undefined;
  /** Columns that are left out where there is no room for them, the first of them first. */
  readonly spare?: readonly string[];
  /** Columns whose cells say most at their end, such as paths: their beginning is cut. */
  readonly paths?: readonly string[];
}

const GAP = "  ";
/** A column that is cut keeps so much. */
const LEAST = 6;
/** And one of paths so much, before others are cut. */
const LEAST_PATH = 20;

/** Columns as wide as their widest cell; the last one is left as it is. */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { width = Number.POSITIVE_INFINITY, spare = [], paths = [] }: Layout = {},
): string {
  const all = [head, ...rows].map((row) => row.map(oneLine));
  const widths = head.map((_, column) =>
    all.reduce((most, row) => Math.max(most, Array.from(row[column] ?? "").length), 0),
  );
  const widthOf = (column: number) => widths[column] ?? 0;
  const isPath = (column: number) => paths.includes(head[column] ?? "");
  let columns = head.map((_, column) => column);
  const least = (column: number) =>
    isPath(column) ? Math.min(widthOf(column), LEAST_PATH) : widthOf(column);
  const needed = () =>
    columns.reduce((sum, column) => sum + least(column), (columns.length - 1) * GAP.length);
  for (const name of spare) if (needed() > width) columns = columns.filter((column) => head[column] !== name);
  const room = width - (columns.length - 1) * GAP.length;
  const limits = limitsOf(
    columns.map((column) => ({ width: widthOf(column), isPath: isPath(column) })),
    room,
  );
  const cell = (row: readonly string[], column: number, length: number) => {
    const text = row[column] ?? "";
    const shown = isPath(column) && row !== all[0] ? cutStart(text, length) : cut(text, length);
    return column === columns.at(-1) ? shown : shown.padEnd(length);
  };
  const line = (row: readonly string[]) =>
    columns.map((column, at) => cell(row, column, limits[at] ?? 0)).join(GAP);
  return `${all.map((row) => line(row).trimEnd()).join("\n")}\n`;
}

/** How wide each column may be so that all have room: paths are cut first, then the widest of all. */
function limitsOf(
  columns: readonly { readonly width: number; readonly isPath: boolean }[],
  room: number,
): number[] {
  const widest = largest(
    columns.map(({ width }) => width),
    LEAST,
  );
  let [path, other] = [widest, widest];
  const limits = () => columns.map(({ width, isPath }) => Math.min(width, isPath ? path : other));
  const isTooWide = () => limits().reduce((sum, width) => sum + width, 0) > room;
  while (path > LEAST_PATH && isTooWide()) path--;
  while (other > LEAST && isTooWide()) other--;
  while (path > LEAST && isTooWide()) path--;
  return limits();
}

function cutStart(text: string, width: number): string {
  const characters = Array.from(text);
  return characters.length <= width ? text : `…${characters.slice(characters.length - width + 1).join("")}`;
}

/** Every row a line, its cells between tabs; what would end a cell or a line is spelled out. */
export function tsvText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, ...rows].map((row) => `${row.map(oneLine).join("\t")}\n`).join("");
}
