/**
 * The configured drivers: their sources brought here and read.
 */
import { Deadline } from "../base/deadline.ts";
import { FarmError, ownError, toFarmError, traceOf } from "../base/error.ts";
import { readFileIn } from "../base/strange-tree.ts";
import { oneLine } from "../base/visible.ts";
import { type DriverBuild, driverBuild, type LoadedDriver } from "../builder/driver.ts";
import { anyOf, leftOutBy, NEVER_SOURCE } from "../builder/origins/not-source.ts";
import type { OriginContext } from "../builder/origins/origin.ts";
import { givenModules, type SourceTree } from "../builder/source-tree.ts";
import type { AptSource } from "../catalog/apt.ts";
import { EMPTY_CATALOG } from "../catalog/catalog.ts";
import { plainValues } from "../formats/dkms-conf.ts";
import { isPathSegment } from "../kernel/path-segment.ts";
import { inputArchive } from "../registry/input-archive.ts";
import type { DriverConfig } from "./config/driver.ts";
import { sshOfUser } from "./config/ssh.ts";
import { allNeeds, type Needing, resolvedNeeds } from "./needs.ts";
import { type Farm, openInputs } from "./open.ts";
import { catalogSources } from "./sources.ts";
import type { Steps } from "./steps.ts";

/** A driver version whose source cannot be had or used this night, for whatever reason: its elements fail for that. */
interface AbsentDriver {
  readonly name: string;
  readonly version: string;
  readonly error: FarmError;
}

export interface Drivers {
  readonly loaded: readonly LoadedDriver[];
  readonly absent: readonly AbsentDriver[];
}

/**
 * Brings the sources of drivers here, by default of all configured ones, and reads them, once for versions that share one.
 * @throws FarmError INTERRUPTED; and when no driver at all can be used, what is wrong with the first
 */
export async function loadDrivers(
  farm: Farm,
  say: (text: string) => void = () => {},
  signal: AbortSignal = new AbortController().signal,
  configured: readonly DriverConfig[] = farm.config.drivers,
  sourceMs = SOURCE_MS,
): Promise<Drivers> {
  const { config, http, scratch, cache, store } = farm;
  const inputs = openInputs(farm, EMPTY_CATALOG, { say });
  const suites = (release: string) => packageSuites(release, farm);
  const archive = config.archive === "none" ? undefined : inputArchive(store);
  const { base, own } = config;
  const ssh = sshOfUser();
  const context: OriginContext = {
    ...{ http, scratch, cache, inputs, archive, base, own, ssh, suites, say, signal },
  };
  const read = new Map<string, ReturnType<typeof readSource>>();
  const sourceOf = (driver: DriverConfig, version: string) => {
    const { source, ignore } = driver;
    const key = JSON.stringify([source, ignore, isVersioned(source) ? version : ""]);
    const known =
      read.get(key) ??
      inTime(driver, sourceMs, signal, (until) =>
        readSource(driver, version, { ...context, signal: until }, farm.steps),
      );
    read.set(key, known);
    return known;
  };
  const wanted = configured.flatMap((driver) => driver.versions.map((version) => ({ driver, version })));
  const drivers = await Promise.all(
    wanted.map(async ({ driver, version }): Promise<LoadedDriver | AbsentDriver> => {
      const { name, modules = [] } = driver;
      try {
        const { source, origin, depends } = await sourceOf(driver, version);
        const moduleVersion = driver.moduleVersion?.replaceAll("{version}", version);
        const build = driverBuild(source, driver, depends);
        return {
          ...{ name, version, modules, source, origin, build, ...packageNameIn(source, build) },
          ...(driver.redistributable === false ? { isPrivate: true } : {}),
          ...(moduleVersion === undefined ? {} : { moduleVersion }),
          ...(driver.smoke === undefined ? {} : { smoke: fileIn(source, driver.smoke) }),
          ...(driver.load === undefined ? {} : { load: driver.load }),
        };
      } catch (thrown) {
        return { name, version, error: ownError(thrown, signal) };
      }
    }),
  );
  const { loaded, absent } = withNeeds(drivers, configured);
  for (const { name, version, error } of absent)
    say(`driver ${name} ${version}: ${error.message}\n${traceOf(error)}`.trimEnd());
  for (const [source, { name, version }] of new Map(loaded.toReversed().map((one) => [one.source, one])))
    for (const fact of oddities(source)) say(`driver ${name} ${version}: ${fact}`);
  // Where nothing can be built, a list of every kernel that it is not built for does not help.
  const [first] = absent;
  if (loaded.length === 0 && first !== undefined && absent.every(({ error }) => error.blame === "input"))
    throw first.error;
  return { loaded, absent };
}

/** All others wait for it before the first kernel is asked for. */
const SOURCE_MS = 30 * 60_000;

/** Within the time that the source of one driver may take, all its submodules together: its author chooses their servers. */
async function inTime<T>(
  { name }: DriverConfig,
  longestMs: number,
  signal: AbortSignal,
  work: (until: AbortSignal) => Promise<T>,
): Promise<T> {
  const tooLong = new FarmError("REMOTE_UNAVAILABLE", {
    detail: `the source of ${name} did not come within ${Math.round(longestMs / 6000) / 10} minutes`,
  });
  const deadline = new Deadline(longestMs, tooLong, signal);
  try {
    return await work(deadline.signal);
  } catch (thrown) {
    throw deadline.isOver && !signal.aborted ? tooLong : thrown;
  } finally {
    deadline.end();
  }
}

/** What a person should know about a tree that was not only written by hand. */
function oddities(source: SourceTree): string[] {
  const [left, given] = [source.leftovers, givenModules(source).map(({ path }) => path)];
  return [
    ...(left.length === 0
      ? []
      : [`left out of its source, because an earlier make produced it: ${few(left)}`]),
    ...(given.length === 0
      ? []
      : [
          `its source contains modules; they are published only if the build writes them again: ${few(given)}`,
        ]),
  ];
}

const SHOWN = 5;

function few(paths: readonly string[]): string {
  const shown = paths.slice(0, SHOWN).map(oneLine);
  return `${shown.join(", ")}${paths.length > SHOWN ? ` and ${paths.length - SHOWN} more` : ""}`;
}

/** Of drivers with their needs: those whose needs make no sense are absent too. */
function withNeeds(
  drivers: readonly (LoadedDriver | AbsentDriver)[],
  configured: readonly DriverConfig[],
): Drivers {
  const loaded = drivers.flatMap((driver) => ("source" in driver ? [driver] : []));
  const absent = drivers.flatMap((driver) => ("error" in driver ? [driver] : []));
  const good: LoadedDriver[] = [];
  const tried = (driver: LoadedDriver, what: () => void) => {
    try {
      what();
    } catch (thrown) {
      absent.push({ name: driver.name, version: driver.version, error: toFarmError(thrown) });
    }
  };
  // One that cannot be had tonight is still needed, and needs what the configuration says.
  const needing = new Map<LoadedDriver | AbsentDriver, Needing>(
    drivers.map((driver) => {
      const needs = configured.find(({ name }) => name === driver.name)?.needs ?? [];
      return [driver, { name: driver.name, version: driver.version, needs }];
    }),
  );
  const usable = new Set<LoadedDriver>();
  for (const driver of loaded)
    tried(driver, () => {
      const { name, version, source, build } = driver;
      const needs = resolvedNeeds(driver, dependenciesIn(source, build), configured, loaded);
      needing.set(driver, { name, version, needs });
      usable.add(driver);
    });
  const all = [...needing.values()];
  for (const driver of usable)
    tried(driver, () => {
      const needs = allNeeds(needing.get(driver) as Needing, all);
      good.push({ ...driver, ...(needs.length === 0 ? {} : { needs }) });
    });
  return { loaded: good, absent };
}

/** Of a dkms.conf no more is read than any has. */
const CONF_LIMIT_BYTES = 256 * 1024;

function valuesIn(
  { directory: tree }: SourceTree,
  { kind, directory }: DriverBuild,
  directive: string,
): string[] {
  if (kind !== "dkms") return [];
  const bytes = readFileIn(
    tree,
    directory === undefined ? "dkms.conf" : `${directory}/dkms.conf`,
    CONF_LIMIT_BYTES,
  );
  return plainValues(bytes?.toString("utf8") ?? "", directive);
}

function packageNameIn(source: SourceTree, build: DriverBuild): Pick<LoadedDriver, "packageName"> {
  const [packageName] = valuesIn(source, build, "PACKAGE_NAME");
  return packageName !== undefined && isPathSegment(packageName) ? { packageName } : {};
}

const dependenciesIn = (source: SourceTree, build: DriverBuild) => valuesIn(source, build, "BUILD_DEPENDS");

function fileIn({ files, directory }: SourceTree, path: string): string {
  if (files.some((file) => file.path === path && file.kind !== "link")) return path;
  throw new FarmError("DRIVER_INVALID", {
    detail: `${directory} has no file ${path}`,
    hint: "Correct the driver's `smoke`; it is a path in its tree.",
  });
}

/** Whether what a place holds depends on the version. */
function isVersioned(source: DriverConfig["source"]): boolean {
  return typeof source === "object" || source.includes("{version}");
}

async function readSource(
  { source: place, ignore = [] }: DriverConfig,
  version: string,
  context: OriginContext,
  steps: Steps,
) {
  const { directory, origin, depends, isWorkedOn, isLeftOut } = await steps.fetchSource(
    place,
    version,
    context,
  );
  const byPattern = leftOutBy([...(isWorkedOn ? NEVER_SOURCE : []), ...ignore]);
  const rules = isLeftOut === undefined ? byPattern : anyOf(byPattern, isLeftOut);
  return { source: await steps.readSourceTree(directory, rules), origin, depends };
}

/** Where source packages of a release are looked for: the configured suites of it, else its own. */
function packageSuites(release: string, { sources, host, builder }: Farm): AptSource[] {
  const configured = sources.filter((source) => source.kind === "apt" && source.release === release);
  const all = configured.length > 0 ? configured : catalogSources({ kind: "apt", releases: [release] }, host);
  return all.flatMap((source) => (source.kind === "apt" ? [{ ...source, architectures: [builder] }] : []));
}
