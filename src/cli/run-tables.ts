/**
 * What a run made, for people: every element while they are few, and else a line for each release, with those named that
 * are news.
 */
import type { RunRow } from "../farm/night/report.ts";
import { isUntested, outcomeOf } from "./outcomes.ts";
import { seconds, table } from "./output.ts";

/** More than that nobody reads. */
const MOST_ROWS = 30;

export function runTables(rows: readonly RunRow[], place: string): string {
  const drivers = new Map(rows.map(({ element }) => [`${element.driver} ${element.driverversion}`, element]));
  const series = [...drivers.values()].flatMap(({ driver, driverversion, output }) => {
    const [name = ""] = output.split("/");
    return name === driverversion
      ? []
      : [
          `${driver} ${driverversion} is kept as ${driver}/${name}: paths name the series, so that a patch release does not move them.\n`,
        ];
  });
  if (rows.length <= MOST_ROWS) return `${elementTable(rows, place, drivers.size > 1)}${series.join("")}\n`;
  const news = rows.filter((row) => row.isNew || outcomeOf(row) !== "stable");
  const named = news.slice(0, MOST_ROWS);
  const more =
    news.length > named.length ? `And ${news.length - named.length} more: \`kmodfarm matrix show\`.\n` : "";
  const exceptions = named.length === 0 ? "" : `\n${elementTable(named, place, drivers.size > 1)}${more}`;
  return `${releaseTable(rows)}${exceptions}${series.join("")}\n`;
}

function elementTable(rows: readonly RunRow[], place: string, hasDriver: boolean): string {
  const cells = rows.map((row) => [
    ...(hasDriver ? [`${row.element.driver} ${row.element.driverversion}`] : []),
    releaseOf(row),
    row.element.kversion,
    row.note.compiler,
    seconds(row.note.buildMs),
    loadWord(row),
    // Why something is not there, and its log, is said below.
    row.path === undefined
      ? row.standing?.word === "withdrawn"
        ? "withdrawn"
        : "-"
      : `${place}/${row.path}`,
  ]);
  const head = ["KERNEL OF", "RELEASE", "COMPILER", "BUILD S", "LOAD", "MODULES"];
  const layout = { spare: ["COMPILER", "BUILD S", "MODULES"], paths: ["MODULES"] };
  return table(hasDriver ? ["DRIVER", ...head] : head, cells, layout);
}

function releaseTable(rows: readonly RunRow[]): string {
  const groups = Map.groupBy(
    rows,
    (row) => `${row.element.driver} ${row.element.driverversion}\0${releaseOf(row)}`,
  );
  const cells = [...groups].map(([name, group]) => {
    const [driver = "", release = ""] = name.split("\0");
    const outcomes = Map.groupBy(group, outcomeOf);
    const others = [...outcomes].flatMap(([word, { length }]) =>
      word === "stable" ? [] : [`${length} ${word}`],
    );
    const fresh = group.filter(({ isNew }) => isNew).length;
    const stable = outcomes.get("stable")?.length ?? 0;
    return [driver, release, `${group.length}`, `${stable}`, `${fresh}`, others.join(", ") || "-"];
  });
  return table(["DRIVER", "KERNELS OF", "ELEMENTS", "STABLE", "NEW", "OTHERWISE"], cells, { spare: ["NEW"] });
}

function releaseOf({ element }: RunRow): string {
  return `${element.distribution}/${element.architecture}`;
}

function loadWord(row: RunRow): string {
  const { note, standing } = row;
  if (standing?.word === "stable" && note.load?.verdict.verdict === "fail") return "waived";
  if (isUntested(row)) return "untested";
  if (note.load !== undefined)
    return note.load.verdict.verdict === "pass"
      ? `pass ${seconds(note.load.bootMs)} s`
      : note.load.verdict.verdict;
  if (row.state.word === "excluded") return "excluded";
  return row.state.word === "unfetchable" ? "not there" : "failed";
}
