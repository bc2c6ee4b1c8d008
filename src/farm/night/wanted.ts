/**
 * What is wanted tonight: what the configuration selects of the catalog for its drivers, and what of that the command line
 * asks for.
 */
import { didYouMean } from "../../base/closest.ts";
import { FarmError } from "../../base/error.ts";
import { type Catalog, type CatalogKernel, upcomingIn } from "../../catalog/catalog.ts";
import type { KnownFacts } from "../../kernel/facts.ts";
import { type Exclusion, makeExcluder } from "../../matrix/exclude.ts";
import { type WantedDriver, type WantedMatrix, wantedMatrix } from "../../matrix/generate.ts";
import { type Selection, type UnknownWord, unknownDistributions, unknownWords } from "../../matrix/select.ts";

/** What the command line leaves of the configured selection. */
export interface Narrowed extends Selection {
  readonly drivers?: readonly string[] | undefined;
}

interface Asked {
  readonly select: readonly Selection[];
  readonly exclude: readonly Exclusion[];
  readonly narrowed?: Narrowed | undefined;
  readonly facts?: KnownFacts;
  /** Of which kernels of the catalog to take; default: all that users have. */
  readonly kernels?: readonly CatalogKernel[] | undefined;
  readonly now: Date;
}

export interface Wanted extends WantedMatrix {
  /** How many elements there were before the command line narrowed them; absent where it did not. */
  readonly ofAll?: number;
}

/** @throws FarmError USAGE for a word of the command line that names nothing */
export function wantedElements(
  whole: Catalog,
  drivers: readonly WantedDriver[],
  { select, exclude, narrowed, facts, kernels, now }: Asked,
): Wanted {
  const catalog = { ...whole, kernels: [...(kernels ?? currentKernels(whole))] };
  const options = {
    ...(facts === undefined ? {} : { facts }),
    ...(exclude.length === 0 ? {} : { reasonAgainst: makeExcluder(exclude, now) }),
  };
  if (narrowed === undefined) return wantedMatrix(catalog, drivers, select, options);
  refuseUnknown(narrowed, whole, drivers);
  const few = drivers.filter(({ name }) => narrowed.drivers?.includes(name) ?? true);
  const { elements } = wantedMatrix(catalog, drivers, select, options);
  return { ...wantedMatrix(catalog, few, select, { ...options, narrowed }), ofAll: elements.length };
}

/** Kernels that users have, or may have: those that are still to come are for `forecast`. */
function currentKernels({ kernels, sources }: Catalog): CatalogKernel[] {
  const isUpcoming = upcomingIn(sources);
  return kernels.filter((kernel) => !isUpcoming(kernel));
}

/** What stands in the configuration's selections and names nothing, each with its setting. */
export function unknownSelections(select: readonly Selection[], catalog: Catalog): string[] {
  return select.flatMap((selection, index) =>
    unknownWords(selection, catalog).map(
      ({ setting, fact }) => `select${select.length > 1 ? `[${index}]` : ""}.${setting}: ${fact}`,
    ),
  );
}

const OPTIONS: Readonly<Record<UnknownWord["setting"], string>> = {
  distributions: "--distro",
  flavours: "--flavour",
  kernels: "--kernel",
};

/** @throws FarmError USAGE for a word that names nothing */
export function refuseUnknown(
  narrowed: Narrowed,
  catalog: Catalog,
  drivers: readonly { readonly name: string }[],
): void {
  refuseUnknownDrivers(narrowed, drivers);
  refuseFirst(unknownWords(narrowed, catalog));
}

/**
 * The same before any mirror was asked, of what is known by then. `releases` are those that sources can have; undefined where
 * a list may bring any. @throws FarmError USAGE
 */
export function refuseUnknownEarly(
  narrowed: Narrowed,
  releases: readonly string[] | undefined,
  drivers: readonly { readonly name: string }[],
): void {
  refuseUnknownDrivers(narrowed, drivers);
  if (releases !== undefined) refuseFirst(unknownDistributions(narrowed.distributions, releases));
}

function refuseUnknownDrivers(
  { drivers: words }: Narrowed,
  drivers: readonly { readonly name: string }[],
): void {
  const names = drivers.map(({ name }) => name);
  const strange = words?.find((name) => !names.includes(name));
  if (strange === undefined) return;
  throw new FarmError("USAGE", {
    detail: `--driver: no driver '${strange}' is configured${didYouMean(strange, names)}`,
  });
}

function refuseFirst([first]: readonly UnknownWord[]): void {
  if (first === undefined) return;
  throw new FarmError("USAGE", {
    detail: `${OPTIONS[first.setting]}: ${first.fact}`,
    hint: "See `kmodfarm catalog list`.",
  });
}
