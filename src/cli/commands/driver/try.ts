/**
 * `kmodfarm try`: does this driver build and load, here and now?
 */
import { homedir } from "node:os";
import { join, relative, resolve } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { guessDriver } from "../../../builder/driver-guess.ts";
import { leftOutBy, NEVER_SOURCE } from "../../../builder/origins/not-source.ts";
import { readSourceTree } from "../../../builder/source-tree.ts";
import type { DriverConfig } from "../../../farm/config/driver.ts";
import { configIn, type FarmConfig, findConfig, loadConfig } from "../../../farm/config/index.ts";
import type { RunRow } from "../../../farm/report.ts";
import { type TryReport, tryDrivers } from "../../../farm/try.ts";
import { openFolderStore } from "../../../registry/stores/folder.ts";
import { withBoard } from "../../board.ts";
import type { OptionsOf } from "../../command.ts";
import { type FailedElement, failureGroups, failureParagraphs } from "../../failures.ts";
import { selectionOf } from "../../options.ts";
import { counted, print, printJson, say, seconds, table } from "../../output.ts";
import { exitOf, problemText } from "../night/run.ts";
import type { TRY } from "./command.ts";

type TryOptions = OptionsOf<typeof TRY>;

const USUAL_KERNELS = 8;

export async function tryDriver(path: string | undefined, options: TryOptions): Promise<number> {
  const directory = resolve(path ?? ".");
  const config = await configFor(directory, options);
  const most = options.all ? undefined : (options.kernels ?? USUAL_KERNELS);
  const narrowed = selectionOf(options);
  const report = await withBoard(options, (watched) =>
    tryDrivers(config, most, { ...watched, narrowed, retry: true, what: "try" }),
  );
  if (options.json) await printJson(toJson(report));
  else await print(await toText(report));
  if (process.env.GITHUB_ACTIONS === "true") await print(annotations(report, directory));
  if (report.rows.some(isBad)) return 1;
  return exitOf({ ...report, rows: report.rows.filter(isUnknown) }, config.allowEmpty);
}

/**
 * The configuration of the directory, or above it, with its drivers that are in there; a driver that it does not know is
 * made one of what its tree says.
 */
async function configFor(
  directory: string,
  { config, cache, jobs, sandbox }: TryOptions,
): Promise<FarmConfig> {
  const file = config ?? (await findConfig(directory));
  if (file === undefined) {
    const places = { cache: cache ?? join(cacheHome(), "kmodfarm"), jobs, sandbox };
    return configIn(directory, { drivers: [await driverIn(directory)], select: { newest: 1 } }, places);
  }
  const loaded = await loadConfig({ config: file, cache, jobs, sandbox });
  say(`configuration: ${loaded.file}`);
  const drivers = loaded.drivers.filter(
    ({ source }) => typeof source === "string" && isAround(resolve(loaded.base, source), directory),
  );
  return { ...loaded, drivers: drivers.length > 0 ? drivers : [await driverIn(directory)] };
}

/** Whether one of two directories holds the other. */
function isAround(a: string, b: string): boolean {
  return [relative(a, b), relative(b, a)].some((path) => path !== ".." && !path.startsWith("../"));
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

function cacheHome(): string {
  const { XDG_CACHE_HOME } = process.env;
  return XDG_CACHE_HOME?.startsWith("/") ? XDG_CACHE_HOME : join(homedir(), ".cache");
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

function toJson({ rows, problems, place, covering, excluded }: TryReport) {
  return {
    schema: "kmodfarm.try/1",
    covering,
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
  const { rows, problems, place, covering, excluded } = report;
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
  const head = [...(drivers.size > 1 ? ["DRIVER"] : []), "KERNEL OF", "RELEASE", "BUILT", "LOADED"];
  const shown = lines.length === 0 ? "" : `${table(head, lines)}\n`;
  const store = await openFolderStore(place);
  const failures = failureParagraphs(
    rows.filter((row) => isBad(row) || isUnknown(row)),
    store,
  );
  await store.close();
  const left = excluded.map(({ reason, count }) => `${count} excluded: ${reason}\n`).join("");
  const bad = rows.filter(isBad).length;
  const good = rows.filter((row) => !isBad(row) && !isUnknown(row)).length;
  const more = covering > rows.length ? ` ${counted(covering - rows.length, "more kernel")} with --all.` : "";
  const unknown = rows.length - good - bad;
  return `${shown}${failures}${problemText(problems)}${left}${good} of ${counted(rows.length, "kernel")}: built and loaded. ${bad} failed${unknown > 0 ? `, ${unknown} unknown` : ""}.${more} Nothing was published.\n`;
}

/** One for each cause, on the line at fault. */
function annotations({ rows }: TryReport, directory: string): string {
  return failureGroups(rows.filter(isBad) as readonly FailedElement[])
    .map((group) => {
      const [{ note }] = group as [FailedElement];
      const cause = note.failure?.cause ?? "the modules do not load";
      const { file, lineNumber } = note.failure ?? {};
      const place = file === undefined ? undefined : relative(process.cwd(), join(directory, file));
      const properties = [
        ...(place === undefined || place.startsWith("..") ? [] : [`file=${property(place)}`]),
        ...(lineNumber === undefined ? [] : [`line=${lineNumber}`]),
        `title=${property(`kmodfarm: ${counted(group.length, "kernel")}`)}`,
      ];
      const kernels = group.map(({ element }) => element.kversion).join(", ");
      return `::error ${properties.join(",")}::${message(`${cause}: ${kernels}`)}\n`;
    })
    .join("");
}

/** A line of a driver's must not become a command of the runner's. */
const message = (text: string) => text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string) => message(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
