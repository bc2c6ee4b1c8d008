/**
 * `kmodfarm forecast`: what kernels that no user has yet will be to the drivers.
 */
import { counted } from "../../../base/counted.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import {
  type ForecastKernel,
  type ForecastReport,
  forecast,
  type Outlook,
} from "../../../farm/gap/forecast.ts";
import { thisPerson } from "../../../farm/gate/moves.ts";
import type { Farm } from "../../../farm/open.ts";
import type { Arrival, Passage } from "../../../gap/arrivals.ts";
import type { Readiness } from "../../../gap/upcoming.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { exitOf } from "../../faults.ts";
import { narrowedBy, withFarm } from "../../options.ts";
import { print, printJson, table } from "../../output.ts";
import { problemText, requireDrivers } from "../night/run.ts";
import type { FORECAST } from "./command.ts";

type ForecastCommandOptions = OptionsOf<typeof FORECAST>;

export async function forecastKernels(options: ForecastCommandOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    requireDrivers(farm, options);
    const report = await forecastWithBoard(farm, options);
    const exitCode = exitCodeOf(report);
    if (options.json) await printJson(documentOf(report, exitCode));
    else await print(textOf(report));
    return exitCode;
  });
}

function forecastWithBoard(farm: Farm, options: ForecastCommandOptions): Promise<ForecastReport> {
  const { retry = false, superseded: takesSuperseded = false } = options;
  const asked = { retry, takesSuperseded, narrowed: narrowedBy(options), by: thisPerson() };
  return withBoard(options, (watched) => forecast(farm, { ...watched, ...asked }), {
    cache: farm.cache,
    isBad: (report) => exitCodeOf(report) !== 0,
  });
}

/** That nothing is coming is in order. */
function exitCodeOf({ run, problems, kernels }: ForecastReport): number {
  const exit = exitOf(run, true);
  if (exit !== 0) return exit;
  const isOpen = kernels.some(({ drivers }) => drivers.some(({ result }) => result === "unknown"));
  return problems.length > 0 || isOpen ? ERRORS.CATALOG_SUSPECT.exit : 0;
}

function documentOf({ run, problems, ...report }: ForecastReport, exitCode: number) {
  return {
    schema: "kmodfarm.forecast/1" as const,
    generation: run.generation,
    ...report,
    problems: [...run.problems, ...problems],
    exitCode,
  };
}

function textOf({ run, today, kernels, passages, readiness, problems }: ForecastReport): string {
  const coming = kernels.filter(({ supersededBy }) => supersededBy === undefined).length;
  const head =
    kernels.length === 0
      ? "No kernel is ahead of those that users have.\n"
      : `${today}: ${counted(coming, "kernel")} will come to users${kernels.length > coming ? `, ${kernels.length - coming} more that newer ones supersede` : ""}.\n\n${table(["KERNEL", "SUITES", "AHEAD OF", "DRIVER", "RESULT"], kernels.flatMap(rowsOf))}`;
  const breaks = kernels.flatMap(({ kernel, drivers }) =>
    drivers.filter(({ result }) => result === "breaks").map((outlook) => breakText(kernel, outlook)),
  );
  return [
    head,
    ...breaks.map((text) => `\n${text}`),
    arrivalsText(kernels),
    passagesText(passages),
    `\n${readinessText(readiness)}`,
    problemText([...run.problems, ...problems]),
  ].join("");
}

function rowsOf({ kernel, suites, aheadOf, supersededBy, drivers }: ForecastKernel): string[][] {
  const place = [kernel, suites.join(", "), aheadOf.map(releaseIn).join(", ") || "-"];
  if (drivers.length === 0)
    return [
      [...place, "-", supersededBy === undefined ? "not tried" : `superseded by ${leafOf(supersededBy)}`],
    ];
  return drivers.map((one) => [...place, `${one.driver} ${one.driverversion}`, resultText(one)]);
}

/** `debian13 6.12.117+deb13-amd64` of `debian13/x86_64/6.12.117+deb13-amd64_6.12.117-1`. */
function releaseIn(kernel: string): string {
  return `${kernel.split("/")[0]} ${leafOf(kernel)}`;
}

function leafOf(kernel: string): string {
  return (kernel.split("/")[2] ?? kernel).replace(/_.*$/s, "");
}

function resultText({ result, api, why }: Outlook): string {
  if (result === "breaks" && api.length > 0) return `breaks: ${api.join(", ")}`;
  return result === "loads" || why === undefined ? result : `${result}: ${why}`;
}

function breakText(kernel: string, { driver, driverversion, why, failure, symbols, api }: Outlook): string {
  const { file, lineNumber, line, code, advice } = failure ?? {};
  const at = file === undefined ? "" : `${file}${lineNumber === undefined ? "" : `:${lineNumber}`}`;
  const place = at === "" || line?.startsWith(at) ? "" : `${at}: `;
  const lines = [
    `${driver} ${driverversion} breaks with ${kernel}${api.length === 0 ? "" : ` by ${api.join(", ")}`}`,
    `  ${why ?? ""}${code === undefined ? "" : ` [${code}]`}`,
    ...(line === undefined || line === "" ? [] : [`  ${place}${line}`]),
    ...(advice === undefined ? [] : [`  ${advice}`]),
    `  ${symbolsText(symbols)}`,
  ];
  return `${lines.join("\n")}\n`;
}

const KINDS = {
  missing: "gone",
  gplOnly: "for GPL modules only by now",
  namespace: "in a namespace that it does not import",
  version: "with another CRC",
  noVersion: "without a CRC",
} as const;

function symbolsText(symbols: Outlook["symbols"]): string {
  if (symbols === undefined)
    return "no modules of it are proven for a kernel that users have, so nothing can be compared";
  const { comparedWith, imports, hasVersions, changed } = symbols;
  const parts = [...Map.groupBy(changed, ({ kind }) => kind)].map(([kind, faults]) => {
    const names = [...new Set(faults.map(({ symbol }) => symbol))];
    return `${KINDS[kind]}: ${kind === "version" ? names.length : names.join(", ")}`;
  });
  const crcs = hasVersions
    ? ""
    : "; CRCs cannot be compared, because only kernels with CONFIG_MODVERSIONS have some";
  return `of ${imports} symbols that its modules for ${leafOf(comparedWith)} import, ${parts.join("; ") || "none changed"}${crcs}`;
}

/** What arrives together is one block; its places in the order of its way. */
function arrivalsText(kernels: readonly ForecastKernel[]): string {
  const known = kernels.filter(({ version }) => version !== undefined);
  const rows = [...Map.groupBy(known, ({ arrivals }) => JSON.stringify(arrivals)).values()].flatMap(
    (ones) => {
      const versions = [...new Set(ones.map(({ version = "" }) => version))];
      const release = versions.length > 1 ? `${versions[0]} to ${versions.at(-1)}` : (versions[0] ?? "");
      return (ones[0]?.arrivals ?? [])
        .toSorted((a, b) => (placeOnTheWay(a) < placeOnTheWay(b) ? -1 : 1))
        .map((arrival) => [release, arrival.place, ...arrivalCells(arrival)]);
    },
  );
  return rows.length === 0 ? "" : `\n${table(["RELEASE", "PLACE", "ARRIVES", "WARNING"], rows)}`;
}

function placeOnTheWay(arrival: Arrival): string {
  if (arrival.kind === "there") return `0 ${arrival.since ?? "9"}`;
  return arrival.kind === "expected" ? `1 ${arrival.day}` : "2";
}

function arrivalCells(arrival: Arrival): string[] {
  switch (arrival.kind) {
    case "there":
      return arrival.since === undefined
        ? ["is there", "-"]
        : [`is there since ${arrival.since}`, arrival.warning === 0 ? "-" : `${arrival.warning} d`];
    case "expected": {
      const { day, earliest, latest, from, count, warning } = arrival;
      const range = `${earliest} to ${latest}, by ${count} series from ${from}`;
      return [`about ${day} (${range})`, warning >= 0 ? `${warning} d` : `due for ${-warning} d`];
    }
    case "staysWith":
      return [`stays with ${arrival.series}`, "-"];
    case "unknown":
      return ["unknown: no series went there before", "-"];
  }
}

function passagesText(passages: readonly Passage[]): string {
  if (passages.length === 0) return "";
  const rows = passages.map(({ from, to, count, median, p10, p90 }) => [
    ...[`${from} to ${to}`, String(count), `${round(median)} d`, `${round(p10)} d`, `${round(p90)} d`],
  ]);
  return `\n${table(["SERIES SO FAR", "COUNT", "MEDIAN", "P10", "P90"], rows)}`;
}

function readinessText({ kernels, proven, lead, unseen }: Readiness): string {
  const before =
    unseen === 0
      ? ""
      : ` ${counted(unseen, "kernel")} came before this farm watched, and ${unseen === 1 ? "is" : "are"} left out.`;
  if (kernels === 0) return `Readiness: no kernel came to users while this farm watched.${before}\n`;
  const share = `${proven} of ${kernels} (${Math.round((100 * proven) / kernels)} %)`;
  const days = lead.median === undefined ? "" : `, in the median ${round(lead.median)} d before`;
  return `Readiness: ${share} had loaded modules before users had the kernel${days}.${before}\n`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
