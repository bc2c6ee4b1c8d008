/**
 * `kmodfarm try`: does this driver build and load, here and now?
 */

import { realpath, stat } from "node:fs/promises";
import { relative, resolve } from "node:path";
import { openCache } from "../../../base/cache.ts";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { ERRORS } from "../../../base/error-codes.ts";
import type { Progress, Stage } from "../../../base/progress.ts";
import { guessDriver } from "../../../builder/driver-guess.ts";
import { withVersion } from "../../../builder/origins/index.ts";
import { leftOutBy, NEVER_SOURCE } from "../../../builder/origins/not-source.ts";
import type { Place } from "../../../builder/origins/origin.ts";
import { readSourceTree } from "../../../builder/source-tree.ts";
import type { DriverConfig } from "../../../farm/config/driver.ts";
import {
  type ConfigPlaces,
  configIn,
  type FarmConfig,
  findConfig,
  loadConfig,
  userCache,
} from "../../../farm/config/index.ts";
import type { RunRow } from "../../../farm/night/report.ts";
import { type TryReport, tryDrivers } from "../../../farm/night/try.ts";
import { openFolderStore } from "../../../registry/stores/folder.ts";
import { annotate } from "../../annotations.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { failureParagraphs } from "../../failures.ts";
import { exitOf, faultText } from "../../faults.ts";
import { selectionOf } from "../../options.ts";
import { print, printJson, say, seconds, table } from "../../output.ts";
import { addSummary, trySummaryOf } from "../../summary.ts";
import { problemText } from "../night/run.ts";
import type { TRY } from "./command.ts";

type TryOptions = OptionsOf<typeof TRY>;

const USUAL_KERNELS = 8;

export async function tryDriver(path: string | undefined, options: TryOptions): Promise<number> {
  const directory = resolve(path ?? ".");
  await requireDirectory(directory);
  const config = await configFor(directory, options);
  const most = options.all ? undefined : (options.kernels ?? USUAL_KERNELS);
  const narrowed = selectionOf(options);
  // Its log is the first thing that goes there.
  await openCache(config.cache, [config.file, config.base]);
  const report = await withBoard(
    options,
    ({ progress, ...watched }) =>
      tryDrivers(config, most, {
        ...{ ...watched, progress: withoutPublishing(progress) },
        ...{ narrowed, retry: true, what: "try" },
      }),
    { cache: config.cache, isBad: (tried) => tried.rows.some(isBad) },
  );
  const exit = exitCodeOf(report, config.allowEmpty);
  if (options.json) await printJson(toJson(report));
  else
    await print(
      `${await toText(report)}${exit === ERRORS.CATALOG_SUSPECT.exit ? faultText(report, exit) : ""}`,
    );
  annotate(report.rows.filter(isBad), () => directory);
  if (options.summary !== undefined) {
    const { head, lines } = tableOf(report.rows);
    const failed = report.rows.filter((row) => isBad(row) || isUnknown(row));
    await addSummary(options.summary, trySummaryOf(resultOf(report), head, lines, failed));
  }
  return exit;
}

function exitCodeOf(report: TryReport, allowEmpty: boolean): number {
  if (exitOf(report) === ERRORS.STORE_CORRUPT.exit) return ERRORS.STORE_CORRUPT.exit;
  if (report.rows.some(isBad)) return ERRORS.ELEMENTS_FAILED.exit;
  return exitOf({ ...report, rows: report.rows.filter(isUnknown) }, allowEmpty);
}

/** A word that is mistyped would have another driver tried: the one of the configuration above. @throws FarmError USAGE */
async function requireDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch(() => undefined);
  if (found?.isDirectory()) return;
  throw new FarmError("USAGE", {
    detail: found === undefined ? `there is no directory ${directory}` : `${directory} is no directory`,
    hint: "Name the driver's directory: `kmodfarm try PATH`.",
  });
}

/** A run's progress in the words of a try, from which nothing goes anywhere; whether it was loaded says the table. */
export function withoutPublishing(progress: Progress): Progress {
  const words: Partial<Record<Stage, Stage>> = { published: "built", candidate: "built" };
  return {
    say: (text) => progress.say(text),
    element: (element, stage, detail) => progress.element(element, words[stage] ?? stage, detail),
    task: (name, detail) => progress.task?.(name, detail),
    expect: (outlook) => progress.expect?.(outlook),
  };
}

/**
 * The configuration that was named; else what that of the directory, or above it, says of kernels and of the drivers in there.
 * A driver that it does not know is made one of what its tree says.
 */
async function configFor(
  directory: string,
  { config, cache, jobs, sandbox }: TryOptions,
): Promise<FarmConfig> {
  const file = config ?? (await findConfig(directory));
  const places = { cache: cache ?? userCache(), jobs, sandbox };
  if (file === undefined)
    return configIn(directory, { drivers: [await driverIn(directory)], select: { newest: 1 } }, places);
  const isNamed = config !== undefined;
  const loaded = isNamed
    ? await loadConfig({ config, cache, jobs, sandbox })
    : asOfAStranger(await loadConfig({ config: file, ...places }), { jobs, sandbox });
  say(`configuration: ${loaded.file}`);
  const sources = await Promise.all(
    loaded.drivers.map(async ({ source, versions }) => {
      const places = versions.map((version) => withVersion(source, version));
      const isHere = async (place: Place) => {
        if (typeof place !== "string" || !isAround(resolve(loaded.base, place), directory)) return false;
        return isNamed || isIn(await realpath(loaded.base), await realpath(resolve(loaded.base, place)));
      };
      return places.length > 0 && (await Promise.all(places.map(isHere))).every(Boolean);
    }),
  );
  const drivers = loaded.drivers.filter((_, index) => sources[index]);
  return { ...loaded, drivers: drivers.length > 0 ? drivers : [await driverIn(directory)] };
}

/**
 * Whoever unpacks or clones a tree owns its files, so a configuration that lies there may be that of the tree's author: it
 * has no say in places, limits, programs and credentials of this machine, its drivers are not what lies above it, and no
 * server hears of this machine because it names one.
 * @throws FarmError CONFIG_INVALID where it names servers, or whom to believe
 */
export function asOfAStranger(
  loaded: FarmConfig,
  { jobs, sandbox }: Pick<ConfigPlaces, "jobs" | "sandbox">,
): FarmConfig {
  const usual = configIn(loaded.base, {}, { jobs, sandbox });
  const { limits, feeds, order } = usual;
  const named = loaded.sources.flatMap((source) =>
    Object.entries(source).flatMap(([word, value]) =>
      value === undefined || ANYBODYS_WORDS.has(word) ? [] : [word],
    ),
  );
  if (named.length > 0)
    throw new FarmError("CONFIG_INVALID", {
      detail: `${loaded.file} says where kernels and toolchains come from, or whom to believe (${[...new Set(named)].join(", ")} in \`sources\`), and may be by whoever wrote the driver`,
      hint: `If it is yours, name it: \`kmodfarm try --config ${loaded.file}\`.`,
    });
  return {
    ...{ ...loaded, cacheLimit: undefined, privateHosts: [], policy: undefined },
    ...{ limits, feeds, order, jobs: usual.jobs, sandbox: usual.sandbox },
  };
}

/** What a source may say whoever wrote it: whose kernels, and nothing of servers and keys. */
const ANYBODYS_WORDS: ReadonlySet<string> = new Set([
  ...["kind", "name", "releases", "release", "suites"],
  ...["architecture", "architectures", "every", "redistributable"],
]);

/** Whether one of two directories holds the other. */
function isAround(a: string, b: string): boolean {
  return isIn(a, b) || isIn(b, a);
}

function isIn(outer: string, inner: string): boolean {
  const path = relative(outer, inner);
  return path !== ".." && !path.startsWith("../");
}

/** @throws FarmError DRIVER_INVALID for a tree in which nothing builds a module */
async function driverIn(directory: string): Promise<DriverConfig> {
  const guess = guessDriver(await readSourceTree(directory, leftOutBy(NEVER_SOURCE)));
  if (guess === undefined)
    throw new FarmError("DRIVER_INVALID", {
      detail: `${directory} has no dkms.conf, and no Kbuild or Makefile with obj-m`,
      hint: "Name the driver's directory: `kmodfarm try PATH`.",
    });
  const { name, version, directory: below } = guess;
  return {
    name,
    source: directory,
    versions: [version],
    ...(below === undefined ? {} : { directory: below }),
  };
}

const isUnknown = (row: RunRow) => !isBad(row) && loadOf(row) !== "pass";

/** What is not found out proves nothing against the driver. */
function isBad({ note }: RunRow): boolean {
  const blame = note.failure?.blame;
  if (blame !== undefined) return blame !== "infra" && blame !== "remote";
  return note.load?.verdict.verdict === "fail";
}

function loadOf({ note }: RunRow): string {
  return note.load?.verdict.verdict ?? "-";
}

function toJson({ rows, problems, place, covering, replaced, excluded }: TryReport) {
  return {
    schema: "kmodfarm.try/1" as const,
    covering,
    replaced,
    logs: place,
    excluded,
    problems,
    kernels: rows.map((row) => ({
      driver: row.element.driver,
      distribution: row.element.distribution,
      architecture: row.element.architecture,
      kernel: row.element.kversion,
      flavour: row.element.flavour,
      built: row.note.failure === undefined,
      loaded: loadOf(row),
      failure: row.note.failure,
    })),
  };
}

async function toText(report: TryReport): Promise<string> {
  const { rows, problems, place, excluded } = report;
  const { head, lines } = tableOf(rows);
  const shown = lines.length === 0 ? "" : `${table(head, lines)}\n`;
  const store = await openFolderStore(place);
  const failures = failureParagraphs(
    rows.filter((row) => isBad(row) || isUnknown(row)),
    store,
    { isKept: false },
  );
  await store.close();
  const left = excluded.map(({ reason, count }) => `${count} excluded: ${reason}\n`).join("");
  return `${shown}${failures}${problemText(problems)}${left}${resultOf(report)}${replacedText(report)} Nothing was published.\n`;
}

function tableOf(rows: readonly RunRow[]): { readonly head: string[]; readonly lines: string[][] } {
  const drivers = new Set(rows.map(({ element }) => element.driver));
  const lines = rows.map((row) => {
    const { element, note } = row;
    const built = note.failure === undefined ? `${seconds(note.buildMs)} s` : "failed";
    const loaded = loadOf(row) === "pass" ? `${seconds(note.load?.bootMs)} s` : loadOf(row);
    return [
      ...(drivers.size > 1 ? [element.driver] : []),
      `${element.distribution}/${element.architecture}`,
      element.kversion,
      built,
      note.failure === undefined ? loaded : "-",
    ];
  });
  return {
    head: [...(drivers.size > 1 ? ["DRIVER"] : []), "KERNEL OF", "RELEASE", "BUILT", "LOADED"],
    lines,
  };
}

export function resultOf({
  rows,
  covering,
  ofAll,
  kernels,
  problems,
}: Pick<TryReport, "rows" | "covering" | "ofAll" | "kernels" | "problems">): string {
  if (rows.length === 0)
    return problems.length > 0
      ? "No kernel was tried, because of what is said above."
      : `No kernel was tried: ${nothingOf(ofAll, kernels)}.`;
  const bad = rows.filter(isBad).length;
  const good = rows.filter((row) => !isBad(row) && !isUnknown(row)).length;
  const more = covering > rows.length ? ` ${counted(covering - rows.length, "more kernel")} with --all.` : "";
  const unknown = rows.length - good - bad;
  return `${good} of ${counted(rows.length, "kernel")} built and loaded; ${bad} failed${unknown > 0 ? `, ${unknown} unknown` : ""}.${more}`;
}

function replacedText({ replaced }: TryReport): string {
  if (replaced === 0) return "";
  return ` ${counted(replaced, "kernel")} gave way to ${replaced === 1 ? "another one" : "others"}: the mirror does not have ${replaced === 1 ? "its" : "their"} packages.`;
}

/** What of the selection leaves none. */
function nothingOf(ofAll: number | undefined, kernels: number): string {
  return ofAll === undefined || ofAll === 0
    ? `the configuration selects none of the ${kernels} known kernels`
    : `of the ${counted(ofAll, "kernel")} that the configuration selects, the command line asks for none`;
}
