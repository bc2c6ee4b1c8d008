/**
 * Removing what is no longer needed: generations beyond the newest, and blobs that none of those left names. What is
 * young stays whatever names it: a writer may be about to publish it.
 */
import { smallest } from "../base/extremes.ts";
import type { Digest } from "../base/json.ts";
import { VOUCHES_PLACE, vouchPath } from "../provenance/vouch.ts";
import { contentsOf, type NamedFile } from "./contents.ts";
import { pointTo, readPublished } from "./generations.ts";
import type { FileFacts, Store } from "./stores/store.ts";

export interface PruneOptions {
  /** How many generations stay. */
  readonly keep: number;
  readonly graceMs: number;
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
  for (;;) {
    const { state, generations, faults, named, inputs } = await contentsOf(store, keep);
    // What cannot be read may name anything.
    const [fault] = faults;
    if (fault !== undefined) throw fault;
    const notes = new Set([...named.values()].flatMap(noteOf));
    const isKept = ({ path, modified }: FileFacts) =>
      named.has(path) || notes.has(path) || inputs.has(path) || now.getTime() - modified.getTime() < graceMs;
    const gone: FileFacts[] = [];
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
      for (const { path } of gone) await store.remove(path);
    }
    const files = [...gone, ...old.flatMap((one) => one.files)];
    return {
      generations: old.map(({ number }) => number),
      files: files.length,
      bytes: files.reduce((sum, { size }) => sum + size, 0),
      kept: { generations: generations.length, files: named.size },
    };
  }
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
