/**
 * Removing what is no longer needed: generations beyond the newest, and blobs that none of those left names. What is
 * young stays whatever names it: a writer may be about to publish it.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import { smallest } from "../base/extremes.ts";
import type { Digest } from "../base/json.ts";
import { VOUCHES_PLACE, vouchPath } from "../provenance/vouch.ts";
import { contentsOf, type NamedFile } from "./contents.ts";
import type { Published } from "./documents.ts";
import { newestGeneration, pointTo, readPublished } from "./generations.ts";
import { corruptStore } from "./stored.ts";
import type { FileFacts, Store } from "./stores/store.ts";

export interface PruneOptions {
  /** How many generations stay. */
  readonly keep: number;
  readonly graceMs: number;
  /** By the store's clock. */
  readonly now: Date;
  /** Only says what would go. */
  readonly isDryRun: boolean;
}

export interface Pruned {
  readonly generations: readonly number[];
  readonly files: number;
  readonly bytes: number;
  readonly kept: { readonly generations: number; readonly files: number };
}

/** Safe beside others that publish, and to repeat. @throws FarmError STORE_CORRUPT where something needed cannot be read: nothing is removed then */
export async function prune(store: Store, options: PruneOptions): Promise<Pruned> {
  const { keep, graceMs, now, isDryRun } = options;
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const contents = await contentsOf(store, keep);
    const { state, generations, named, inputs } = contents;
    // What cannot be read may name anything.
    const fault = contents.lost ?? contents.faults[0] ?? (await lostEverything(store, state));
    if (fault !== undefined) throw fault;
    const notes = new Set([...named.values()].flatMap(noteOf));
    const isKept = ({ path, modified }: FileFacts) =>
      named.has(path) || notes.has(path) || inputs.has(path) || now.getTime() - modified.getTime() < graceMs;
    let gone: FileFacts[] = [];
    for await (const file of store.walk("blobs")) if (!isKept(file)) gone.push(file);
    const old = await oldGenerations(store, generations, isKept);
    for (const place of ["metadata/heads", VOUCHES_PLACE])
      for await (const file of store.walk(place)) if (!isKept(file)) gone.push(file);
    if (!isDryRun) {
      // A writer may have published meanwhile, and named again what was not named before.
      const newest = await readPublished(store, state);
      if (newest.head?.digest !== state.head?.digest) continue;
      // Of a writer that was killed: readers that begin at an older generation must not find it gone.
      if (state.head !== null) await pointTo(store, state.head);
      // Following the parents leads to an end, never to a hole.
      for (const { number } of old) await store.removeAll(`generations/${number}`);
      const isOld = ({ modified }: FileFacts) => now.getTime() - modified.getTime() >= graceMs;
      gone = await removeOld(store, gone, isOld);
      await requireStillThere(store, state, gone);
    }
    const files = [...gone, ...old.flatMap((one) => one.files)];
    return {
      generations: old.map(({ number }) => number),
      files: files.length,
      bytes: files.reduce((sum, { size }) => sum + size, 0),
      kept: { generations: generations.length, files: named.size },
    };
  }
  throw new FarmError("STORE_CONFLICT", {
    detail: `${store.place}: something was published during each of ${MOST_TRIES} looks at it`,
    hint: "Nothing was removed. Prune it when less is published.",
  });
}

const MOST_TRIES = 10;

/** Blobs that no generation names are all that is left of one, or what a first night is about to publish. */
async function lostEverything(store: Store, { head }: Published): Promise<FarmError | undefined> {
  if (head !== null) return undefined;
  for (const place of ["view", "blobs"])
    for await (const { path } of store.walk(place))
      return corruptStore(store, `there is no generation, so nothing says whether ${path} is needed`, path);
  return undefined;
}

const AT_ONCE = 8;

/**
 * Asks of each file once more: a writer who stores the same bytes again makes it young, and is about to name it. Returns what
 * is gone.
 */
async function removeOld(
  store: Store,
  files: readonly FileFacts[],
  isOld: (file: FileFacts) => boolean,
): Promise<FileFacts[]> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  const gone = await queue.addAll(
    files.map((file) => async () => {
      const facts = await store.facts(file.path);
      if (facts === undefined || !isOld(facts)) return [];
      await store.remove(file.path);
      return [file];
    }),
  );
  return gone.flat();
}

/**
 * Between a question and a removal there is a moment left.
 * @throws FarmError STORE_CORRUPT where what was published meanwhile names what is gone
 */
async function requireStillThere(store: Store, before: Published, gone: readonly FileFacts[]): Promise<void> {
  const newest = await newestGeneration(store, before.head ?? undefined);
  if (newest === undefined || newest.head.digest === before.head?.digest) return;
  const { faults, named } = await contentsOf(store, 1);
  const [fault] = faults;
  if (fault !== undefined) throw fault;
  for (const { path } of gone)
    if (named.has(path) && (await store.facts(path)) === undefined)
      throw corruptStore(
        store,
        `generation ${newest.head.number}, published meanwhile, names ${path}, which is gone`,
        path,
      );
}

/** Where somebody vouched for a generation, if anybody did. */
function noteOf({ path, digest }: NamedFile): string[] {
  return digest !== undefined && GENERATION.test(path) ? [vouchPath(digest as Digest)] : [];
}

const GENERATION = /^generations\/\d+\/generation\.json$/;

/** Generations before those that stay, oldest first, all of whose files are old enough. */
async function oldGenerations(
  store: Store,
  kept: readonly number[],
  isKept: (file: FileFacts) => boolean,
): Promise<{ readonly number: number; readonly files: readonly FileFacts[] }[]> {
  const oldest = smallest(kept);
  const old: { number: number; files: FileFacts[] }[] = [];
  for (const name of await store.list("generations")) {
    if (!/^\d+$/.test(name) || Number(name) >= oldest) continue;
    const files: FileFacts[] = [];
    for await (const file of store.walk(`generations/${name}`)) files.push(file);
    if (!files.some(isKept)) old.push({ number: Number(name), files });
  }
  return old.toSorted((a, b) => a.number - b.number);
}
