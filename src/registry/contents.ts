/** What a store should hold: every file that its newest generations name, and what these files name in turn. */
import { FarmError, toFarmError } from "../base/error.ts";
import type { Package } from "../kernel/kernel.ts";
import { HEAD_PATH } from "../provenance/head.ts";
import { CHECKPOINT_PATH, logPath, logProofPath } from "../provenance/shown-log.ts";
import { proofBytes } from "../provenance/trees/linux-merkle.ts";
import { newBundles, newTiles } from "../provenance/trees/tiles.ts";
import { rootPath, type Trust } from "../provenance/trust.ts";
import { blobPath } from "./blobs.ts";
import { AMBIGUOUS_NAMES, CLIENT_VIEW, clientFiles } from "./client-view.ts";
import type { IndexEntry, Part, Published } from "./documents.ts";
import {
  type Found,
  type GenerationPlace,
  generationPath,
  history,
  newestGeneration,
  POINTER,
  readGeneration,
} from "./generations.ts";
import { BuildInputs, inputBlobs, keptPackages, readInput, ToolchainInputs } from "./inputs.ts";
import { promotionsIn } from "./log.ts";
import { type FoundHead, indexFiles, readHeadAt, readTrusts } from "./metadata.ts";
import { NOTHING_PUBLISHED } from "./parts.ts";
import { artifactFiles } from "./repair.ts";
import { newestHead, serialPath } from "./serials.ts";
import { leavesOf, rootOfEdition } from "./sets.ts";
import { listAll } from "./standing.ts";
import { sizeLimitOf } from "./stores/store.ts";
import { viewFiles } from "./view.ts";
import { viewPath } from "./view-path.ts";

/** A file that something names. */
export interface NamedFile {
  readonly path: string;
  /** Absent for what leads to all else, which nothing has a digest of: the pointer, roots and heads. */
  readonly digest?: string;
  readonly size?: number;
  /** What names it, for people: `generation 7`, `view/doorbell/…`. */
  readonly by: string;
  /** What it is of, where a build gave it. */
  readonly entry?: IndexEntry;
}

export interface Contents {
  /** The newest generation's; an empty one where that cannot be read. */
  readonly state: Published;
  /** Numbers of the generations that were looked at, newest first. */
  readonly generations: readonly number[];
  /** What could not be read of them, and so may name more than is known here. */
  readonly faults: readonly FarmError[];
  /** That the newest head is of a generation which is not there: what is named here is what was published before. */
  readonly lost?: FarmError;
  /** By path. */
  readonly named: ReadonlyMap<string, NamedFile>;
  /** Paths of packages that may be archived, and need not be. */
  readonly inputs: ReadonlySet<string>;
}

/** What the newest `count` generations name, as far as they are kept and can be read. */
export async function contentsOf(store: GenerationPlace, count: number): Promise<Contents> {
  const [generations, faults]: [number[], FarmError[]] = [[], []];
  const fault = (thrown: unknown) => {
    const error = toFarmError(thrown);
    if (error.blame !== "integrity") throw error;
    faults.push(error);
  };
  // The head first, so that a generation which is older than it was lost.
  const trusts = await readTrusts(store).catch((thrown): readonly Trust[] => {
    fault(thrown);
    return [];
  });
  const last = await lastHead(store, trusts);
  const newest = await newestGeneration(store);
  const named = new Map<string, NamedFile>();
  const name = (file: NamedFile) => {
    if (!named.has(file.path)) named.set(file.path, file);
  };
  const states = new Map<number, Published>();
  for await (const found of history(store, newest?.head ?? null)) {
    if (generations.length === count) break;
    const { number } = found.head;
    for (const file of ofGeneration(found)) name(file);
    try {
      const known = states.get(generations.at(-1) ?? 0) ?? NOTHING_PUBLISHED;
      states.set(number, await readGeneration(store, found, known));
    } catch (thrown) {
      fault(thrown);
    }
    for (const file of ofState(states.get(number) ?? NOTHING_PUBLISHED, number)) name(file);
    generations.push(number);
  }
  for await (const file of ofInputs(store, [...states.values()], fault)) name(file);
  const state = states.get(newest?.head.number ?? 0) ?? NOTHING_PUBLISHED;
  try {
    for await (const file of ofMetadata(store, state, trusts, last)) name(file);
  } catch (thrown) {
    fault(thrown);
  }
  if (newest !== undefined) name({ path: POINTER, by: "the registry" });
  for (const { entry, channel } of listAll(state.indices))
    if (channel === "stable") for (const file of viewed(entry)) name(file);
  if ((await store.read(AMBIGUOUS_NAMES, sizeLimitOf(AMBIGUOUS_NAMES))) !== undefined)
    for (const file of forClients(state)) name(file);
  const lost = lossOf(store, last, newest);
  return {
    ...{ state, generations, faults, named, inputs: inputsOf(state) },
    ...(lost === undefined ? {} : { lost }),
  };
}

/** The newest head by its serial, which nodes may not be shown yet; undefined where none can be believed. */
async function lastHead(store: GenerationPlace, trusts: readonly Trust[]): Promise<FoundHead | undefined> {
  try {
    return await newestHead(store, trusts);
  } catch (thrown) {
    // Whoever reads what is shown hears of it.
    if (toFarmError(thrown).blame === "integrity") return undefined;
    throw thrown;
  }
}

function lossOf(
  { place }: GenerationPlace,
  last: FoundHead | undefined,
  newest: Found | undefined,
): FarmError | undefined {
  if (last === undefined) return undefined;
  const { generation, serial } = last.head;
  const number = newest?.head.number ?? 0;
  const isOther = generation.number === number && generation.digest !== newest?.head.digest;
  if (generation.number <= number && !isOther) return undefined;
  return new FarmError("METADATA_ROLLED_BACK", {
    about: place,
    detail: `the newest generation there is ${newest?.head.number ?? "none"}, and head ${serial} is of ${isOther ? "another one of that number" : `generation ${generation.number}`}`,
    hint: "Nothing was removed or repaired. Restore the generations that are missing, from a copy of the store: what only they name is still there.",
  });
}

/** What nodes read. An index of an earlier head has files that no node asks for any more. */
async function* ofMetadata(
  store: GenerationPlace,
  state: Published,
  trusts: readonly Trust[],
  last: FoundHead | undefined,
): AsyncGenerator<NamedFile> {
  for (const { version } of trusts) yield { path: rootPath(version), by: "the registry" };
  const found = await readHeadAt(store, trusts).catch((thrown) => {
    const { code, message } = toFarmError(thrown);
    throw new FarmError(code, { detail: message, at: { path: HEAD_PATH }, cause: thrown });
  });
  if (found !== undefined) yield { path: HEAD_PATH, by: "the registry" };
  // What a killed writer did not get to show is what the next one shows.
  const heads = new Map(
    [found, last].flatMap((one) => (one === undefined ? [] : [[one.head.serial, one.head]])),
  );
  for (const head of heads.values()) {
    const by = `head ${head.serial}`;
    yield { path: serialPath(head.serial), by };
    if (head.log !== undefined) yield* ofLog(head.log.size, state, by);
    for (const root of head.indices)
      for await (const { digest } of indexFiles(store, root)) yield { path: blobPath(digest), digest, by };
  }
}

/** Partial tiles of a shorter log may still be there, and need not be. */
function* ofLog(size: number, state: Published, by: string): Generator<NamedFile> {
  yield { path: CHECKPOINT_PATH, by: "the registry" };
  for (const tile of [...newTiles(0, size), ...newBundles(0, size)]) yield { path: logPath(tile), by };
  for (const [manifest, index] of promotionsIn(state))
    if (index < size) yield { path: logProofPath(manifest), by };
}

/** What the view shows of an artifact. */
function viewed(entry: IndexEntry): NamedFile[] {
  const sizes = new Map(artifactFiles(entry).map(({ digest, size }) => [digest, size]));
  return [...viewFiles(entry)].map(([path, digest]) => {
    const size = sizes.get(digest);
    return { path, digest, by: viewPath(entry), entry, ...(size === undefined ? {} : { size }) };
  });
}

function forClients(state: Published): NamedFile[] {
  return [...clientFiles(state)].map(([path, file]) => {
    const size = file.kind === "names" ? Buffer.byteLength(file.text) : file.size;
    return { path, digest: file.digest, by: CLIENT_VIEW, ...(size === undefined ? {} : { size }) };
  });
}

function ofGeneration({ head, generation }: Found): NamedFile[] {
  const by = `generation ${head.number}`;
  const own = { path: generationPath(head.number), digest: head.digest, by };
  if (generation.schema === "kmodfarm.generation/1")
    return [
      own,
      ...Object.entries(generation.files).map(([file, digest]) => ({
        ...{ path: `generations/${head.number}/${file}`, digest, by },
      })),
    ];
  const parts = Object.entries(generation.parts);
  return [own, ...parts.map(([part, one]) => ({ ...one, path: blobPath(one.digest), by: `${by}, ${part}` }))];
}

function ofState({ indices, attempts, decisions, feeds, editions }: Published, number: number): NamedFile[] {
  const by = `generation ${number}`;
  const blob = (digest: string) => ({ path: blobPath(digest), digest });
  return [
    ...listAll(indices).flatMap(({ entry }) =>
      artifactFiles(entry).map(({ digest, size }) => ({
        ...{ ...blob(digest), by: viewPath(entry), entry },
        ...(size === undefined ? {} : { size }),
      })),
    ),
    ...attempts.flatMap(({ element, log, console }) =>
      [log, console].flatMap((one) =>
        one === undefined ? [] : [{ ...blob(one.digest), size: one.size, by: `the attempt at ${element}` }],
      ),
    ),
    ...feeds.map(({ name, content: { digest, size } }) => ({
      ...{ ...blob(digest), size, by: `${by}, feed ${name}` },
    })),
    ...[...leavesOf(editions)].map(({ place, edition }) => ({
      ...{ ...blob(place.proof), by: `edition ${edition.edition} of ${edition.driver} ${edition.version}` },
      size: proofBytes(rootOfEdition(edition)),
    })),
    // What a decision rested on stays as long as the decision does.
    ...decisions.flatMap(({ manifest, by: who }) =>
      manifest === undefined ? [] : [{ ...blob(manifest), by: `${by}, a decision of ${who}` }],
    ),
  ];
}

/** What artifacts can be built again from: documents that many of them share are read once. */
async function* ofInputs(
  store: GenerationPlace,
  states: readonly Published[],
  fault: (thrown: unknown) => void,
): AsyncGenerator<NamedFile> {
  const entries = states.flatMap(({ indices }) => listAll(indices).map(({ entry }) => entry));
  const documents = new Map(entries.map((entry) => [entry.inputs?.digest, entry]));
  const toolchains = new Map<string, Part>();
  for (const entry of documents.values()) {
    const { inputs } = entry;
    if (inputs === undefined) continue;
    try {
      const found = await readInput(store, inputs, BuildInputs);
      toolchains.set(found.toolchain.digest, found.toolchain);
      for (const part of inputBlobs(found))
        yield { ...part, path: blobPath(part.digest), by: `inputs of ${viewPath(entry)}` };
    } catch (thrown) {
      fault(thrown);
    }
  }
  for (const toolchain of toolchains.values())
    try {
      const { release, compiler, packages } = await readInput(store, toolchain, ToolchainInputs);
      const by = `the toolchain ${release} ${compiler.family}-${compiler.version}`;
      for (const part of keptPackages(packages)) yield { ...part, path: blobPath(part.digest), by };
    } catch (thrown) {
      fault(thrown);
    }
}

function inputsOf({ catalog, matrix }: Published): Set<string> {
  const packages: readonly Package[] = [
    ...[...catalog.kernels, ...matrix].flatMap(({ packages: all }) => Object.values(all).flat()),
    ...catalog.guests.flatMap(({ packages: all }) => all),
  ];
  return new Set(
    packages.flatMap(({ sha256 }) => (sha256 === undefined ? [] : [blobPath(`sha256:${sha256}`)])),
  );
}
