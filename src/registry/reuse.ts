/**
 * Modules that serve kernels they were not built for, proven to load there: listed with the kernels that they serve, as
 * long as what they were proven of is stable and nothing was built for those kernels themselves.
 */
import { emptyIndex, type Index, type IndexEntry, indexName, type LoadsOn } from "./documents.ts";
import type { Listed } from "./standing.ts";

/** A kernel of an index, and a driver. */
type Place = Pick<LoadsOn, "kversion" | "packageVersion"> & { readonly driver: string };

/** What an artifact gives to another kernel. */
export function loadsOnOf(
  { index, entry }: Pick<Listed, "index" | "entry">,
  { kversion, packageVersion, flavour }: Pick<LoadsOn, "kversion" | "packageVersion" | "flavour">,
): LoadsOn {
  const { driver, output, recipe, manifest } = entry;
  const artifact = { distribution: index.distribution, driver, output, recipe, manifest };
  return { ...{ kversion, packageVersion, flavour }, artifact };
}

/** Indices with one more; it takes the place of an earlier one for that kernel and driver. */
export function withReuse(
  indices: readonly Index[],
  place: Pick<Index, "distribution" | "architecture">,
  added: LoadsOn,
): Index[] {
  const known = indices.find((index) => indexName(index) === indexName(place)) ?? emptyIndex(place);
  const others = (known.loadsOn ?? []).filter(
    (one) => !isFor(one, { ...added, driver: added.artifact.driver }),
  );
  return replaced(indices, withLoadsOn(known, [...others, added]));
}

/** Indices without what an artifact gives to some kernel. */
export function withoutReuse(
  indices: readonly Index[],
  place: Pick<Index, "distribution" | "architecture">,
  gone: LoadsOn,
): Index[] {
  return indices.map((index) =>
    indexName(index) === indexName(place)
      ? withLoadsOn(
          index,
          (index.loadsOn ?? []).filter(
            (one) => !(isFor(one, { ...gone, driver: gone.artifact.driver }) && isOf(one, gone.artifact)),
          ),
        )
      : index,
  );
}

/** Indices without what no longer holds. */
export function heldReuse(indices: readonly Index[]): Index[] {
  const stable = indices.flatMap((index) =>
    index.stable.map((entry) => ({ ...entry, distribution: index.distribution })),
  );
  return indices.map((index) =>
    index.loadsOn === undefined
      ? index
      : withLoadsOn(
          index,
          index.loadsOn.filter(
            (one) =>
              stable.some((entry) => isOf(one, entry)) && !index.stable.some((entry) => isFor(one, entry)),
          ),
        ),
  );
}

/** Indices with what served other kernels at an earlier time, of one driver or of all. */
export function withReuseOf(indices: readonly Index[], then: readonly Index[], driver?: string): Index[] {
  const isOfDriver = ({ artifact }: LoadsOn) => driver === undefined || artifact.driver === driver;
  return indices.map((index) => {
    const earlier = then.find((one) => indexName(one) === indexName(index))?.loadsOn ?? [];
    const kept = (index.loadsOn ?? []).filter((one) => !isOfDriver(one));
    return withLoadsOn(index, [...kept, ...earlier.filter(isOfDriver)]);
  });
}

/** What serves a kernel that nothing was built for. */
export function servedBy(index: Index | undefined, place: Place): LoadsOn | undefined {
  return index?.loadsOn?.find((one) => isFor(one, place));
}

/** The kernels that an artifact serves beside its own, each with the index that it is listed in. */
export function servedOf(
  indices: readonly Index[],
  { index: own, entry }: Pick<Listed, "index" | "entry">,
): { readonly index: Index; readonly served: LoadsOn }[] {
  const artifact = { ...entry, distribution: own.distribution };
  return indices.flatMap((index) =>
    (index.loadsOn ?? []).filter((one) => isOf(one, artifact)).map((served) => ({ index, served })),
  );
}

function isFor({ kversion, packageVersion, artifact }: LoadsOn, place: Place): boolean {
  return (
    kversion === place.kversion && packageVersion === place.packageVersion && artifact.driver === place.driver
  );
}

function isOf(
  { artifact }: LoadsOn,
  entry: Pick<IndexEntry, "driver" | "output" | "recipe"> & { readonly distribution: string },
): boolean {
  return (
    artifact.distribution === entry.distribution &&
    artifact.driver === entry.driver &&
    artifact.output === entry.output &&
    artifact.recipe === entry.recipe
  );
}

function withLoadsOn({ loadsOn: _, ...index }: Index, loadsOn: readonly LoadsOn[]): Index {
  const key = ({ artifact, kversion, packageVersion }: LoadsOn) =>
    `${artifact.driver}/${kversion}_${packageVersion}`;
  const sorted = loadsOn.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  return sorted.length === 0 ? index : { ...index, loadsOn: sorted };
}

function replaced(indices: readonly Index[], changed: Index): Index[] {
  const others = indices.filter((index) => indexName(index) !== indexName(changed));
  return [...others, changed].toSorted((a, b) => (indexName(a) < indexName(b) ? -1 : 1));
}
