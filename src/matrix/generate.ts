/**
 * Which builds are wanted: the catalog's kernels that a selection takes, times the drivers' versions.
 */
import { FarmError } from "../base/error.ts";
import type { Catalog, CatalogKernel } from "../catalog/catalog.ts";
import { compareKernels } from "../catalog/catalog.ts";
import { compilerOf, type KnownFacts, NOTHING_KNOWN } from "../kernel/facts.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";
import { type Element, outputOf, seriesOf, urlsOf } from "./element.ts";
import { fits, newestOf, type Selection } from "./select.ts";

export interface WantedDriver {
  readonly name: string;
  readonly version: string;
  readonly series?: string | undefined;
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
        ...(other === version
          ? {}
          : {
              hint: "Versions of one series replace each other. Name only the newest, or list the other as a driver with a `series` of its own.",
            }),
      });
    }
    seen.set(place, version);
  }
}

export interface MatrixOptions {
  /** What sources do not say: compilers, and which kernels cannot be fetched. Default: nothing. */
  readonly facts?: KnownFacts;
  /** Takes a part of what the selections take. */
  readonly narrowed?: Selection | undefined;
  /** Why an element is excluded; one that is leaves room for the next newest. */
  readonly reasonAgainst?: ((element: Element) => string | undefined) | undefined;
}

export interface WantedMatrix {
  /** In a fixed order: the same input gives the same matrix, byte for byte. */
  readonly elements: readonly Element[];
  readonly excluded: readonly { readonly element: Element; readonly reason: string }[];
  /** Whether no kernel at all is what is asked for, whether it can be fetched or not. */
  readonly isEmpty: boolean;
}

/** What any of the selections takes, for every driver version. */
export function wantedMatrix(
  catalog: Catalog,
  drivers: readonly WantedDriver[],
  selections: readonly Selection[],
  { facts = NOTHING_KNOWN, narrowed, reasonAgainst }: MatrixOptions = {},
): WantedMatrix {
  const mirrors = mirrorsOf(catalog);
  const pools = selections.map(({ newest, ...rest }) => ({
    newest,
    kernels: catalog.kernels.filter(fits(rest)),
  }));
  const isNarrow = narrowed === undefined ? () => true : fits(narrowed);
  const excluded: { element: Element; reason: string }[] = [];
  const chosen = placed(drivers).map((driver) => {
    const reasons = new Map<CatalogKernel, string | undefined>();
    const isAllowed = (kernel: CatalogKernel) => {
      if (reasonAgainst === undefined) return true;
      if (!reasons.has(kernel))
        reasons.set(kernel, reasonAgainst(elementOf(kernel, compilerOf(facts, kernel), driver, mirrors)));
      return reasons.get(kernel) === undefined;
    };
    const taken = pools.flatMap(({ newest, kernels }) =>
      newest === undefined ? kernels.filter(isAllowed) : newestOf(kernels, newest, catalog, facts, isAllowed),
    );
    const left = [...new Set(taken)].filter(isNarrow);
    for (const [kernel, reason] of reasons)
      if (reason !== undefined && isNarrow(kernel))
        excluded.push({ element: elementOf(kernel, compilerOf(facts, kernel), driver, mirrors), reason });
    const { newest } = narrowed ?? {};
    return { driver, kernels: new Set(newest === undefined ? left : newestOf(left, newest, catalog, facts)) };
  });
  const kernels = new Set(chosen.flatMap((one) => [...one.kernels]));
  const elements = [...kernels]
    .toSorted(compareKernels)
    .flatMap((kernel) =>
      chosen
        .filter((one) => one.kernels.has(kernel))
        .map(({ driver }) => elementOf(kernel, compilerOf(facts, kernel), driver, mirrors)),
    );
  return { elements, excluded, isEmpty: !pools.some((pool) => pool.kernels.some(isNarrow)) };
}

/** All that selections take, with nothing excluded. */
export function generateMatrix(
  catalog: Catalog,
  drivers: readonly WantedDriver[],
  selections: readonly Selection[],
  facts: KnownFacts = NOTHING_KNOWN,
): readonly Element[] {
  return wantedMatrix(catalog, drivers, selections, { facts }).elements;
}

const mirrorsOf = ({ sources }: Pick<Catalog, "sources">) => new Map(sources.map(({ id, url }) => [id, url]));

function placed(drivers: readonly WantedDriver[]): readonly (WantedDriver & { readonly series: string })[] {
  return drivers.map((driver) => ({ ...driver, series: seriesOf(driver.version, driver.series) }));
}

/** The elements of kernels, one after the other: for matrices that are written as they come. */
export function* elementsOf(
  kernels: Iterable<CatalogKernel>,
  drivers: readonly WantedDriver[],
  mirrors: ReadonlyMap<string, string>,
  facts: KnownFacts = NOTHING_KNOWN,
): Generator<Element> {
  const all = placed(drivers);
  for (const kernel of kernels) {
    const compiler = compilerOf(facts, kernel);
    for (const driver of all) yield elementOf(kernel, compiler, driver, mirrors);
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
