/**
 * From the words of a command line to values.
 */
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { removeUnused } from "../base/cache.ts";
import { FarmError } from "../base/error.ts";
import { type ConfigPlaces, type FarmConfig, loadConfig } from "../farm/config/index.ts";
import type { Narrowed } from "../farm/night/wanted.ts";
import type { Farm } from "../farm/open.ts";
import { ARCHITECTURES, ArchitectureName } from "../kernel/architecture.ts";
import type { Selection } from "../matrix/select.ts";
import { hasFiles, openStore, type StorePlace } from "../registry/stores/index.ts";
import type { Store } from "../registry/stores/store.ts";
import type { NarrowingOptions, SelectionOptions } from "./common-options.ts";
import { say } from "./output.ts";

export function toList(value: string | undefined): string[] | undefined {
  const words = value
    ?.split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
  return words === undefined || words.length === 0 ? undefined : words;
}

/** As `uname -m` calls it, or Debian and containers. @throws FarmError USAGE */
export function toArchitecture(word: string): ArchitectureName {
  const known = ARCHITECTURES.find(({ name, debian }) => word === name || word === debian);
  if (known !== undefined) return known.name;
  throw new FarmError("USAGE", {
    detail: `'${word}' is not a known architecture; choose from ${ArchitectureName.options.join(", ")}`,
  });
}

/** The selection that flags make, or undefined when there is none. */
export function selectionOf(options: SelectionOptions): Selection | undefined {
  const { kernelRelease, newest, packageVersion, firstSeen } = options;
  if (firstSeen !== undefined && !isDay(firstSeen)) {
    throw new FarmError("USAGE", { detail: `'${firstSeen}' is not a day; write it as 2026-11-01` });
  }
  const [distributions, flavours, kernels, words] = [
    toList(options.distro),
    toList(options.flavour),
    toList(options.kernel),
    toList(options.arch),
  ];
  const architectures = words?.map(toArchitecture);
  const selection = {
    distributions,
    flavours,
    kernels,
    architectures,
    kernelRelease,
    packageVersion,
    firstSeen,
    newest,
  };
  return Object.values(selection).some((filter) => filter !== undefined) ? selection : undefined;
}

/** What flags take of the configured selection, or undefined when there is none. */
export function narrowedBy(options: NarrowingOptions): Narrowed | undefined {
  const selection = selectionOf(options);
  const drivers = toList(options.driver);
  return selection === undefined && drivers === undefined ? undefined : { ...selection, drivers };
}

function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d(T[\d:.]+Z)?$/.test(text) && !Number.isNaN(Date.parse(text));
}

/** Opens the farm that the options name, passes it to `work`, and closes it whatever happens. */
export async function withFarm<T>(options: ConfigPlaces, work: (farm: Farm) => Promise<T>): Promise<T> {
  const config = await loadConfig(options);
  // Found above: which one it is may be a surprise.
  if (options.config === undefined && dirname(config.file) !== process.cwd())
    say(`configuration: ${config.file}`);
  const { openFarm } = await import("../farm/open.ts");
  const farm = await openFarm(config);
  try {
    return await work(farm);
  } finally {
    await farm.close();
  }
}

/**
 * The same for commands that only read a store: a missing store is not an empty one, and nothing is created for it.
 * @throws FarmError STORE_MISSING
 */
export async function withStoredFarm<T>(options: ConfigPlaces, work: (farm: Farm) => Promise<T>): Promise<T> {
  const config = await loadConfig(options);
  const { cache } = config;
  await requireStore(config, options);
  const isNew = !existsSync(cache);
  const { openFarm } = await import("../farm/open.ts");
  const farm = await openFarm(config);
  try {
    return await work(farm);
  } finally {
    await farm.close();
    if (isNew) await removeUnused(cache);
  }
}

/**
 * The same for commands that read nothing but the store: a near one is opened alone, which is most of what such a command
 * would wait for. @throws FarmError STORE_MISSING
 */
export async function withStore<T>(options: ConfigPlaces, work: (store: Store) => Promise<T>): Promise<T> {
  const config = await loadConfig(options);
  // What a bucket has said before is in the farm's cache.
  if (typeof config.store !== "string") return withStoredFarm(options, ({ store }) => work(store));
  await requireStore(config, options);
  const store = await openStore(config.store);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** @throws FarmError STORE_MISSING if the configured store does not exist: that is not an empty store */
export async function requireStore(
  { store }: Pick<FarmConfig, "store">,
  options: Pick<ConfigPlaces, "config">,
): Promise<void> {
  if (typeof store !== "string") return requireBucket(store);
  const place = await stat(store).catch(() => undefined);
  if (place?.isDirectory()) return;
  const why = place === undefined ? "there is no store at" : "there is a file, not a store, at";
  const where = options.config === undefined && !existsSync("kmodfarm.yaml") ? NO_CONFIG : "";
  throw new FarmError("STORE_MISSING", { detail: `${why} ${store}${where}` });
}

async function requireBucket(place: StorePlace): Promise<void> {
  const store = await openStore(place);
  try {
    if (await hasFiles(store)) return;
  } finally {
    await store.close();
  }
  throw new FarmError("STORE_MISSING", {
    detail: `there is nothing below ${store.place}`,
    hint: "Check the address and its prefix. `kmodfarm run` makes a new store there.",
  });
}

const NO_CONFIG = " (and no kmodfarm.yaml in this directory)";

export function configOf(options: ConfigPlaces): Promise<FarmConfig> {
  return loadConfig(options);
}

/** A signal that fires at the first Ctrl-C or SIGTERM, which is said at once; the second one ends the process at once. */
export function stopSignal(onStop: () => void = () => {}): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () => {
      controller.abort();
      onStop();
    });
  }
  return controller.signal;
}

export const WHOLE_RELEASE = "--kernel-release must match the whole release, as in '6\\.12\\..*'";
