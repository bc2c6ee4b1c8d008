/**
 * Drivers that need drivers: which ones, in which version, and their modules for a kernel.
 */

import { defined } from "../base/defined.ts";
import { FarmError } from "../base/error.ts";
import type { LoadedDriver, Need, NeededDriver } from "../builder/driver.ts";
import type { RecipeNeed } from "../builder/records.ts";
import type { Judged } from "../check/policy.ts";
import type { KernelId } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";
import { readBlob } from "../registry/blobs.ts";
import type { AttemptNote, IndexEntry, Manifest } from "../registry/documents.ts";
import type { Listed } from "../registry/standing.ts";
import type { Store } from "../registry/stores/store.ts";
import type { DriverConfig } from "./config/driver.ts";

type Configured = Pick<DriverConfig, "name" | "versions" | "needs">;

/** @throws FarmError CONFIG_INVALID for a need that is no driver here, and for a circle of them */
export function refuseWrongNeeds(drivers: readonly Configured[], place: string): void {
  const names = new Set(drivers.map(({ name }) => name));
  for (const { name, needs = [] } of drivers) {
    const missing = needs.find((one) => !names.has(one));
    if (missing !== undefined)
      throw new FarmError("CONFIG_INVALID", {
        detail: `${place}${name} needs ${missing}, but no driver has that name`,
        hint: "Configure that driver as well, or correct `needs`.",
      });
  }
  const needsOf = (name: string) => drivers.flatMap((one) => (one.name === name ? (one.needs ?? []) : []));
  for (const { name } of drivers) {
    const circle = circleFrom(name, needsOf);
    if (circle !== undefined)
      throw new FarmError("CONFIG_INVALID", {
        detail: `${place}${circle.join(" needs ")}: a circle, so none of them can be built first`,
        hint: "Remove one of them from `needs`.",
      });
  }
}

/** The way from a name back to it, if there is one. */
function circleFrom(name: string, needsOf: (name: string) => readonly string[]): string[] | undefined {
  const reached = new Set<string>();
  const walk = (way: readonly string[]): string[] | undefined => {
    for (const next of needsOf(way.at(-1) as string)) {
      if (next === name) return [...way, next];
      if (reached.has(next)) continue;
      reached.add(next);
      const circle = walk([...way, next]);
      if (circle !== undefined) return circle;
    }
    return undefined;
  };
  return walk([name]);
}

/** A driver version, and the names of what it needs itself: drivers here, whatever a dkms.conf calls them. */
export interface Needing {
  readonly name: string;
  readonly version: string;
  readonly needs: readonly string[];
}

/** A driver as far as others may need it. */
export interface Claiming {
  readonly name: string;
  /** What its dkms.conf calls it. */
  readonly packageName?: string;
}

/**
 * What a driver needs: what its `needs` name, and what its BUILD_DEPENDS name as far as the configuration says which driver
 * that is. What another's dkms.conf calls itself takes no need: everybody may write any name there.
 * @throws FarmError DRIVER_INVALID where only others' dkms.conf say so, and the configuration neither yes nor no
 */
export function resolvedNeeds(
  { name: user, packageName }: Claiming,
  dependencies: readonly string[],
  configured: readonly (Configured & Pick<DriverConfig, "source">)[],
  claiming: readonly Claiming[],
): string[] {
  const { needs } = configured.find(({ name }) => name === user) ?? {};
  const found = new Set(needs);
  for (const wanted of dependencies) {
    const claimants = claiming.filter((one) => one.packageName === wanted).map(({ name }) => name);
    const named = configured.some(({ name }) => name === wanted) ? [wanted] : packagedAs(wanted, configured);
    const [only] = named;
    if (only !== undefined && named.length === 1) found.add(only);
    else if (wanted === packageName) found.add(user);
    else if (needs === undefined && named.length + claimants.length > 0)
      throw ambiguous(user, wanted, [...new Set([...named, ...claimants])]);
    // What is no driver here only the build can judge: it may be of no account to this release's DKMS.
  }
  return [...found];
}

/** Drivers whose source is a distribution's package of that name, as the configuration says. */
function packagedAs(name: string, configured: readonly Pick<DriverConfig, "name" | "source">[]): string[] {
  return configured
    .filter(
      ({ source }) => typeof source === "object" && "package" in source && source.package === `${name}-dkms`,
    )
    .map((one) => one.name);
}

function ambiguous(user: string, wanted: string, others: readonly string[]): FarmError {
  return new FarmError("DRIVER_INVALID", {
    detail: `${user} needs ${wanted}, according to its BUILD_DEPENDS: no driver here has that name, but ${others.join(" or ")} may be meant`,
    hint: `Set \`needs: [NAME]\` for ${user}, with the name of the driver that is meant, or \`needs: []\` if none is.`,
  });
}

/**
 * All that a driver needs, each after those that it needs itself.
 * @throws FarmError DRIVER_INVALID for a circle, and where it cannot be told which version is needed
 */
export function allNeeds(driver: Needing, all: readonly Needing[]): Need[] {
  const found = new Map<string, Need>();
  const walked = new Set<Needing>();
  const walk = (user: Needing, way: readonly string[]): void => {
    for (const name of user.needs) {
      if (way.includes(name))
        throw new FarmError("DRIVER_INVALID", {
          detail: `${[...way.slice(way.indexOf(name)), name].join(" needs ")}: a circle, so none of them can be built first`,
          hint: "Correct `needs` of these drivers, and BUILD_DEPENDS in their dkms.conf.",
        });
      const need = versionFor(user, name, all);
      // Many may need it, and what it needs is known by then.
      if (walked.has(need)) continue;
      walk(need, [...way, name]);
      walked.add(need);
      if (!found.has(name)) found.set(name, { name, version: need.version });
    }
  };
  walk(driver, [driver.name]);
  return [...found.values()];
}

/** Of several versions the one that is called like the user's own. */
function versionFor({ name: user, version }: Needing, name: string, all: readonly Needing[]): Needing {
  const versions = all.filter((one) => one.name === name);
  const [only] = versions;
  const same = versions.find((one) => one.version === version);
  if (same !== undefined) return same;
  if (only !== undefined && versions.length === 1) return only;
  throw new FarmError("DRIVER_INVALID", {
    detail:
      only === undefined
        ? `${user} needs ${name}, but no driver has that name`
        : `${user} ${version} needs ${name}, which has several versions: ${versions.map((one) => one.version).join(", ")}`,
    hint: "Configure the version that is meant as a driver with its own name.",
  });
}

/** What is known of a driver version for a kernel, from this run or from those before. */
export interface Known {
  /** What became of the last try, where one is wanted. */
  readonly note: AttemptNote | undefined;
  /** Its newest artifact: that of today's source. */
  readonly entry: IndexEntry | undefined;
  readonly isStable: boolean;
}

/**
 * The modules of all that a driver needs, for the kernel of an element: the newest, stable or not.
 * @throws FarmError NEED_UNMET, STORE_CORRUPT
 */
export async function neededFor(
  { kversion }: Element,
  { needs = [] }: LoadedDriver,
  drivers: readonly LoadedDriver[],
  store: Store,
  knownOf: (need: Need) => Known,
): Promise<NeededDriver[]> {
  return Promise.all(
    needs.map(async (need): Promise<NeededDriver> => {
      const { note, entry, isStable } = knownOf(need);
      const driver = drivers.find((one) => one.name === need.name && one.version === need.version);
      if (note?.failure !== undefined)
        throw unmet(`it needs ${need.name}, which failed: ${note.failure.cause}`);
      if (entry === undefined || driver === undefined)
        throw unmet(`it needs ${need.name} ${need.version}, which is not built for ${kversion}`);
      return withModules(driver, entry.modules, isStable, store);
    }),
  );
}

/** A driver with some modules of it as nodes insert them. @throws FarmError STORE_CORRUPT */
async function withModules(
  { name, version, source, packageName, isPrivate }: LoadedDriver,
  listed: IndexEntry["modules"],
  isStable: boolean,
  store: Store,
): Promise<NeededDriver> {
  const modules = await Promise.all(
    listed.map(async ({ name: module, digest, stripped = digest }) => ({
      name: module,
      sha256: stripped,
      bytes: await readBlob(store, stripped),
    })),
  );
  return defined({ name, version, source, modules, isStable, packageName, isPrivate });
}

/**
 * The very modules that a recipe names, to build by it again.
 * @throws FarmError STORE_CORRUPT where the store has them no more
 */
export function neededBy(
  needs: readonly RecipeNeed[],
  drivers: readonly LoadedDriver[],
  store: Store,
): Promise<NeededDriver[]> {
  return Promise.all(
    needs.map((need) => {
      const driver = drivers.find((one) => one.name === need.name && one.version === need.version);
      if (driver === undefined)
        throw new FarmError("CONFIG_INVALID", {
          detail: `the configuration has no driver ${need.name} ${need.version}, which the original build needed`,
        });
      const modules = need.modules.map(({ name, sha256 }) => ({ name, digest: sha256, size: 0 }));
      return withModules(driver, modules, true, store);
    }),
  );
}

function unmet(detail: string): FarmError {
  return new FarmError("NEED_UNMET", { detail });
}

/** What an artifact was built against; nothing for one that was only taken over. */
export function needsIn({ recipe }: Manifest): readonly RecipeNeed[] {
  return "driver" in recipe ? (recipe.driver.needs ?? []) : [];
}

/** Drivers of which nodes do not get the very modules that a published artifact needs: so long it cannot be stable. */
export function waitingToday({ index: { stable }, entry }: Listed, needs: readonly RecipeNeed[]): string[] {
  const missing = needs.filter(({ name, version, modules }) => {
    const there = stable.find(
      (one) =>
        one.driver === name &&
        one.driverVersion === version &&
        one.kversion === entry.kversion &&
        one.packageVersion === entry.packageVersion,
    );
    const digests = new Set(there?.modules.map(({ digest, stripped = digest }) => stripped));
    return !modules.every(({ sha256 }) => digests.has(sha256));
  });
  return missing.map(({ name }) => name);
}

/** Drivers that an artifact needs and that nodes do not get: as long as that is so it is a candidate. */
export function waitingFor(needed: readonly NeededDriver[]): string[] {
  return needed.filter(({ isStable }) => !isStable).map(({ name }) => name);
}

/** No node could insert what needs modules that nodes do not get. */
export function withWaiting(judged: Judged, waitsFor: readonly string[]): Judged {
  if (waitsFor.length === 0) return judged;
  const why = waitsFor.map((name) => `it needs ${name}, which is not stable`);
  return { ...judged, isStable: false, refusals: [...judged.refusals, ...why], waitsFor };
}

/** Whether something that an artifact waited for is stable by now, so that it is to be judged again. */
export function hasWaited(
  { refusals = [], waitsFor }: { readonly [Key in "refusals" | "waitsFor"]?: readonly string[] | undefined },
  needed: readonly NeededDriver[],
): boolean {
  // An older version did not note for whom.
  if (waitsFor === undefined) return refusals.length > 0 && needed.length > 0;
  const waiting = waitingFor(needed);
  return waitsFor.some((name) => !waiting.includes(name));
}

/** What a driver version for a kernel is, without its place: another driver's place is not known by that. */
export function identityOf(
  { distribution, architecture, kversion, packageVersion }: KernelId,
  { name, version }: Need,
): string {
  return [name, version, distribution, architecture, kversion, packageVersion].join("/");
}

/** Whose element it is, as others need it. */
export function versionOf({ driver: name, driverversion: version }: Element): Need {
  return { name, version };
}
