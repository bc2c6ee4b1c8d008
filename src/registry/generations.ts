/**
 * Generations: one complete state of the registry after another, each written whole before a channel names it.
 */
import type { z } from "zod";
import { FarmError } from "../base/error.ts";
import { parseDocument, sha256, toDocument } from "../base/json.ts";
import { Catalog, EMPTY_CATALOG } from "../catalog/catalog.ts";
import { Matrix } from "../matrix/element.ts";
import {
  Attempts,
  Channel,
  type ChannelName,
  Decisions,
  Generation,
  Index,
  type Published,
  Roots,
} from "./documents.ts";
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
  const generation = await readChecked(store, `${folder}/generation.json`, digest, Generation);
  const load = <T>(file: string, type: z.ZodType<T>): Promise<T> => {
    const promised = generation.files[file];
    if (promised === undefined) throw corrupt(store, `generation ${number} has no ${file}`);
    return readChecked(store, `${folder}/${file}`, promised, type);
  };
  const indexFiles = Object.keys(generation.files).filter((file) => file.startsWith("index/"));
  const [catalog, matrix, { attempts }, indices, { roots }, { decisions }] = await Promise.all([
    load("catalog.json", Catalog),
    load("matrix.json", Matrix),
    load("attempts.json", Attempts),
    Promise.all(indexFiles.sort().map((file) => load(file, Index))),
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
    const folder = `generations/${at.number}`;
    const generation = await readChecked(store, `${folder}/generation.json`, at.digest, Generation);
    if (at.number === number) {
      const files = Object.entries(generation.files).filter(([file]) => file.startsWith("index/"));
      return Promise.all(
        files.map(([file, digest]) => readChecked(store, `${folder}/${file}`, digest, Index)),
      );
    }
    at = generation.parent;
  }
  throw new FarmError("USAGE", {
    detail: `there is no generation ${number}; the newest is ${head?.number ?? "none"}`,
  });
}

/** Writes the next generation and points both channels at it. A kill at any moment leaves one or the other. */
export async function writePublished(store: Store, state: Published, now: Date): Promise<Published> {
  const number = (state.head?.number ?? 0) + 1;
  const publishedAt = now.toISOString();
  const documents: Record<string, unknown> = {
    "catalog.json": state.catalog,
    "matrix.json": { schema: "kmodfarm.matrix/1", generatedAt: publishedAt, elements: state.matrix },
    "roots.json": { schema: "kmodfarm.roots/1", roots: state.roots },
    "decisions.json": { schema: "kmodfarm.decisions/1", decisions: state.decisions },
    "attempts.json": { schema: "kmodfarm.attempts/1", attempts: state.attempts },
  };
  for (const index of state.indices)
    documents[`index/${index.distribution}.${index.architecture}.json`] = index;

  const files: Generation["files"] = {};
  for (const [file, value] of Object.entries(documents)) {
    const text = toDocument(value);
    files[file] = sha256(text);
    await store.write(`generations/${number}/${file}`, text);
  }
  const generation: Generation = {
    schema: "kmodfarm.generation/1",
    number,
    parent: state.head,
    publishedAt,
    files,
  };
  const text = toDocument(generation);
  await store.write(`generations/${number}/generation.json`, text);
  const head = { number, digest: sha256(text) };
  for (const channel of CHANNELS) await writeChannel(store, channel, head);
  return { ...state, head };
}

/** After a kill: the last channel follows the first, and what no channel ever named is removed. */
export async function settle(store: Store): Promise<void> {
  const [first, last] = await Promise.all([readChannel(store, "candidate"), readChannel(store, "stable")]);
  if (first !== undefined && first.generation !== last?.generation) {
    await writeChannel(store, "stable", { number: first.generation, digest: first.digest });
  }
  const head = first?.generation ?? 0;
  for (const name of await store.list("generations")) {
    if (Number(name) > head) await store.remove(`generations/${name}`);
  }
}

async function readChannel(store: Store, channel: ChannelName): Promise<Channel | undefined> {
  const path = `channels/${channel}`;
  const bytes = await store.read(path);
  return bytes === undefined
    ? undefined
    : parseDocument(Channel, bytes.toString("utf8"), `${store.place}/${path}`);
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

async function readChecked<T>(store: Store, path: string, promised: string, type: z.ZodType<T>): Promise<T> {
  const bytes = await store.read(path);
  if (bytes === undefined) throw corrupt(store, `${path} is not there`);
  if (sha256(bytes) !== promised) throw corrupt(store, `${path} is not what its digest promises`);
  return parseDocument(type, bytes.toString("utf8"), `${store.place}/${path}`);
}

function corrupt(store: Store, fact: string): FarmError {
  return new FarmError("STORE_CORRUPT", { detail: `${store.place}: ${fact}` });
}
