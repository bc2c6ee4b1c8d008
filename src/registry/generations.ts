/**
 * Generations: one complete state of the registry after another, each written whole before a channel names it.
 */
import type { z } from "zod";
import { FarmError } from "../base/error.ts";
import { sha256, toDocument } from "../base/json.ts";
import { Catalog, EMPTY_CATALOG } from "../catalog/catalog.ts";
import { Matrix } from "../matrix/element.ts";
import {
  Attempts,
  Channel,
  type ChannelName,
  Decisions,
  Generation,
  Index,
  indexName,
  type Published,
  Roots,
} from "./documents.ts";
import { corruptStore, parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";

const EMPTY: Published = {
  head: null,
  catalog: EMPTY_CATALOG,
  matrix: [],
  attempts: [],
  indices: [],
  roots: {},
  decisions: [],
};

/** `candidate` is written first, so it is what the farm goes on from; `stable` is what nodes read. */
const CHANNELS: readonly ChannelName[] = ["candidate", "stable"];

/**
 * What a channel shows now; an empty state when nothing was ever published.
 * @throws FarmError STORE_CORRUPT when a file is not the one its digest promises
 */
export async function readPublished(store: Store, channel: ChannelName): Promise<Published> {
  const pointer = await readChannel(store, channel);
  if (pointer === undefined) return EMPTY;
  const { generation: number, digest } = pointer;
  const folder = `generations/${number}`;
  const generation = await readGeneration(store, pointer.generation, digest);
  const load = <T>(file: string, type: z.ZodType<T>): Promise<T> => {
    const promised = generation.files[file];
    if (promised === undefined) throw corruptStore(store, `${folder} has no ${file}`);
    return readChecked(store, `${folder}/${file}`, promised, type);
  };
  const [catalog, matrix, { attempts }, indices, { roots }, { decisions }] = await Promise.all([
    load("catalog.json", Catalog),
    load("matrix.json", Matrix),
    load("attempts.json", Attempts),
    readIndices(store, generation),
    // Generations of earlier versions have none.
    "roots.json" in generation.files ? load("roots.json", Roots) : { roots: {} },
    "decisions.json" in generation.files ? load("decisions.json", Decisions) : { decisions: [] },
  ]);
  return { head: { number, digest }, catalog, matrix: matrix.elements, attempts, indices, roots, decisions };
}

/**
 * The indices of an earlier generation, found and checked from parent to parent.
 * @throws FarmError USAGE when there is none of that number, STORE_CORRUPT
 */
export async function readGenerationIndices(
  store: Store,
  { head }: Pick<Published, "head">,
  number: number,
): Promise<Index[]> {
  for (let at = head; at !== null; ) {
    const generation = await readGeneration(store, at.number, at.digest);
    if (at.number === number) return readIndices(store, generation);
    at = generation.parent;
  }
  throw new FarmError("USAGE", {
    detail: `there is no generation ${number}; the newest is ${head?.number ?? "none"}`,
  });
}

/**
 * Writes the next generation and points both channels at it. A kill at any moment leaves one or the other; a second
 * writer is noticed: nothing of what it wrote is written over.
 * @throws FarmError STORE_BUSY when another writer published since the state was read
 */
export async function writePublished(store: Store, state: Published, now: Date): Promise<Published> {
  await checkHead(store, state.head);
  const number = (state.head?.number ?? 0) + 1;
  const publishedAt = now.toISOString();
  const documents: Record<string, unknown> = {
    "catalog.json": state.catalog,
    "matrix.json": { schema: "kmodfarm.matrix/1", generatedAt: publishedAt, elements: state.matrix },
    "roots.json": { schema: "kmodfarm.roots/1", roots: state.roots },
    "decisions.json": { schema: "kmodfarm.decisions/1", decisions: state.decisions },
    "attempts.json": { schema: "kmodfarm.attempts/1", attempts: state.attempts },
  };
  for (const index of state.indices) documents[indexFile(index)] = index;

  const files: Generation["files"] = {};
  for (const [file, value] of Object.entries(documents)) {
    const text = toDocument(value);
    files[file] = sha256(text);
    await createFile(store, number, file, text);
  }
  const generation: Generation = {
    schema: "kmodfarm.generation/1",
    number,
    parent: state.head,
    publishedAt,
    files,
  };
  const text = toDocument(generation);
  await createFile(store, number, "generation.json", text);
  const head = { number, digest: sha256(text) };
  await checkHead(store, state.head);
  for (const channel of CHANNELS) await writeChannel(store, channel, head);
  await checkHead(store, head);
  return { ...state, head };
}

/** A file of a generation is made once: who finds another one there has met another writer of that generation. */
async function createFile(store: Store, number: number, file: string, text: string): Promise<void> {
  const path = `generations/${number}/${file}`;
  if (await store.create(path, text)) return;
  if ((await store.read(path))?.equals(Buffer.from(text))) return;
  throw overtaken(store, `generation ${number} is there already, and is another one`);
}

/** @throws FarmError STORE_BUSY unless that is where the farm stands */
async function checkHead(store: Store, head: Published["head"]): Promise<void> {
  const there = await readChannel(store, "candidate");
  if (there?.digest === head?.digest) return;
  throw overtaken(
    store,
    `generation ${there?.generation ?? "none"} was published by another process meanwhile`,
  );
}

function overtaken(store: Store, fact: string): FarmError {
  return new FarmError("STORE_BUSY", {
    detail: `${store.place}: ${fact}; nothing of it was changed`,
    hint: "Run the same command again: it goes on from what the other one published.",
  });
}

/** After a kill: the last channel follows the first, and what no channel ever named is removed. */
export async function settle(store: Store): Promise<void> {
  const [first, last] = await Promise.all([readChannel(store, "candidate"), readChannel(store, "stable")]);
  if (first !== undefined && first.generation !== last?.generation) {
    await writeChannel(store, "stable", { number: first.generation, digest: first.digest });
  }
  const head = first?.generation ?? 0;
  for (const name of await store.list("generations")) {
    if (/^\d+$/.test(name) && Number(name) > head) await store.remove(`generations/${name}`);
  }
}

async function readChannel(store: Store, channel: ChannelName): Promise<Channel | undefined> {
  const path = `channels/${channel}`;
  const bytes = await store.read(path);
  return bytes === undefined ? undefined : parseStored(store, path, bytes, Channel);
}

async function writeChannel(
  store: Store,
  channel: ChannelName,
  head: NonNullable<Published["head"]>,
): Promise<void> {
  const pointer: Channel = {
    schema: "kmodfarm.channel/1",
    channel,
    generation: head.number,
    digest: head.digest,
  };
  await store.write(`channels/${channel}`, toDocument(pointer));
}

async function readGeneration(store: Store, number: number, digest: string): Promise<Generation> {
  const path = `generations/${number}/generation.json`;
  const generation = await readChecked(store, path, digest, Generation);
  if (generation.number !== number) throw corruptStore(store, `${path} is generation ${generation.number}`);
  return generation;
}

/** In the order of their names. */
function readIndices(store: Store, { number, files }: Generation): Promise<Index[]> {
  const wanted = Object.entries(files).filter(([file]) => file.startsWith("index/"));
  return Promise.all(
    wanted
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(async ([file, digest]) => {
        const path = `generations/${number}/${file}`;
        const index = await readChecked(store, path, digest, Index);
        if (indexFile(index) !== file)
          throw corruptStore(store, `${path} is the index of ${indexName(index)}`);
        return index;
      }),
  );
}

function indexFile(index: Pick<Index, "distribution" | "architecture">): string {
  return `index/${indexName(index)}.json`;
}

async function readChecked<T>(store: Store, path: string, promised: string, type: z.ZodType<T>): Promise<T> {
  const bytes = await store.read(path);
  if (bytes === undefined) throw corruptStore(store, `${path} is not there`);
  if (sha256(bytes) !== promised) throw corruptStore(store, `${path} is not what its digest promises`);
  return parseStored(store, path, bytes, type);
}
