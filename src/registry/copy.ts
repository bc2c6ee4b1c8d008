/**
 * Copying a whole registry from one store to another, of whatever kinds. What is named by its digest goes first and is
 * checked; generations follow in their order, and what leads to them is last: a copy that was broken off is a registry
 * of fewer generations at any moment, and the same command goes on from there.
 */
import { rm } from "node:fs/promises";
import PQueue from "p-queue";
import { FarmError, toFarmError } from "../base/error.ts";
import { smallest } from "../base/extremes.ts";
import { writeHashed } from "../base/file-digest.ts";
import { hexOf, sha256 } from "../base/json.ts";
import type { Scratch } from "../base/scratch.ts";
import { VOUCHES_PLACE } from "../provenance/vouch.ts";
import { digestAt } from "./blobs.ts";
import { CLIENT_VIEW, clientFiles } from "./client-view.ts";
import { readPublished } from "./generations.ts";
import { corruptStore } from "./stored.ts";
import type { FileFacts, Store } from "./stores/store.ts";
import { viewFiles } from "./view.ts";

export interface Copied {
  readonly files: number;
  readonly bytes: number;
  /** What was there already. */
  readonly kept: number;
  /** What was there and must not be shown any more. */
  readonly removed: number;
}

/** What people and nodes are shown, and notes of what is to be shown: all of it is as in the store that is copied. */
const SHOWN = ["view", CLIENT_VIEW, "marks"];

const AT_ONCE = 8;
/** What is larger goes through a file of this machine. */
const IN_MEMORY_BYTES = 8 << 20;

/** @throws FarmError STORE_CONFLICT where the other store holds another registry; STORE_CORRUPT, and what stores throw */
export async function copyStore(from: Store, to: Store, scratch: Scratch): Promise<Copied> {
  const done = { files: 0, bytes: 0, kept: 0, removed: 0 };
  const count = (size: number, isNew: boolean) => {
    if (!isNew) done.kept++;
    else {
      done.files++;
      done.bytes += size;
    }
  };
  // What is published meanwhile comes with the next copy: the pointer that was read first leads to nothing newer.
  const pointers = [...(await filesOf(from, "channels")), ...(await filesOf(from, "metadata"))].filter(
    ({ file }) => !file.path.startsWith(`${VOUCHES_PLACE}/`),
  );
  const generations = await generationsOf(from);
  await refuseAnother(from, to, generations);
  /** What only the target has. */
  const onlyThere = new Set<string>();
  const gone: string[] = [];
  for (const top of ["blobs", "private"]) {
    // One question for a thousand files, instead of one for each.
    const there = new Map<string, number>();
    for await (const { path, size } of to.walk(top)) {
      there.set(path, size);
      onlyThere.add(path);
    }
    await inParallel(from.walk(top), async (file) => {
      onlyThere.delete(file.path);
      const open = file.path.replace(/^private\//, "blobs/");
      if (top === "private" && onlyThere.has(open)) gone.push(open);
      const isNew = there.get(file.path) !== file.size;
      if (isNew) await copyDigested(from, to, file, scratch);
      count(file.size, isNew);
    });
  }
  // Whoever finds a generation finds the note that vouches for it.
  await inParallel(from.walk(VOUCHES_PLACE), async (file) =>
    count(file.size, await copyNamed(from, to, file, scratch)),
  );
  for (const { path, size } of generations) {
    const bytes = await readThere(from, path);
    const isNew = await to.create(path, bytes);
    if (!isNew && !(await readThere(to, path)).equals(bytes)) throw another(from, to, path);
    count(size, isNew);
  }
  const isLast = ({ path }: FileFacts) => !/^(blobs|private|generations|channels|metadata)\//.test(path);
  const last = new Set<string>();
  await inParallel(from.walk(""), async (file) => {
    if (!isLast(file)) return;
    last.add(file.path);
    count(file.size, await copyNamed(from, to, file, scratch));
  });
  // Before anything leads to it: what was withdrawn, or may not be passed on any more.
  const wanted = await shownBy(from);
  if (wanted !== undefined)
    for (const top of SHOWN)
      for await (const { path } of to.walk(top)) if (!last.has(path) && !wanted.has(path)) gone.push(path);
  for (const path of gone) {
    await to.remove(path);
    done.removed++;
  }
  for (const { file, bytes } of pointers) {
    const isNew = !(await readThere(to, file.path).catch(() => undefined))?.equals(bytes);
    if (isNew) await to.write(file.path, bytes);
    count(file.size, isNew);
  }
  return done;
}

/** What a store should show, whether it has it or lost it; undefined where that cannot be read. */
async function shownBy(store: Store): Promise<ReadonlySet<string> | undefined> {
  try {
    const state = await readPublished(store);
    const files = state.indices.flatMap(({ stable }) => stable.flatMap((entry) => viewFiles(entry)));
    return new Set([...files.map(([path]) => path), ...clientFiles(state).keys()]);
  } catch (thrown) {
    if (toFarmError(thrown).blame !== "integrity") throw thrown;
    return undefined;
  }
}

async function filesOf(store: Store, path: string): Promise<{ file: FileFacts; bytes: Buffer }[]> {
  const found: { file: FileFacts; bytes: Buffer }[] = [];
  for await (const file of store.walk(path)) found.push({ file, bytes: await readThere(store, file.path) });
  return found;
}

async function generationsOf(store: Store): Promise<FileFacts[]> {
  const found: FileFacts[] = [];
  for await (const file of store.walk("generations")) found.push(file);
  return found.toSorted((a, b) => numberOf(a) - numberOf(b));
}

function numberOf({ path }: FileFacts): number {
  return Number(path.split("/")[1]);
}

/** Before anything is written: two histories must not be mixed. */
async function refuseAnother(from: Store, to: Store, generations: readonly FileFacts[]): Promise<void> {
  const known = new Map(generations.map((one) => [one.path, one.size]));
  const oldest = generations.length === 0 ? 0 : smallest(generations.map(numberOf));
  for (const one of await generationsOf(to)) {
    // Those before the oldest were pruned where it comes from.
    if (numberOf(one) >= oldest && known.get(one.path) !== one.size) throw another(from, to, one.path);
  }
}

function another(from: Store, to: Store, path: string): FarmError {
  return new FarmError("STORE_CONFLICT", {
    detail: `${to.place} has another ${path} than ${from.place}, or one that is not there`,
    hint: "Copy into a place where no other registry is.",
  });
}

async function copyDigested(
  from: Store,
  to: Store,
  { path, size }: FileFacts,
  scratch: Scratch,
): Promise<void> {
  const digest = path.split("/").at(-1);
  await using taken = await takeFile(from, path, size, scratch);
  if (taken.digest !== digest) throw corruptStore(from, `${path} is missing or damaged`, path);
  await taken.put(to);
}

/** Whether it was otherwise there. */
async function copyNamed(
  from: Store,
  to: Store,
  { path, size }: FileFacts,
  scratch: Scratch,
): Promise<boolean> {
  await using taken = await takeFile(from, path, size, scratch);
  if ((await to.facts(path))?.size === size && (await digestAt(to, path)) === `sha256:${taken.digest}`)
    return false;
  await taken.put(to);
  return true;
}

/** A file on its way: small ones in memory, larger ones as a file of this machine. */
interface Taken extends AsyncDisposable {
  /** Hexadecimal. */
  readonly digest: string;
  put(to: Store): Promise<void>;
}

async function takeFile(from: Store, path: string, size: number, scratch: Scratch): Promise<Taken> {
  if (size <= IN_MEMORY_BYTES) {
    const bytes = await readThere(from, path);
    return {
      digest: hexOf(sha256(bytes)),
      put: (to) => to.write(path, bytes),
      [Symbol.asyncDispose]: async () => {},
    };
  }
  const body = await from.stream(path);
  if (body === undefined) throw corruptStore(from, `${path} is missing or damaged`, path);
  const file = scratch.path();
  const remove = () => rm(file, { force: true });
  try {
    const digest = hexOf(await writeHashed(body, file));
    return { digest, put: (to) => to.writeFile(path, file), [Symbol.asyncDispose]: remove };
  } catch (thrown) {
    await remove();
    throw thrown;
  }
}

async function readThere(store: Store, path: string): Promise<Buffer> {
  const bytes = await store.read(path);
  if (bytes === undefined) throw corruptStore(store, `${path} is missing or damaged`, path);
  return bytes;
}

async function inParallel(
  files: AsyncIterable<FileFacts>,
  work: (file: FileFacts) => Promise<void>,
): Promise<void> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  const faults: unknown[] = [];
  for await (const file of files) {
    await queue.onSizeLessThan(AT_ONCE);
    if (faults.length > 0) break;
    void queue.add(() => work(file)).catch((thrown: unknown) => faults.push(thrown));
  }
  await queue.onIdle();
  if (faults.length > 0) throw faults[0];
}
