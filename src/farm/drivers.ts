/**
 * The configured drivers: their sources brought here and read.
 */
import { FarmError, ownError, traceOf } from "../base/error.ts";
import { driverBuild, type LoadedDriver } from "../build/driver.ts";
import type { OriginContext } from "../build/origins/origin.ts";
import type { SourceTree } from "../build/source-tree.ts";
import type { AptSource } from "../catalog/apt.ts";
import { inputArchive } from "../registry/input-archive.ts";
import type { DriverConfig } from "./driver-config.ts";
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
 * Brings the sources of all configured drivers here and reads them, once for versions that share one.
 * @throws FarmError INTERRUPTED; and when no driver at all can be used, what is wrong with the first
 */
export async function loadDrivers(
  farm: Farm,
  say: (text: string) => void = () => {},
  signal: AbortSignal = new AbortController().signal,
): Promise<Drivers> {
  const { config, http, scratch, cache, store } = farm;
  const inputs = openInputs(farm, { sources: [] }, { say });
  const suites = (release: string) => packageSuites(release, farm);
  const archive = config.archive === "none" ? undefined : inputArchive(store);
  const { base } = config;
  const context: OriginContext = { http, scratch, cache, inputs, archive, base, suites, say, signal };
  const read = new Map<string, ReturnType<typeof readSource>>();
  const sourceOf = (driver: DriverConfig, version: string) => {
    const key = JSON.stringify([driver.source, isVersioned(driver.source) ? version : ""]);
    const known = read.get(key) ?? readSource(driver.source, version, context, farm.steps);
    read.set(key, known);
    return known;
  };
  const wanted = config.drivers.flatMap((driver) => driver.versions.map((version) => ({ driver, version })));
  const drivers = await Promise.all(
    wanted.map(async ({ driver, version }): Promise<LoadedDriver | AbsentDriver> => {
      const { name, modules = [] } = driver;
      try {
        const { source, origin, depends } = await sourceOf(driver, version);
        const moduleVersion = driver.moduleVersion?.replaceAll("{version}", version);
        const build = driverBuild(source, driver, depends);
        return {
          ...{ name, version, modules, source, origin, build },
          ...(moduleVersion === undefined ? {} : { moduleVersion }),
          ...(driver.smoke === undefined ? {} : { smoke: fileIn(source, driver.smoke) }),
        };
      } catch (thrown) {
        return { name, version, error: ownError(thrown, signal) };
      }
    }),
  );
  const loaded = drivers.flatMap((driver) => ("source" in driver ? [driver] : []));
  const absent = drivers.flatMap((driver) => ("error" in driver ? [driver] : []));
  for (const { name, version, error } of absent)
    say(`driver ${name} ${version}: ${error.message}\n${traceOf(error)}`.trimEnd());
  // Where nothing can be built, a list of every kernel that it is not built for helps nobody.
  const [first] = absent;
  if (loaded.length === 0 && first !== undefined && absent.every(({ error }) => error.blame === "input"))
    throw first.error;
  return { loaded, absent };
}

function fileIn({ files, directory }: SourceTree, path: string): string {
  if (files.some((file) => file.path === path && file.kind !== "link")) return path;
  throw new FarmError("DRIVER_INVALID", {
    detail: `${directory} has no file ${path}`,
    hint: "Correct `smoke` of the driver; it is a path in its tree.",
  });
}

/** Whether what a place holds depends on the version. */
function isVersioned(source: DriverConfig["source"]): boolean {
  return typeof source === "object" || source.includes("{version}");
}

async function readSource(
  source: DriverConfig["source"],
  version: string,
  context: OriginContext,
  steps: Steps,
) {
  const { directory, origin, depends } = await steps.fetchSource(source, version, context);
  return { source: await steps.readSourceTree(directory), origin, depends };
}

/** Where source packages of a release are looked for: the configured suites of it, else its own. */
function packageSuites(release: string, { sources, host, config, builder }: Farm): AptSource[] {
  const configured = sources.filter((source) => source.kind === "apt" && source.release === release);
  const all =
    configured.length > 0
      ? configured
      : catalogSources({ kind: "apt", releases: [release] }, { host, base: config.base });
  return all.flatMap((source) => (source.kind === "apt" ? [{ ...source, architectures: [builder] }] : []));
}
