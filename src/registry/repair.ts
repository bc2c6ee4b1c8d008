/**
 * Whether the store still has what it says that nodes get, byte by byte: an artifact's blobs, and the files of the view.
 * Each is the other's spare copy.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { blobPath, digestAt } from "./blobs.ts";
import type { IndexEntry, Published } from "./documents.ts";
import { type Listed, listAll } from "./standing.ts";
import type { FileFacts, Store } from "./stores/store.ts";
import { showAgain, viewFiles } from "./view.ts";

/** A file that is not what its artifact promises. */
interface Damage {
  readonly path: string;
  readonly digest: string;
  readonly fact: "is missing" | "is damaged";
}

/** How many files of an artifact are read at once: it may have ten thousand. */
const AT_ONCE = 8;

/** Every file of an artifact, as blob and, where it is stable, in the view, that is not there as it should be. */
export async function damageOf(store: Store, listed: Pick<Listed, "entry" | "channel">): Promise<Damage[]> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  const sizes = new Map(artifactFiles(listed.entry).map(({ digest, size }) => [digest, size]));
  const found = await queue.addAll(
    placesOf(listed).map(([path, digest]) => async (): Promise<Damage[]> => {
      const facts = await factsOf(store, path);
      const size = sizes.get(digest);
      const isOther = size !== undefined && facts !== undefined && facts.size !== size;
      const there = isOther ? "damaged" : await digestAt(store, path);
      if (there === digest) return [];
      return [{ path, digest, fact: there === "missing" ? "is missing" : "is damaged" }];
    }),
  );
  return found.flat();
}

/** @throws FarmError STORE_CORRUPT unless nodes get what the index of the artifact promises */
export async function refuseDamaged(store: Store, listed: Pick<Listed, "entry" | "channel">): Promise<void> {
  const damage = await damageOf(store, listed);
  if (damage.length > 0) throw damageError(store, damage);
}

export function damageError(store: Store, damage: readonly Damage[]): FarmError {
  return new FarmError("STORE_CORRUPT", {
    detail: `${store.place}/${damageWords(damage)}`,
    hint: "`kmodfarm run` restores it from its other copy, or builds it again; in a bucket with --retry.",
  });
}

const MOST_NAMED = 3;

/** `view/…/bell.ko is damaged, and 2 more` */
export function damageWords(damage: readonly Damage[]): string {
  const named = damage.slice(0, MOST_NAMED).map(({ path, fact }) => `${path} ${fact}`);
  const more = damage.length > MOST_NAMED ? [`and ${damage.length - MOST_NAMED} more`] : [];
  return [...named, ...more].join(", ");
}

interface Repair {
  /** How many files were written again. */
  readonly repaired: number;
  /** Artifacts with files that have no good copy left. */
  readonly lost: readonly { readonly listed: Listed; readonly damage: readonly Damage[] }[];
}

/**
 * Writes again what is damaged or missing of a state's artifacts: blobs from whichever copy is good, the view from blobs, as it
 * is by then. Safe to repeat, and beside others that publish.
 */
export async function repairArtifacts(
  store: Store,
  published: Published,
  artifacts: readonly Listed[] = listAll(published.indices),
): Promise<Repair> {
  let repaired = 0;
  const lost: Repair["lost"][number][] = [];
  for (const listed of artifacts) {
    const damage = await damageOf(store, listed);
    if (damage.length === 0) continue;
    const left = await repairOne(store, published, listed, damage).catch((thrown) => {
      // A file in the way of one artifact does not affect the others.
      if (thrown instanceof FarmError && thrown.code === "STORE_CORRUPT") return [...damage];
      throw thrown;
    });
    if (left.length > 0) lost.push({ listed, damage: left });
    repaired += damage.length - left.length;
  }
  return { repaired, lost };
}

/** Returns what could not be repaired. */
async function repairOne(
  store: Store,
  published: Published,
  listed: Listed,
  damage: readonly Damage[],
): Promise<Damage[]> {
  const places = placesOf(listed);
  const isShown = ({ path }: Damage) => path.startsWith("view/");
  const left: Damage[] = [];
  for (const one of damage.filter((each) => !isShown(each))) {
    const bytes = await goodCopy(store, places, one.digest);
    if (bytes === undefined) left.push(one);
    else await replace(store, one, bytes);
  }
  const view = damage.filter(isShown);
  if (view.length === 0) return left;
  // Nothing is shown that is not whole, or that its own manifest contradicts.
  if (left.length > 0) return [...left, ...view];
  for (const { path, fact } of view) if (fact === "is damaged") await store.remove(path);
  await showAgain(store, [listed.entry], published);
  return [];
}

async function replace(store: Store, { path, fact }: Damage, bytes: Buffer): Promise<void> {
  // A directory may be in its place.
  if (fact === "is damaged") await store.remove(path);
  await store.write(path, bytes);
}

async function goodCopy(
  store: Store,
  places: readonly (readonly [string, string])[],
  digest: string,
): Promise<Buffer | undefined> {
  for (const [path, its] of places) {
    if (its !== digest || (await digestAt(store, path)) !== digest) continue;
    const bytes = await store.read(path);
    if (bytes !== undefined && sha256(bytes) === digest) return bytes;
  }
  return undefined;
}

function placesOf({
  entry,
  channel,
}: Pick<Listed, "entry" | "channel">): (readonly [path: string, digest: string])[] {
  const blobs = new Set(artifactFiles(entry).map(({ digest }) => digest));
  return [
    ...[...blobs].map((digest) => [blobPath(digest), digest] as const),
    ...(channel === "stable" ? viewFiles(entry) : []),
  ];
}

/** The blobs of an artifact; of some the index says how large they are. */
export function artifactFiles({
  modules,
  files = [],
  log,
  inputs,
  sbom,
  provenance = [],
  rebuilds = [],
  manifest,
  manifestSize,
}: IndexEntry): { readonly digest: string; readonly size?: number }[] {
  return [
    ...modules.flatMap(({ digest, size, stripped, strippedSize, compressed, signatures = [] }) => [
      { digest, size },
      ...(stripped === undefined ? [] : [sized(stripped, strippedSize)]),
      ...(compressed === undefined ? [] : [{ digest: compressed.digest }]),
      ...signatures.flatMap(({ certificate, digest: signature, size: length }) => [
        { digest: signature, size: length },
        { digest: certificate },
      ]),
    ]),
    ...files.map(({ digest, size }) => ({ digest, size })),
    { digest: log },
    ...(inputs === undefined ? [] : [inputs]),
    ...(sbom === undefined ? [] : [sbom]),
    ...provenance,
    ...rebuilds,
    sized(manifest, manifestSize),
  ];
}

function sized(
  digest: string,
  size: number | undefined,
): { readonly digest: string; readonly size?: number } {
  return size === undefined ? { digest } : { digest, size };
}

/** Undefined also where something else is in the way, which reading it tells. */
async function factsOf(store: Store, path: string): Promise<FileFacts | undefined> {
  try {
    return await store.facts(path);
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.code === "STORE_CORRUPT") return undefined;
    throw thrown;
  }
}
