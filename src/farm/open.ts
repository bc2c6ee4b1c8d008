/**
 * Opening a farm: from a configuration to the sources, caches and tools that the night works with.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { awaitEviction, openCache } from "../base/cache.ts";
import { type FarmError, ownError, toFarmError } from "../base/error.ts";
import { Http } from "../base/http.ts";
import { canonicalJson } from "../base/json.ts";
import { ownFile } from "../base/own-files.ts";
import { openScratch, type Scratch } from "../base/scratch.ts";
import { formatSize } from "../base/size.ts";
import type { BuildContext } from "../builder/build.ts";
import { sandboxOf } from "../builder/sandboxes/index.ts";
import type { Sandbox } from "../builder/sandboxes/sandbox.ts";
import { emulatedArchitectures } from "../builder/toolchains/emulation.ts";
import { type KnownRoots, type ToolchainContext, Toolchains } from "../builder/toolchains/toolchain.ts";
import { type HostMirrors, readHostMirrors } from "../catalog/apt-host.ts";
import type { Answered, Source } from "../catalog/ask.ts";
import { type Catalog, CatalogKernel, CatalogSource, GuestTools } from "../catalog/catalog.ts";
import { type ListSource, type ReadList, updateFromLists } from "../catalog/list-source.ts";
import { believedKeys, type KeySource } from "../catalog/signing-keys.ts";
import { type Update, type UpdateOptions, updateCatalog } from "../catalog/update.ts";
import { type InputContext, Inputs } from "../inputs/inputs.ts";
import { type ArchitectureName, hostArchitecture } from "../kernel/architecture.ts";
import { kernelName, type Package } from "../kernel/kernel.ts";
import { inputArchive } from "../registry/input-archive.ts";
import { keptBlobs } from "../registry/kept.ts";
import { requireKeepable } from "../registry/readable.ts";
import { openFolderStore } from "../registry/stores/folder.ts";
import { openStore } from "../registry/stores/index.ts";
import { overlayStore } from "../registry/stores/overlay.ts";
import type { Store } from "../registry/stores/store.ts";
import type { FarmConfig } from "./config/index.ts";
import { FarmSigning } from "./signing/keys.ts";
import {
  catalogSources,
  listSources,
  namedBy,
  ownPlaces,
  packageSigners,
  readCredentials,
  toolchainMirror,
} from "./sources.ts";
import { STEPS, type Steps } from "./steps.ts";

export interface Farm {
  readonly config: FarmConfig;
  readonly store: Store;
  readonly cache: string;
  readonly scratch: Scratch;
  readonly http: Http;
  readonly sandbox: Sandbox;
  readonly builder: ArchitectureName;
  /** What the host's own apt uses. */
  readonly host: HostMirrors;
  /** Directory of the toolchain image definitions and the scripts that run inside. */
  readonly images: string;
  readonly sources: readonly Source[];
  /** Lists that others keep, beside the repositories. */
  readonly lists: readonly ListSource[];
  /** Whether a source of the catalog is one whose packages may not be passed on. */
  readonly isPrivate: (source: string) => boolean;
  /** Whose signatures of packages count for the kernels of a release, where packages have signatures of their own. */
  readonly signersOf: (release: string) => KeySource | undefined;
  /** Where a release's toolchain for builders of an architecture comes from. */
  readonly mirrorOf: ToolchainContext["mirrorOf"];
  /** Architectures whose programs this machine runs beside its own. */
  readonly emulated: ReadonlySet<ArchitectureName>;
  readonly steps: Steps;
  /** Its keys; none is open before something is to be signed. */
  readonly signing: Pick<FarmSigning, "keysFor" | "sign" | "keyless">;
  /** Lets connections go and removes what is temporary. */
  close(): Promise<void>;
}

/** The same place from the sources and from the published package. */
export const IMAGES = fileURLToPath(ownFile("images"));

export async function openFarm(config: FarmConfig): Promise<Farm> {
  const host = await readHostMirrors();
  const credentials = await readCredentials(config);
  const http = new Http({ credentials, own: ownPlaces(config, host) });
  await openCache(config.cache, [config.file, config.base]);
  const scratch = await openScratch(join(config.cache, "tmp"));
  await awaitEviction(config.cache);
  const store = await openStore(config.store, keptBlobs(config.cache, scratch));
  const signing = new FarmSigning(config);
  const secret = config.sources.filter(({ redistributable }) => redistributable === false);
  return {
    config,
    store,
    cache: config.cache,
    scratch,
    http,
    sandbox: sandboxOf(config.sandbox),
    builder: hostArchitecture(process.arch),
    host,
    images: IMAGES,
    sources: config.sources.flatMap((source) => catalogSources(source, host)),
    lists: config.sources.flatMap(listSources),
    isPrivate: namedBy(
      secret.flatMap((source) => catalogSources(source, host)),
      secret.flatMap(listSources),
    ),
    signersOf: (release) => packageSigners(config.sources, release),
    mirrorOf: (release, builder) => toolchainMirror(config.sources, host, release, builder),
    emulated: await emulatedArchitectures(),
    steps: STEPS,
    signing,
    async close() {
      await signing[Symbol.asyncDispose]();
      await http.close();
      await store.close();
      await scratch.close();
    },
  };
}

/** The packages of a catalog's kernels; what differs from the configuration may be given. */
export function openInputs(
  farm: Farm,
  catalog: Packaged,
  changes: Pick<InputContext, "archived" | "say"> = {},
): Inputs {
  const { http, scratch, cache, store, config } = farm;
  const mirrors = new Map(catalog.sources.map(({ id, url }) => [id, url]));
  const archive = inputArchive(store);
  const { archive: archived } = config;
  const isPrivate = privatePackages(farm, catalog);
  const signersOf = packageSignersIn(farm, catalog);
  return new Inputs({ http, scratch, cache, mirrors, archive, archived, isPrivate, signersOf, ...changes });
}

/** By a package's bytes: the signers of every release for whose kernels the catalog lists it. */
function packageSignersIn(
  { signersOf }: Pick<Farm, "signersOf">,
  { kernels }: Pick<Packaged, "kernels">,
): (one: Package) => readonly KeySource[] {
  let known: ReadonlyMap<string | undefined, ReadonlySet<KeySource>> | undefined;
  return ({ sha256 }) => {
    known ??= signersByDigest(signersOf, kernels);
    return [...(known.get(sha256) ?? [])];
  };
}

function signersByDigest(
  signersOf: Farm["signersOf"],
  kernels: Packaged["kernels"],
): ReadonlyMap<string | undefined, ReadonlySet<KeySource>> {
  const found = new Map<string | undefined, Set<KeySource>>();
  for (const [release, its] of Map.groupBy(kernels, ({ distribution }) => distribution)) {
    const signers = signersOf(release);
    if (signers === undefined) continue;
    for (const { sha256 } of its.flatMap(({ packages }) => Object.values(packages).flat()))
      if (sha256 !== undefined) found.set(sha256, (found.get(sha256) ?? new Set()).add(signers));
  }
  return found;
}

/** Those of the catalog's sources that are configured: what others said, they said to somebody else, or long ago. */
export function configuredSources(
  { sources, lists }: Pick<Farm, "sources" | "lists">,
  catalog: Pick<Catalog, "sources">,
): CatalogSource[] {
  const isConfigured = namedBy(sources, lists);
  return catalog.sources.filter(({ id }) => isConfigured(id));
}

/** What of a catalog packages are fetched by. */
type Packaged = Pick<Catalog, "sources" | "kernels" | "guests">;

/** A private source's packages are known by their bytes: somebody else may list the same ones as his own. */
function privatePackages(
  { isPrivate }: Farm,
  { sources, kernels, guests }: Packaged,
): (one: Package) => boolean {
  const ids = new Set(sources.flatMap(({ id }) => (isPrivate(id) ? [id] : [])));
  const lists =
    ids.size === 0
      ? []
      : [
          ...kernels.flatMap(({ packages }) => Object.values(packages)),
          ...guests.map(({ packages }) => packages),
        ];
  const digests = new Set(lists.flat().flatMap(({ source, sha256 }) => (ids.has(source) ? [sha256] : [])));
  return ({ source, sha256 }) => isPrivate(source) || (sha256 !== undefined && digests.has(sha256));
}

/** What reading packages of kernels takes, where nothing is built: they are fetched, and not archived. */
export function readingContext(farm: Farm, catalog: Packaged) {
  const { scratch, cache } = farm;
  return { scratch, cache, inputs: openInputs(farm, catalog, { archived: "none" }) };
}

/** The toolchain roots that the configuration allows; `say` is told what is odd about one. */
export function openToolchains(farm: Farm, say?: (text: string) => void, known?: KnownRoots): Toolchains {
  const { cache, scratch, images, builder, emulated, mirrorOf, http, config } = farm;
  return new Toolchains({
    ...{ cache, scratch, images, builder, emulated, mirrorOf },
    keysOf: (source, signal) => believedKeys(source, { http, scratch, cache }, signal),
    builders: new Map(Object.entries(config.builders) as [ArchitectureName, ArchitectureName][]),
    substitutes: new Map(Object.entries(config.toolchains)),
    compilers: config.compilers,
    isCrossWanted: config.crossCompile,
    keepsPackages: config.archive === "all",
    ...(say === undefined ? {} : { say }),
    ...(known === undefined ? {} : { known }),
  });
}

/** As `openBuild` gives it: with all that is known of toolchains. */
export type FarmBuild = BuildContext & { readonly toolchains: Toolchains };

/** All that a build needs of a farm; `known` remembers what is in its toolchain roots. */
export function openBuild(
  farm: Farm,
  catalog: Packaged,
  say: (text: string) => void,
  known?: KnownRoots,
): FarmBuild {
  const { sandbox, scratch, cache, images, builder, config } = farm;
  return {
    inputs: openInputs(farm, catalog, { say }),
    toolchains: openToolchains(farm, say, known),
    limits: config.limits,
    ...{ sandbox, scratch, cache, images, builder },
  };
}

/** What every configured source said; nothing of it is believed yet. */
export interface FarmAnswers {
  readonly repositories: readonly Answered[];
  readonly lists: readonly ReadList[];
}

/**
 * Asks every configured source. `previous` only tells which mirrors answered last. A source that fails, for whatever
 * reason, is an answer too.
 */
export async function askSourcesOf(
  farm: Pick<Farm, "http" | "scratch" | "cache" | "sources" | "lists" | "steps">,
  previous: Catalog,
  signal: AbortSignal,
  note: (detail: string) => void = () => {},
): Promise<FarmAnswers> {
  const { http, scratch, cache, sources, lists, steps } = farm;
  const context = { http, scratch, cache, signal };
  let answered = 0;
  const repositories = await Promise.all(
    sources.map(async (source) => {
      const answer = await steps
        .askSources([source], previous, context)
        .catch((thrown) => [failedRepository({ source }, ownError(thrown, signal))]);
      note(`${++answered} of ${sources.length} answered, ${formatSize(http.traffic.bytes)}`);
      return answer;
    }),
  );
  const read: ReadList[] = [];
  // One after the other: each may be large.
  for (const source of lists)
    read.push(
      ...(await steps
        .askLists([source], context)
        .catch((thrown) => [{ source, read: ownError(thrown, signal) }])),
    );
  return { repositories: repositories.flat(), lists: read };
}

/** Lays what was said over a catalog, repositories first: what they vouch for, lists do not overrule. */
export function updateFarmCatalog(previous: Catalog, answers: FarmAnswers, options: UpdateOptions): Update {
  const { catalog, ...first } = layEach(previous, answers.repositories, failedRepository, (base, some) =>
    updateCatalog(base, some, options),
  );
  const second = layEach(catalog, answers.lists, failedList, (base, some) =>
    updateFromLists(base, some, options),
  );
  return {
    catalog: second.catalog,
    sources: [...first.sources, ...second.sources],
    problems: [...first.problems, ...second.problems],
    warnings: [...first.warnings, ...second.warnings],
  };
}

function failedRepository({ source }: Pick<Answered, "source">, error: FarmError): Answered {
  return { source, answer: { kind: "failed", error } };
}

function failedList({ source }: Pick<ReadList, "source">, error: FarmError): ReadList {
  return { source, read: error };
}

/** An unforeseen fault in one answer must not cost the others: laid one by one, the answer at fault shows itself. */
function layEach<T>(
  previous: Catalog,
  answers: readonly T[],
  failed: (answer: T, error: FarmError) => T,
  lay: (previous: Catalog, answers: readonly T[]) => Update,
): Update {
  const layKeepable = (some: readonly T[]): Update => {
    const update = lay(previous, some);
    requireKept(previous, update.catalog);
    return update;
  };
  try {
    return layKeepable(answers);
  } catch {
    return layKeepable(
      answers.map((answer) => {
        try {
          layKeepable([answer]);
          return answer;
        } catch (thrown) {
          return failed(answer, toFarmError(thrown));
        }
      }),
    );
  }
}

/** What cannot be written, or not read back, would come to light only when everything is published, or the night after. */
function requireKept(previous: Catalog, { sources, guests, kernels }: Catalog): void {
  canonicalJson([sources, guests, kernels]);
  const known = new Set<unknown>([...previous.sources, ...previous.guests, ...previous.kernels]);
  const check = (type: z.ZodType, items: readonly object[], nameOf: (item: never) => string) => {
    for (const item of items) if (!known.has(item)) requireKeepable(type, item, nameOf(item as never));
  };
  check(CatalogSource, sources, ({ id }: CatalogSource) => id);
  check(GuestTools, guests, ({ distribution }: GuestTools) => distribution);
  check(CatalogKernel, kernels, kernelName);
}

/** What would be published stays on this machine, and goes away with everything temporary. */
export async function readingOnly(farm: Farm): Promise<Farm> {
  return { ...farm, store: overlayStore(farm.store, await openFolderStore(farm.scratch.path())) };
}

/** The same with more places that are no source, wherever in a driver's tree they are. */
export function withOwn(farm: Farm, places: readonly string[]): Farm {
  return { ...farm, config: { ...farm.config, own: [...farm.config.own, ...places] } };
}
