/**
 * Which builds are wanted: the catalog's kernels that a selection takes, times the drivers' versions.
 */
import { RE2JS } from "re2js";
import { FarmError } from "../base/error.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { compareKernels, vouchedBy } from "../catalog/catalog.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import { compilerOf, factsOf, type KnownFacts, NOTHING_KNOWN } from "../kernel/facts.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";
import { type Element, outputOf, seriesOf, urlsOf } from "./element.ts";

export interface WantedDriver {
  readonly name: string;
  readonly version: string;
  readonly series?: string | undefined;
}

export interface Selection {
  /** Release keys (`debian12`) or os-release ids (`debian`, every release of it); all when absent. */
  readonly distributions?: readonly string[] | undefined;
  readonly architectures?: readonly ArchitectureName[] | undefined;
  readonly flavours?: readonly string[] | undefined;
  /** An expression that must match the whole kernel release; runs on a linear-time engine. */
  readonly kernelRelease?: string | undefined;
  /** Likewise for the package version. */
  readonly packageVersion?: string | undefined;
  /** Only kernels first seen on this day or later (2026-11-01, or a whole time). */
  readonly firstSeen?: string | undefined;
  /**
   * Only the newest so many fetchable kernels of each distribution release, architecture and flavour. Those that no
   * source vouches for count only where there are fewer others: a list could invent newer ones without end.
   */
  readonly newest?: number | undefined;
}

/**
 * Two versions of one series would share their paths.
 * @throws FarmError CONFIG_INVALID naming both; `where` stands before it
 */
export function refuseSharedPlaces(drivers: readonly WantedDriver[], where = ""): void {
  const seen = new Map<string, string>();
  for (const { name, version, series } of drivers) {
    const place = `${name}/${seriesOf(version, series)}`;
    const other = seen.get(place);
    if (other !== undefined) {
      throw new FarmError("CONFIG_INVALID", {
        detail:
          other === version
            ? `${where}version ${version} of ${name} is there twice`
            : `${where}versions ${other} and ${version} of ${name} would both be stored at ${place}`,
      });
    }
    seen.set(place, version);
  }
}

/**
 * Elements in a fixed order: the same input gives the same matrix, byte for byte. `facts` say what sources do not: compilers,
 * and which kernels cannot be fetched.
 */
export function generateMatrix(
  catalog: Catalog,
  drivers: readonly WantedDriver[],
  selections: readonly Selection[],
  facts: KnownFacts = NOTHING_KNOWN,
): Element[] {
  const mirrors = new Map(catalog.sources.map((source) => [source.id, source.url]));
  const kernels = new Set(
    selections.flatMap((selection) => selectKernels(catalog, selection, "wanted", facts)),
  );
  return [...elementsOf([...kernels].toSorted(compareKernels), drivers, mirrors, facts)];
}

/** The elements of kernels, one after the other: for matrices that are written as they come. */
export function* elementsOf(
  kernels: Iterable<CatalogKernel>,
  drivers: readonly WantedDriver[],
  mirrors: ReadonlyMap<string, string>,
  facts: KnownFacts = NOTHING_KNOWN,
): Generator<Element> {
  const placed = drivers.map((driver) => ({ ...driver, series: seriesOf(driver.version, driver.series) }));
  for (const kernel of kernels) {
    const compiler = compilerOf(facts, kernel);
    for (const driver of placed) yield elementOf(kernel, compiler, driver, mirrors);
  }
}

/** The kernels that a selection takes; `all` also takes those that cannot be built, for looking at. */
export function selectKernels(
  { kernels, sources }: Pick<Catalog, "kernels" | "sources">,
  selection: Selection,
  which: "wanted" | "all" = "wanted",
  facts: KnownFacts = NOTHING_KNOWN,
): CatalogKernel[] {
  const releaseFits = expressionFilter(selection.kernelRelease, "kernel release");
  const versionFits = expressionFilter(selection.packageVersion, "package version");
  const fitting = kernels.filter(
    (kernel) =>
      (which === "all" || isBuildable(kernel)) &&
      isOneOf(selection.distributions, kernel.distribution, partsOfRelease(kernel.distribution).id) &&
      isOneOf(selection.architectures, kernel.architecture) &&
      isOneOf(selection.flavours, kernel.flavour) &&
      (selection.firstSeen === undefined || kernel.firstSeen >= selection.firstSeen) &&
      versionFits(kernel.packageVersion) &&
      releaseFits(kernel.kversion),
  );
  const { newest } = selection;
  if (newest === undefined) return fitting;
  const fetchable = fitting.filter(
    (kernel) =>
      factsOf(facts, kernel).fetching?.notFetchableSince === undefined && kernel.withdrawnSince === undefined,
  );
  const groups = Map.groupBy(fetchable, ({ distribution, architecture, flavour }) =>
    [distribution, architecture, flavour].join("/"),
  );
  const isVouched = vouchedBy(sources);
  const rank = (a: CatalogKernel, b: CatalogKernel) =>
    Number(isVouched(a)) - Number(isVouched(b)) || compareKernels(a, b);
  return [...groups.values()].flatMap((group) =>
    group.toSorted(rank).slice(-newest).toSorted(compareKernels),
  );
}

function isBuildable({ distribution, missing, unbuildable }: CatalogKernel): boolean {
  return distribution !== "unknown" && missing === undefined && unbuildable === undefined;
}

function isOneOf(wanted: readonly string[] | undefined, ...names: (string | undefined)[]): boolean {
  return wanted === undefined || names.some((name) => name !== undefined && wanted.includes(name));
}

function expressionFilter(expression: string | undefined, what: string): (text: string) => boolean {
  if (expression === undefined) return () => true;
  try {
    const compiled = RE2JS.compile(expression);
    return (text) => compiled.matches(text);
  } catch (cause) {
    const fact = cause instanceof Error ? cause.message : String(cause);
    throw new FarmError("USAGE", { detail: `${what} expression '${expression}': ${fact}`, cause });
  }
}

function elementOf(
  kernel: CatalogKernel,
  compiler: Compiler | undefined,
  driver: WantedDriver & { readonly series: string },
  mirrors: ReadonlyMap<string, string>,
): Element {
  const { id, version } = partsOfRelease(kernel.distribution);
  return {
    kversion: kernel.kversion,
    distribution: kernel.distribution,
    architecture: kernel.architecture,
    kernelurls: urlsOf(kernel.packages.headers, mirrors),
    output: outputOf(driver.series, kernel),
    driverversion: driver.version,
    driver: driver.name,
    packageVersion: kernel.packageVersion,
    flavour: kernel.flavour,
    distributionId: id,
    distributionVersion: version,
    packages: kernel.packages,
    ...(compiler === undefined ? {} : { compiler }),
  };
}
