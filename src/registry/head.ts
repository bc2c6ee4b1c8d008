/**
 * Publishing the head: every published generation gets one. Writers agree by creating `metadata/heads/<serial>`, each serial
 * once; `metadata/head` shows the newest of these. A killed writer's head is shown by the next one.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import { HEAD_PATH, type Head, type IndexRoot, writeHead } from "../provenance/head.ts";
import { toTime } from "../provenance/lines.ts";
import { type IndexPlace, levelsOf, NODE_LIMIT_BYTES, readNode } from "../provenance/node-index.ts";
import { noteSignature, writeNote } from "../provenance/signed-note.ts";
import { checkSigned, type Trust } from "../provenance/trust.ts";
import { type WrittenIndex, writeIndex } from "../provenance/write-node-index.ts";
import { blobPath, putBlob, readBlob } from "./blobs.ts";
import type { Published } from "./documents.ts";
import { readPublished } from "./generations.ts";
import { publishLog, showCheckpoint } from "./log.ts";
import { type FoundHead, readHeadAt } from "./metadata.ts";
import { nodeIndices, unsizedBlobs } from "./node-index.ts";
import { headOf, newestHead, serialPath } from "./serials.ts";
import type { Store } from "./stores/store.ts";
import { type HeadMaker, isSignedBy, requireVouched, shownHead, type Voucher } from "./vouched.ts";

/** How long nodes believe a head. It is renewed when half of that is over. */
const LIFETIME_MS = 7 * 24 * 3600_000;
const MOST_TRIES = 40;
const AT_ONCE = 8;

/**
 * Sees to it that nodes find what is published: signs a head if the newest one is of an earlier generation, or would expire
 * soon. Returns the newest head; undefined for a store without a root, which nodes cannot read.
 * @throws FarmError METADATA_UNSIGNED where the farm's key is not one that the root trusts; GENERATION_UNVOUCHED,
 * METADATA_ROLLED_BACK, STORE_CONFLICT, STORE_CORRUPT
 */
export async function publishHead(
  store: Store,
  known: Published,
  { maker, trusts, counting }: Voucher,
): Promise<Head | undefined> {
  const trust = trusts.at(-1);
  if (trust === undefined || (counting === undefined && !maker.isChosen)) return undefined;
  for (let tries = 1; tries <= MOST_TRIES; tries++) {
    const last = await newestHead(store, trusts);
    // Generations never fall from one head to the next. Who published a later one that has no head yet makes it.
    const isBehind = known.head === null || (last?.head.generation.number ?? 0) > known.head.number;
    const state = isBehind ? await readPublished(store, known) : known;
    if (state.head === null) return undefined;
    // Of another's head nothing is signed again, whatever the root in the store says of his key.
    const isOurs =
      last !== undefined && isSignedBy(counting ?? trust, last.note) && isAbout(last.head, state);
    const isGood = isOurs && isFresh(last, trust, maker.now());
    if (isGood && last.head.log !== undefined)
      await showCheckpoint(store, last.head.log, trust, maker.signCheckpoint);
    if (!isGood && counting !== undefined) await requireVouched(store, state.head, counting, last);
    const isOwn = last !== undefined && isSignedBy(counting ?? trust, last.note);
    const made = isGood
      ? last
      : await makeHead(store, state, { trust, last: last?.head, isOurs, isOwn, maker });
    if (made === undefined) continue;
    const shown = isGood ? await readHeadAt(store, trusts) : last;
    if (await isShown(store, made, shown, trusts)) return made.head;
  }
  throw new FarmError("STORE_CONFLICT", {
    detail: `${store.place}: other processes published heads first, ${MOST_TRIES} times`,
  });
}

function isAbout({ generation }: Head, state: Published): boolean {
  return generation.digest === state.head?.digest;
}

/** Whether nodes were shown a head of ours of a state, as far as it was seen, which need not be renewed yet. */
export function isShownFresh(store: Store, state: Published, now: Date): boolean {
  const shown = shownHead(store, state);
  return shown !== undefined && isFresh(shown, shown.trust, now);
}

/** With a log if the registry has one, and not half over. */
function isFresh({ head }: FoundHead, trust: Trust, now: Date): boolean {
  if ((head.log === undefined) !== (trust.roles.log === undefined)) return false;
  return Date.parse(head.expires) - now.getTime() > LIFETIME_MS / 2;
}

interface Making {
  readonly trust: Trust;
  readonly last: Head | undefined;
  /** Whether the last head is of the same generation, and signed by a key of ours. */
  readonly isOurs: boolean;
  /** Whether it is signed by a key of ours, whatever it is of. */
  readonly isOwn: boolean;
  readonly maker: HeadMaker;
}

/** Undefined if another writer had the serial first. */
async function makeHead(
  store: Store,
  state: Published,
  { trust, last, isOurs, isOwn, maker }: Making,
): Promise<FoundHead | undefined> {
  const generation = state.head as NonNullable<Published["head"]>;
  const indices =
    isOurs && last !== undefined ? last.indices : await publishIndices(store, state, last?.indices ?? []);
  const before = last?.log?.size ?? 0;
  const log =
    trust.roles.log === undefined
      ? undefined
      : await publishLog(store, state, { trust, before, sign: maker.signCheckpoint });
  const now = maker.now();
  const issued = toTime(new Date(Math.max(now.getTime(), isOwn ? issuedBefore(last, now) : 0)));
  const head: Head = {
    origin: trust.origin,
    serial: (last?.serial ?? 0) + 1,
    issued,
    expires: toTime(new Date(Date.parse(issued) + LIFETIME_MS)),
    ...{ generation, ...(log === undefined ? {} : { log }), indices },
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

/** Two clocks of one farm differ by no more than that. */
const CLOCKS_DIFFER_MS = 24 * 3600_000;

/**
 * When the last head was issued, which no later one may precede: milliseconds since 1970. A time that is still to come was a
 * wrong clock's: whoever copied it would sign for years what nodes may believe for days.
 */
function issuedBefore(last: Head | undefined, now: Date): number {
  const issued = Date.parse(last?.issued ?? "") || 0;
  return issued > now.getTime() + CLOCKS_DIFFER_MS ? 0 : issued;
}

/** Shows a head unless as new a one was; false if there is a newer one by now, which the next try shows. */
async function isShown(
  store: Store,
  { head, note }: FoundHead,
  there: FoundHead | undefined,
  trusts: readonly Trust[],
): Promise<boolean> {
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
  for (const { files, cut: _, ...root } of await writtenIndices(store, state)) {
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

/** How many answers about kernels that nobody vouches for nodes do not get, so that they can read the others. */
export async function leftOut(store: Store, state: Published): Promise<number> {
  return (await writtenIndices(store, state)).reduce((sum, { cut }) => sum + cut, 0);
}

async function writtenIndices(store: Store, state: Published) {
  const sizes = await sizesOf(store, unsizedBlobs(state));
  return nodeIndices(state, (digest) => sizes.get(digest)).map(
    ({ driver, machine, floor, blocks, claims }) => ({
      ...{ driver, machine, ...(floor === undefined ? {} : { floor }) },
      ...writeIndex({ driver, machine }, blocks, claims),
    }),
  );
}

async function putFiles(store: Store, files: readonly string[]): Promise<void> {
  const queue = new PQueue({ concurrency: AT_ONCE });
  const put = async (text: string) => {
    const digest = await putBlob(store, text);
    // The next head is compared with this one.
    await store.kept?.keep(digest, Buffer.from(text));
  };
  await Promise.all(files.map((text) => queue.add(() => put(text))));
}

/** Files of an index that the one before did not have. */
async function newFiles(
  store: Store,
  place: IndexPlace,
  { files, top, widths }: Omit<WrittenIndex, "cut">,
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
    const bytes = (await store.kept?.read(digest)) ?? (await readBlob(store, digest, NODE_LIMIT_BYTES));
    return readNode(bytes, place, prefix, width, digest);
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
