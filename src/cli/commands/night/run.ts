/**
 * `kmodfarm run`: the night.
 */

import { resolve } from "node:path";
import { counted } from "../../../base/counted.ts";
import { FarmError } from "../../../base/error.ts";
import { oneLine } from "../../../base/visible.ts";
import { type DryRunReport, dryRun } from "../../../farm/night/dry-run.ts";
import type { RunReport, RunRow } from "../../../farm/night/report.ts";
import { runFarm } from "../../../farm/night/run.ts";
import type { RunOptions } from "../../../farm/night/run-options.ts";
import type { Farm } from "../../../farm/open.ts";
import { elementName } from "../../../matrix/element.ts";
import { standingWords } from "../../../registry/standing.ts";
import type { Store } from "../../../registry/stores/store.ts";
import { annotate } from "../../annotations.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import type { LogOptions } from "../../common-options.ts";
import { failureGroups, failureParagraphs, logPlace } from "../../failures.ts";
import { exitOf, faultsOf, faultText } from "../../faults.ts";
import { narrowedBy, withFarm } from "../../options.ts";
import { isFailed, isUntested, type OutcomeWord, outcomeOf } from "../../outcomes.ts";
import { print, printJson, shownVerdict, table } from "../../output.ts";
import { shortest } from "../../run-log.ts";
import { runTables } from "../../run-tables.ts";
import { addSummary, summaryOf } from "../../summary.ts";
import type { RUN } from "./command.ts";

type RunCommandOptions = OptionsOf<typeof RUN>;

export async function run(options: RunCommandOptions): Promise<number> {
  return withFarm(options, async (farm) => {
    requireDrivers(farm, options);
    if (options.dryRun) return showDryRun(farm, options);
    const report = await runWithBoard(farm, options, {});
    if (options.summary !== undefined) await addSummary(options.summary, summaryOf(report));
    return printReport(report, farm, options);
  });
}

/** @returns the exit code that planning alone gives */
async function showDryRun(farm: Farm, options: RunCommandOptions): Promise<number> {
  const [retry, narrowed] = [options.retry ?? false, narrowedBy(options)];
  const report = await withBoard(options, (watched) => dryRun(farm, { ...watched, retry, narrowed }));
  const { planned, expectedSeconds, problems, wanted, generation } = report;
  if (options.json)
    await printJson({ schema: "kmodfarm.dry-run/1", generation, wanted, planned, expectedSeconds, problems });
  else await print(dryRunText(report));
  return exitOf(report, farm.config.allowEmpty);
}

function dryRunText({ planned, wanted, ...report }: DryRunReport): string {
  const rows = planned.map(({ element, step, why }) => [
    step,
    `${element.distribution}/${element.architecture}`,
    element.kversion,
    `${element.driver} ${element.driverversion}`,
    why,
  ]);
  const builds = planned.filter(({ step }) => step === "build").length;
  const done = wanted - planned.length - report.rows.filter(({ isNew }) => isNew).length;
  const what =
    planned.length === 0
      ? "Nothing would be built."
      : `${builds} would be built and load-tested, ${planned.length - builds} load-tested only${timeText(report)}.`;
  const fresh = report.rows.filter(({ isNew }) => isNew);
  const failed = fresh.filter(({ note }) => note.failure !== undefined);
  const made = fresh.length - failed.length;
  const ready =
    made === 0
      ? ""
      : ` ${made} of what is wanted ${made === 1 ? "is" : "are"} in the cache already, built and tested.`;
  const faults = failureGroups(failed).flatMap(([first, ...more]) =>
    first === undefined
      ? []
      : [
          `${elementName(first.element)}${more.length > 0 ? ` and ${more.length} more` : ""}: cannot be planned: ${first.note.failure?.cause ?? ""}\n`,
        ],
  );
  const shown =
    rows.length === 0 ? "" : `${table(["STEP", "KERNEL OF", "RELEASE", "DRIVER", "WHY"], rows)}\n`;
  return `${shown}${faults.join("")}${problemText(report.problems)}${what}${ready} ${done} of ${counted(wanted, "wanted element")} ${done === 1 ? "is" : "are"} up to date. Nothing was written to the store.\n`;
}

function timeText({
  expectedSeconds,
  isMeasured,
  withoutRoot,
}: Pick<DryRunReport, "expectedSeconds" | "isMeasured" | "withoutRoot">): string {
  const toolchains = withoutRoot === 0 ? "" : "; toolchains are made first, which takes minutes";
  if (!isMeasured) return `${toolchains}; how long it all takes is known after a first run`;
  return `, in about ${Math.max(1, Math.round(expectedSeconds / 60))} min${toolchains}`;
}

/** @throws FarmError CONFIG_INVALID where no driver is configured */
export function requireDrivers({ config }: Farm, options: Pick<RunCommandOptions, "config">): void {
  if (config.drivers.length > 0) return;
  throw new FarmError("CONFIG_INVALID", {
    detail:
      options.config === undefined
        ? "this directory has no kmodfarm.yaml that names a driver"
        : "no driver is configured",
    hint: "Run `kmodfarm init` in the driver's directory, which writes a first kmodfarm.yaml; or name another one with --config.",
  });
}

/** Runs the farm with progress on stderr; shared with `build`. */
export function runWithBoard(
  farm: Farm,
  options: Omit<RunCommandOptions, "summary">,
  more: Partial<RunOptions>,
): Promise<RunReport> {
  const retry = options.retry ?? false;
  const narrowed = narrowedBy(options);
  return withBoard(options, (watched) => runFarm(farm, { ...watched, retry, narrowed, ...more }), {
    cache: farm.cache,
    isBad: (report) => exitOf(report, farm.config.allowEmpty) !== 0,
  });
}

/** Prints a run's result and returns its exit code. */
export async function printReport(
  report: RunReport,
  farm: Farm,
  { json, quiet = false }: LogOptions,
): Promise<number> {
  const exit = exitOf(report, farm.config.allowEmpty);
  if (json) await printJson(toJson(report, farm));
  else await print(`${toText(report, farm, quiet)}${faultText(report, exit)}`);
  annotate(report.rows.filter(isFailed), ({ driver }) => treeOf(farm, driver));
  return exit;
}

/** Where a driver's source is, if that is a directory of this machine. */
function treeOf({ config }: Farm, name: string): string | undefined {
  const source = config.drivers.find((driver) => driver.name === name)?.source;
  return typeof source === "string" ? resolve(config.base, source) : undefined;
}

export function toJson(report: RunReport, farm: Farm) {
  const elements = report.rows.map((row) => ({
    ...row.element,
    compilerName: row.note.compiler,
    outcome: outcomeOf(row),
    standing: row.standing,
    isNew: row.isNew,
    isSame: row.isSame,
    attempt: { ...shownNote(row.note), logFile: logPlace(row.note, farm.store) },
    path: row.path === undefined ? undefined : `${farm.store.place}/${row.path}`,
  }));
  return {
    schema: "kmodfarm.run/1" as const,
    generation: report.generation,
    kernels: report.kernels,
    wanted: report.wanted,
    outOfReach: report.outOfReach,
    excluded: report.excluded,
    otherStable: report.otherStable,
    earlierStable: report.earlierStable,
    unfetchable: report.unfetchable,
    problems: report.problems,
    faults: faultsOf(report),
    exitCode: exitOf(report, farm.config.allowEmpty),
    elements,
  };
}

function shownNote({ load, ...note }: RunRow["note"]) {
  return load === undefined ? note : { ...note, load: { ...load, verdict: shownVerdict(load.verdict) } };
}

export function toText(report: RunReport, farm: Farm, isQuiet = false): string {
  const rest =
    report.rows.length > 0 ? runTables(report.rows, shortest(farm.store.place)) : nothingText(report);
  const shown = isQuiet ? "" : rest;
  return `${shown}${failureText(report, farm.store)}${standingText(report)}${summaryText(report)}`;
}

/** Why there is no row. "Nothing to build" is an answer only if everything that decides it could be read. */
function nothingText({ wanted, handedOut, outOfReach, kernels, problems, excluded }: RunReport): string {
  if (wanted > 0 && wanted === outOfReach)
    return `Nothing can be built: the mirrors list the kernels of all ${wanted} wanted elements but do not have their packages (--retry tries again).\n`;
  if (handedOut > 0 && handedOut === wanted)
    return "Nothing of what is wanted is here yet: it is with workers, or to be ordered.\n";
  if (wanted > 0) return `None of the ${wanted} wanted elements was built, for the reasons below.\n`;
  if (problems.length > 0)
    return `Nothing to build among the ${counted(kernels, "known kernel")}, but not every source could be queried: see below.\n`;
  if (excluded.length > 0) return "Nothing to build: everything selected is excluded.\n";
  return `Nothing to build: the selection matches none of the ${counted(kernels, "known kernel")}.\n`;
}

/** What is stable by exception only, and what was withdrawn: once for all that have the same words. */
function standingText({ rows }: RunReport): string {
  const odd = rows.flatMap(({ element, standing }) =>
    standing !== undefined && standing.word !== "candidate" && standing.reasons.length > 0
      ? [
          {
            element,
            words: standingWords(standing),
            isBack: standing.word === "withdrawn",
          },
        ]
      : [],
  );
  return [...Map.groupBy(odd, ({ words }) => words)]
    .map(([words, group]) => {
      const [first] = group;
      const name =
        first === undefined || group.length > 1
          ? counted(group.length, "artifact")
          : elementName(first.element);
      const hint = first?.isBack ? "  To make it stable again, run `kmodfarm promote` with its name.\n" : "";
      return `${name}: ${words}\n${hint}`;
    })
    .join("");
}

function failureText(report: RunReport, store: Store): string {
  const failed = report.rows.filter((row) => outcomeOf(row) === "failed" || outcomeOf(row) === "candidate");
  const untested = failed.filter(isUntested).length;
  return (
    failureParagraphs(
      failed.filter((row) => !isUntested(row)),
      store,
    ) +
    (untested === 0
      ? ""
      : `${untested} built but not load-tested: \`kmodfarm run\` tests and publishes them.\n`)
  );
}

/** What went wrong beside the elements, with what helps. */
export function problemText(problems: RunReport["problems"]): string {
  return problems
    .map(
      ({ source, detail, hint, code }) =>
        `${oneLine(`${source}: ${detail}`)}\n  ${oneLine(hint)} [${code}]\n`,
    )
    .join("");
}

const LEFT_ALONE: ReadonlySet<OutcomeWord> = new Set(["excluded", "unfetchable"]);

export function summaryText(report: RunReport): string {
  const count = (outcome: OutcomeWord) => report.rows.filter((row) => outcomeOf(row) === outcome).length;
  // Of what was left alone, for its own or its mirror's sake, nothing is new.
  const fresh = report.rows.filter((row) => row.isNew && !LEFT_ALONE.has(outcomeOf(row))).length;
  const parts = [
    `${count("stable")} stable`,
    counted(count("candidate"), "candidate"),
    `${count("failed")} failed`,
    ...(count("withdrawn") > 0 ? [`${count("withdrawn")} withdrawn`] : []),
    ...(count("excluded") > 0 ? [`${count("excluded")} excluded`] : []),
    `${fresh} of them new`,
  ];
  const same = report.rows.filter(({ isSame }) => isSame).length;
  const unchanged =
    same > 0
      ? `${counted(same, "element")} came out byte for byte as published, though what they are built from changed: no news for nodes.\n`
      : "";
  const lost =
    report.unfetchable > 0
      ? ` ${report.unfetchable} of them ${report.unfetchable === 1 ? "is listed but not on its mirror" : "are listed but not on their mirror"} (see \`catalog list\`).`
      : "";
  const problems = problemText(report.problems);
  const excluded = report.excluded
    .map(
      ({ reason, count: members, stable }) =>
        `${members} excluded from the selection: ${reason}${stable > 0 ? ` (${stable} of them ${stable === 1 ? "stays" : "stay"} published: \`kmodfarm withdraw\` takes them back)` : ""}\n`,
    )
    .join("");
  // What was not wanted this time was not taken back either.
  const others =
    report.otherStable > 0
      ? ` It also has ${report.otherStable} stable outside this run's selection: \`kmodfarm matrix show\`.`
      : "";
  const earlier =
    report.earlierStable > 0
      ? ` What was published before stays so for ${report.earlierStable} of what is not stable now.`
      : "";
  const narrowed =
    report.ofAll === undefined
      ? ""
      : `${report.wanted} of ${counted(report.ofAll, "configured element")} were asked for.\n`;
  return `${problems}${excluded}${narrowed}${unchanged}Generation ${report.generation}: ${parts.join(", ")}; ${counted(report.kernels, "kernel")} known.${lost}${earlier}${others}\n`;
}
