/**
 * Publishing the head: every published generation gets one. Writers agree by creating `metadata/heads/<serial>`, each serial
 * once; `metadata/head` shows the newest of these. A killed writer's head is shown by the next one.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import { HEAD_PATH, type Head, type IndexRoot, writeHead } from "../provenance/head.ts";
import { toTime } from "../provenance/lines.ts";
import {
  type IndexPlace,
  levelsOf,
  NODE_LIMIT_BYTES,
  readNode,
  type WrittenIndex,
  writeIndex,
} from "../provenance/node-index.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import { noteSignature, writeNote } from "../provenance/signed-note.ts";
import { checkSigned, type Trust } from "../provenance/trust.ts";
import { blobPath, putBlob, readBlob } from "./blobs.ts";
import type { Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { type FoundHead, readHeadAt, readTrusts } from "./metadata.ts";
import { nodeIndices, unsizedBlobs } from "./node-index.ts";
import { corruptStore } from "./stored.ts";
import type { Store } from "./stores/store.ts";

/** Who signs heads. */
export interface HeadMaker {
  readonly now: () => Date;
  /** Signatures of the text of a head, by every key that may sign one. */
  readonly sign: (
    text: string,
  ) => Promise<readonly { readonly key: PublicKey; readonly signature: Uint8Array }[]>;
  /**
   * Keys of a farm that nobody chose, by their fingerprints: where the root trusts none of them, heads are left to those whose
   * keys it trusts.
   */
  readonly unchosen?: () => Promise<readonly Digest[]>;
}

/** How long nodes believe a head. It is renewed when half of that is over. */
const LIFETIME_MS = 7 * 24 * 3600_000;
const MOST_TRIES = 40;
const AT_ONCE = 8;

export function serialPath(serial: number): string {
  return `metadata/heads/${serial}`;
}

/**
 * Sees to it that nodes find what is published: signs a head if the newest one is of an earlier generation, or would expire
 * soon. Returns the newest head; undefined for a store without a root, which nodes cannot read.
 * @throws FarmError METADATA_UNSIGNED where the farm's key is not one that the root trusts; STORE_CONFLICT, STORE_CORRUPT
 */
export async function publishHead(
  store: Store,
  known: Published,
  maker: HeadMaker,
): Promise<Head | undefined> {
  const trusts = await readTrusts(store);
  const trust = trusts.at(-1);
  if (trust === undefined) return undefined;
  const unchosen = await maker.unchosen?.();
  if (unchosen !== undefined && !trustsAny(trust, unchosen)) return undefined;
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const last = await newestHead(store, trusts);
    // Read after the head, so that generations never fall from one head to the next.
    const state = await readPublished(store, known);
    if (state.head === null) return undefined;
    const isGood = last !== undefined && isAbout(last.head, state) && isFresh(last, trust, maker.now());
    const made = isGood ? last : await makeHead(store, state, { trust, last: last?.head, maker });
    if (made === undefined) continue;
    if (await isShown(store, made, trusts)) return made.head;
  }
  throw new FarmError("STORE_CONFLICT", {
    detail: `${store.place}: other processes published heads first, ${MOST_TRIES} times`,
  });
}

export function trustsAny({ roles }: Trust, fingerprints: readonly Digest[]): boolean {
  return roles.head.keys.some((one) => fingerprints.includes(one));
}

function isAbout({ generation }: Head, state: Published): boolean {
  return generation.digest === state.head?.digest;
}

/** Signed by a key that is trusted now, and not half over. */
function isFresh({ head, note }: FoundHead, trust: Trust, now: Date): boolean {
  try {
    checkSigned(trust, "head", note, "the last head");
  } catch {
    return false;
  }
  return Date.parse(head.expires) - now.getTime() > LIFETIME_MS / 2;
}

/** The newest head that any root trusts. @throws FarmError STORE_CORRUPT, NOTE_MALFORMED, METADATA_UNSIGNED */
async function newestHead(store: Store, trusts: readonly Trust[]): Promise<FoundHead | undefined> {
  let newest = (await readHeadAt(store, trusts)) ?? (await fromSerials(store, trusts));
  for (;;) {
    const serial = (newest?.head.serial ?? 0) + 1;
    const next = await headOf(store, trusts, serial);
    if (next === undefined) return newest;
    newest = next;
  }
}

async function headOf(
  store: Store,
  trusts: readonly Trust[],
  serial: number,
): Promise<FoundHead | undefined> {
  const path = serialPath(serial);
  const found = await readHeadAt(store, trusts, path);
  if (found !== undefined && found.head.serial !== serial)
    throw corruptStore(store, `${path} has the serial ${found.head.serial}`, path);
  return found;
}

/** The head itself may be lost; serials must not begin anew. */
async function fromSerials(store: Store, trusts: readonly Trust[]): Promise<FoundHead | undefined> {
  const names = await store.list("metadata/heads");
  const serials = names.filter((name) => /^[1-9]\d{0,8}$/.test(name)).map(Number);
  return serials.length === 0 ? undefined : headOf(store, trusts, Math.max(...serials));
}

/** The newest head by its serial: what nodes begin with is a copy of it. @throws as `readHeadAt` */
export async function headBySerial(store: Store): Promise<FoundHead | undefined> {
  return fromSerials(store, await readTrusts(store));
}

interface Making {
  readonly trust: Trust;
  readonly last: Head | undefined;
  readonly maker: HeadMaker;
}

/** Undefined if another writer had the serial first. */
async function makeHead(
  store: Store,
  state: Published,
  { trust, last, maker }: Making,
): Promise<FoundHead | undefined> {
  const generation = state.head as NonNullable<Published["head"]>;
  const isSame = last !== undefined && isAbout(last, state);
  const indices = isSame ? last.indices : await publishIndices(store, state, last?.indices ?? []);
  const now = toTime(maker.now());
  const issued = last === undefined || last.issued < now ? now : last.issued;
  const head: Head = {
    origin: trust.origin,
    serial: (last?.serial ?? 0) + 1,
    issued,
    expires: toTime(new Date(Date.parse(issued) + LIFETIME_MS)),
    ...{ generation, indices },
  };
  const text = writeHead(head);
  const signed = await maker.sign(text);
  const note = {
    text,
    signatures: signed.map(({ key, signature }) => noteSignature(trust.origin, key, signature)),
  };
  checkSigned(trust, "head", note, `the new head of ${store.place}`);
  return (await store.create(serialPath(head.serial), writeNote(note))) ? { head, note } : undefined;
}

/** Shows a head unless a newer one is shown; false if there is a newer one by now. */
async function isShown(store: Store, { head, note }: FoundHead, trusts: readonly Trust[]): Promise<boolean> {
  const there = await readHeadAt(store, trusts);
  if (there === undefined || there.head.serial < head.serial) await store.write(HEAD_PATH, writeNote(note));
  return (await headOf(store, trusts, head.serial + 1)) === undefined;
}

// --- The node index -------------------------------------------------------------------------------------------------

/** Writes what of the node index is not there yet. @throws what stores throw */
async function publishIndices(
  store: Store,
  state: Published,
  before: readonly IndexRoot[],
): Promise<IndexRoot[]> {
  const roots: IndexRoot[] = [];
  for (const { files, ...root } of await writtenIndices(store, state)) {
    const old = before.find(({ driver, machine }) => driver === root.driver && machine === root.machine);
    await putFiles(store, await newFiles(store, root, { ...root, files }, old));
    roots.push(root);
  }
  return roots;
}

const TEXTS = new WeakMap<Published, Promise<ReadonlyMap<string, string>>>();

/** Every file of the node index of a state, by its digest. */
export function indexTexts(store: Store, state: Published): Promise<ReadonlyMap<string, string>> {
  const known =
    TEXTS.get(state) ??
    writtenIndices(store, state).then((all) => new Map(all.flatMap(({ files }) => [...files])));
  TEXTS.set(state, known);
  return known;
}

async function writtenIndices(store: Store, state: Published) {
  const sizes = await sizesOf(store, unsizedBlobs(state));
  return nodeIndices(state, (digest) => sizes.get(digest)).map(({ driver, machine, floor, blocks }) => ({
    ...{ driver, machine, ...(floor === undefined ? {} : { floor }) },
    ...writeIndex({ driver, machine }, blocks),
  }));
}

async function putFiles(store: Store, files: readonly string[]): Promise<void> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  await Promise.all(files.map((text) => queue.add(() => putBlob(store, text))));
}

/** Files of an index that the one before did not have. */
async function newFiles(
  store: Store,
  place: IndexPlace,
  { files, top, widths }: WrittenIndex,
  before: IndexRoot | undefined,
): Promise<string[]> {
  const found = new Map<Digest, string>();
  const compare = async (
    now: Digest,
    then: Digest | undefined,
    prefix: string,
    levels: readonly number[],
  ) => {
    if (now === then) return;
    const text = files.get(now) as string;
    const [width, ...deeper] = levels;
    if (width !== undefined) {
      const old =
        then === undefined ? new Map<string, Digest>() : await childrenOf(store, place, then, prefix, width);
      for (const [digits, child] of readNode(Buffer.from(text), place, prefix, width, "a new node"))
        await compare(child, old.get(digits), `${prefix}${digits}`, deeper);
    }
    found.set(now, text);
  };
  await compare(top, before?.widths === widths ? before.top : undefined, "", levelsOf(widths));
  return [...found.values()];
}

/** None where the old file cannot be read: all below it is written again. */
async function childrenOf(store: Store, place: IndexPlace, digest: Digest, prefix: string, width: number) {
  try {
    return readNode(await readBlob(store, digest, NODE_LIMIT_BYTES), place, prefix, width, digest);
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.blame === "integrity") return new Map<string, Digest>();
    throw thrown;
  }
}

/** A blob never changes, so each is asked for once as long as its store is open. */
const SIZES = new WeakMap<Store, Map<string, number>>();

async function sizesOf(store: Store, digests: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
  const sizes = SIZES.get(store) ?? new Map<string, number>();
  SIZES.set(store, sizes);
  const queue = new PQueue({ concurrency: AT_ONCE });
  const ask = async (digest: string) => {
    const facts = await store.facts(blobPath(digest));
    if (facts !== undefined) sizes.set(digest, facts.size);
  };
  await Promise.all([...digests].filter((one) => !sizes.has(one)).map((one) => queue.add(() => ask(one))));
  return sizes;
}
