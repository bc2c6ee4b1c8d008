/**
 * Copying a whole registry from one store to another, of whatever kinds. What is named by its digest goes first and is
 * checked; generations follow in their order, and what leads to them is last: a copy that was broken off is a registry
 * of fewer generations at any moment, and the same command goes on from there.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import { hexOf, sha256 } from "../base/json.ts";
import type { Scratch } from "../base/scratch.ts";
import { corruptStore } from "./stored.ts";
import type { FileFacts, Store } from "./stores/store.ts";

export interface Copied {
  readonly files: number;
  readonly bytes: number;
  /** What was there already. */
  readonly kept: number;
}

const AT_ONCE = 8;
/** What is larger goes through a file of this machine. */
const IN_MEMORY_BYTES = 8 << 20;

/** @throws FarmError STORE_CONFLICT where the other store holds another registry; STORE_CORRUPT, and what stores throw */
export async function copyStore(from: Store, to: Store, scratch: Scratch): Promise<Copied> {
  await to.prepare();
  const done = { files: 0, bytes: 0, kept: 0 };
  const count = (size: number, isNew: boolean) => {
    if (!isNew) done.kept++;
    else {
      done.files++;
      done.bytes += size;
    }
  };
  // What is published meanwhile comes with the next copy: the pointer that was read first leads to nothing newer.
  const pointers = [...(await filesOf(from, "channels")), ...(await filesOf(from, "metadata"))];
  const generations = await generationsOf(from);
  await refuseAnother(from, to, generations);
  for (const top of ["blobs", "private"])
    await inParallel(from.walk(top), async (file) =>
      count(file.size, await copyDigested(from, to, file, scratch)),
    );
  for (const { path, size } of generations) {
    const bytes = await readThere(from, path);
    const isNew = await to.create(path, bytes);
    if (!isNew && !(await readThere(to, path)).equals(bytes)) throw another(from, to, path);
    count(size, isNew);
  }
  const isLast = ({ path }: FileFacts) => !/^(blobs|private|generations|channels|metadata)\//.test(path);
  await inParallel(from.walk(""), async (file) => {
    if (isLast(file)) count(file.size, await copyNamed(to, file, await readThere(from, file.path)));
  });
  for (const { file, bytes } of pointers) count(file.size, await copyNamed(to, file, bytes));
  return done;
}

async function filesOf(store: Store, path: string): Promise<{ file: FileFacts; bytes: Buffer }[]> {
  const found: { file: FileFacts; bytes: Buffer }[] = [];
  for await (const file of store.walk(path)) found.push({ file, bytes: await readThere(store, file.path) });
  return found;
}

async function generationsOf(store: Store): Promise<FileFacts[]> {
  const found: FileFacts[] = [];
  for await (const file of store.walk("generations")) found.push(file);
  const numberOf = ({ path }: FileFacts) => Number(path.split("/")[1]);
  return found.toSorted((a, b) => numberOf(a) - numberOf(b));
}

/** Before anything is written: two histories must not be mixed. */
async function refuseAnother(from: Store, to: Store, generations: readonly FileFacts[]): Promise<void> {
  const known = new Map(generations.map((one) => [one.path, one.size]));
  for (const { path, size } of await generationsOf(to))
    if (known.get(path) !== size) throw another(from, to, path);
}

function another(from: Store, to: Store, path: string): FarmError {
  return new FarmError("STORE_CONFLICT", {
    detail: `${to.place} has another ${path} than ${from.place}, or one that is not there`,
    hint: "Copy into a place where no other registry is.",
  });
}

/** Whether it was new there. */
async function copyDigested(
  from: Store,
  to: Store,
  { path, size }: FileFacts,
  scratch: Scratch,
): Promise<boolean> {
  if ((await to.facts(path))?.size === size) return false;
  const digest = path.split("/").at(-1);
  const damaged = () => corruptStore(from, `${path} is missing or damaged`, path);
  if (size <= IN_MEMORY_BYTES) {
    const bytes = await readThere(from, path);
    if (hexOf(sha256(bytes)) !== digest) throw damaged();
    await to.write(path, bytes);
    return true;
  }
  const body = await from.stream(path);
  if (body === undefined) throw damaged();
  const [file, hash] = [scratch.path(), createHash("sha256")];
  const look = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  await pipeline(body, look, createWriteStream(file));
  if (hash.digest("hex") !== digest) throw damaged();
  await to.writeFile(path, file);
  await rm(file);
  return true;
}

async function copyNamed(to: Store, { path, size }: FileFacts, bytes: Buffer): Promise<boolean> {
  if ((await to.facts(path))?.size === size && (await readThere(to, path)).equals(bytes)) return false;
  await to.write(path, bytes);
  return true;
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
