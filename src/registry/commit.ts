/**
 * How everybody who writes publishes: a change is applied to the newest state, its new parts are stored, and the creation
 * of the next generation's document decides. Who comes second applies the change again, to what the first one left. Nobody
 * holds anything meanwhile, and a kill at any moment leaves one generation or the other.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { FarmError, toFarmError } from "../base/error.ts";
import { sha256, toDocument } from "../base/json.ts";
import { type Catalog, sameFacts } from "../catalog/catalog.ts";
import { historyBefore, lacksHistory } from "./backfill.ts";
import { putBlob } from "./blobs.ts";
import { Generation, type Part, type Published } from "./documents.ts";
import { generationPath, movePointer, pointTo, readPublished, requireGeneration } from "./generations.ts";
import { isShownFresh, publishHead } from "./head.ts";
import { historyAfter } from "./history.ts";
import { packed } from "./packed.ts";
import { differenceOf, hasSame, NOTHING_PUBLISHED, type PartContent, partsOf } from "./parts.ts";
import {
  requireDocument,
  requireHeadable,
  requireIndexable,
  requireReadable,
  requireStanding,
} from "./readable.ts";
import { withEditions } from "./sets.ts";
import type { Store } from "./stores/store.ts";
import {
  type Announcement,
  announce,
  clientPlacesOf,
  hasClientView,
  placesOf,
  readAnnounced,
  showAnnounced,
} from "./view.ts";
import { type HeadMaker, openVoucher, readVouched, type Voucher, vouchFor } from "./vouched.ts";

/**
 * What to say, computed anew from whatever state it is applied to; the same state when there is nothing to say. It may be
 * applied several times: no builds and no boots in here.
 */
export type Change<T> = (state: Published) => Changed<T> | Promise<Changed<T>>;

export interface Changed<T> {
  readonly state: Published;
  /** The state with what is no news by itself: it is published instead, where there is news. */
  readonly beside?: Published;
  readonly result: T;
}

/** Who makes a generation, by which command, and when. */
export interface Author {
  readonly who: string;
  readonly what: string;
  readonly now: () => Date;
  /** Who signs the head; without one nodes do not hear of what is published. */
  readonly head?: HeadMaker;
  /** Whether the registry is to have the view for others' clients. One that has it keeps it, whoever publishes. */
  readonly wantsClientView?: boolean;
}

export interface Committed<T> extends Changed<T> {
  /** Brings head and view up to it. Returns how many artifacts were written there. */
  readonly show: () => Promise<number>;
}

/** Each try that is lost was won by another writer. */
const MOST_TRIES = 40;
const LONGEST_PAUSE_MS = 200;

/** Publishes a change, and shows it. @throws as `commit` */
export async function publish<T>(store: Store, change: Change<T>, author: Author): Promise<Changed<T>> {
  const { state, result, show } = await commit(store, change, author);
  await show();
  return { state, result };
}

/** A published generation stays: the next writer completes what fails afterwards. */
async function afterwards<T>(number: number, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const { code, message, at } = toFarmError(thrown);
    throw new FarmError(code, {
      detail: `generation ${number} is published, but ${what} could not be updated: ${message}`,
      hint: "Once the store can be written to, run the same command again, or any that publishes: it updates what is left.",
      at,
      cause: thrown,
    });
  }
}

/** What the caller of a commit read before: only what is new is read again. */
export interface Known {
  readonly state: Published;
  /** Whether it counts as the newest state where a change says nothing new of it: nobody is asked then. */
  readonly isNewest: boolean;
}

/**
 * Publishes a change.
 * @throws FarmError STORE_CONFLICT after many losses; STORE_CORRUPT, GENERATION_UNVOUCHED, METADATA_ROLLED_BACK,
 * REGISTRY_TOO_LARGE, and what the change itself throws
 */
export async function commit<T>(
  store: Store,
  change: Change<T>,
  author: Author,
  known?: Known,
): Promise<Committed<T>> {
  const base = new Base(store, author, known);
  for (let tries = 1; ; tries++) {
    const before = await base.state();
    const { state: news, result, beside } = await change(before);
    const since = async (said: Published, past: Published["history"]) => {
      const grown = await withEditions(store, before, said);
      return { ...grown, history: historyAfter(past, before, grown) };
    };
    let state = await since(news, news.history);
    let fresh = await freshParts(before, state);
    if (fresh === undefined) return { state: before, result, show: () => showLeft(base, before, author) };
    if (!(await base.isNewest())) continue;
    if (beside !== undefined || lacksHistory(before)) {
      const said = beside ?? news;
      state = await since(said, lacksHistory(before) ? await historyBefore(store, before) : said.history);
      fresh = (await freshParts(before, state)) ?? fresh;
    }
    requireStanding(before, state);
    const voucher = await base.voucher();
    if (voucher?.counting !== undefined) {
      requireHeadable(state, voucher.counting.origin);
      requireIndexable(state);
    }
    const { parts, bytes } = fresh;
    await storeParts(store, bytes);
    const generation: Generation = {
      schema: "kmodfarm.generation/2",
      number: (before.head?.number ?? 0) + 1,
      parent: before.head,
      publishedAt: author.now().toISOString(),
      by: { who: author.who, what: author.what },
      difference: differenceOf(before, state),
      parts,
    };
    const text = toDocument(generation);
    requireDocument(Generation, generationPath(generation.number), text);
    const head = { number: generation.number, digest: sha256(text) };
    // Said before it is published: a kill in between is made good by the next writer.
    const places = placesOf(statesShown(before), state);
    if (await hasClientView(store)) places.push(...clientPlacesOf(before, state));
    else if (author.wantsClientView === true) places.push(...clientPlacesOf(undefined, state));
    const announcement = await announce(store, head, places);
    if (voucher !== undefined) await vouchFor(store, head, before.head, voucher);
    // What follows a generation that is gone would never be found.
    if (before.head !== null) await requireGeneration(store, before.head);
    if (await isCreated(store, generation.number, text)) {
      await store.kept?.keep(head.digest, Buffer.from(text));
      await afterwards(head.number, "the pointer", () => movePointer(store, head));
      const published = { ...state, head, parts };
      return { state: published, result, show: () => showAll(store, published, voucher, announcement) };
    }
    if (announcement.places.length > 0) await store.remove(announcement.path);
    if (tries === MOST_TRIES)
      throw new FarmError("STORE_CONFLICT", {
        detail: `${store.place}: another process published first, ${tries} times`,
      });
    // Of those that lost together each waits for another time.
    await sleep(Math.random() * Math.min(LONGEST_PAUSE_MS, 10 * tries));
    base.lost();
  }
}

/** The state that a change is applied to, and who vouches for it: each is read when it is needed, and not before. */
class Base {
  readonly store: Store;
  readonly #maker: HeadMaker | undefined;
  #voucher: Promise<Voucher> | undefined;
  #state: Published | undefined;
  #isBelieved: boolean;
  /** Whether this commit itself looked for what came after the state. */
  #isRead = false;

  constructor(store: Store, { head }: Author, known: Known | undefined) {
    this.store = store;
    this.#maker = head;
    this.#state = known?.state.head === null ? undefined : known?.state;
    this.#isBelieved = known?.isNewest ?? false;
  }

  async voucher(): Promise<Voucher | undefined> {
    if (this.#maker !== undefined) this.#voucher ??= openVoucher(this.store, this.#maker);
    return this.#voucher;
  }

  async state(): Promise<Published> {
    if (this.#state !== undefined && (this.#isRead || this.#isBelieved)) return this.#state;
    return this.#read();
  }

  /** Looks whether anything came after the state, if that was not done yet: `state` has it then. */
  async isNewest(): Promise<boolean> {
    if (this.#isRead) return true;
    const before = this.#state;
    return (await this.#read()) === before;
  }

  /** Another writer published upon the state. */
  lost(): void {
    this.#isRead = false;
    this.#isBelieved = false;
  }

  async #read(): Promise<Published> {
    const voucher = await this.voucher();
    const known = this.#state;
    this.#state =
      voucher === undefined
        ? await readPublished(this.store, known)
        : await readVouched(this.store, voucher, known);
    this.#isRead = true;
    return this.#state;
  }
}

/** What is published, for nodes: the head, if somebody signs one, and the places of the view that were announced. */
async function showAll(
  store: Store,
  state: Published,
  voucher: Voucher | undefined,
  announcement: Announcement | undefined,
): Promise<number> {
  if (state.head === null) return 0;
  const { number } = state.head;
  if (voucher !== undefined) await afterwards(number, "the head", () => publishHead(store, state, voucher));
  if (announcement === undefined) return 0;
  const { written, newest } = await afterwards(number, "the view", () =>
    showAnnounced(store, announcement, state),
  );
  // Whoever published meanwhile may have moved the pointer before we did.
  const last = newest.head;
  if (last !== null && last.number > number)
    await afterwards(last.number, "the pointer", () => pointTo(store, last));
  return written;
}

/**
 * Where there was nothing to say: what the writer of the newest generation announced and did not live to show. Whoever
 * publishes next looks for what those before left.
 */
async function showLeft(
  base: Base,
  state: Published,
  { now, wantsClientView = false }: Author,
): Promise<number> {
  const { store } = base;
  const { head } = state;
  if (head === null) return 0;
  let left = isWhole(state)
    ? await announce(store, head, placesOf(statesShown(state), state))
    : await readAnnounced(store, head);
  if (wantsClientView && !(await hasClientView(store)))
    left = await announce(store, head, [...(left?.places ?? []), ...clientPlacesOf(undefined, state)]);
  if (left === undefined && isShownFresh(store, state, now())) return 0;
  if (left !== undefined) await afterwards(head.number, "the pointer", () => pointTo(store, head));
  return showAll(store, state, await base.voucher(), left);
}

/** What the view may show of. An earlier version announced nothing, and may have been killed before it showed what it published. */
function statesShown(before: Published): readonly Published[] {
  return isWhole(before) ? [before, NOTHING_PUBLISHED] : [before];
}

/** Of a version that wrote every generation whole. */
function isWhole({ head, parts }: Published): boolean {
  return head !== null && Object.keys(parts).length === 0;
}

/** Whether the generation is ours. An answer that was lost on the way is found in the store. */
async function isCreated(store: Store, number: number, text: string): Promise<boolean> {
  const path = generationPath(number);
  try {
    return await store.create(path, text);
  } catch (thrown) {
    const there = await store.read(path).catch(() => undefined); // The first error says more.
    if (there === undefined) throw thrown;
    return there.equals(Buffer.from(text));
  }
}

interface FreshParts {
  readonly parts: Record<string, Part>;
  /** What is not stored yet. */
  readonly bytes: readonly Buffer[];
}

/** Where all parts are once those that changed are stored; undefined when none did. */
async function freshParts(before: Published, after: Published): Promise<FreshParts | undefined> {
  const [then, now] = [partsOf(before), partsOf(after)];
  const parts: Record<string, Part> = {};
  const fresh: Buffer[] = [];
  let isNews = [...then.keys()].some((name) => !now.has(name));
  for (const [name, content] of now) {
    const [old, stored] = [then.get(name), before.parts[name]];
    const isOld = old !== undefined && hasSame(old.items, content.items);
    if (isOld && stored !== undefined) {
      parts[name] = stored;
      continue;
    }
    const text = toDocument(content.document());
    requireReadable(name, text);
    const bytes = await packed(text);
    parts[name] = { digest: sha256(bytes), size: bytes.length };
    if (parts[name].digest !== stored?.digest) fresh.push(bytes);
    isNews ||= !isOld && (old === undefined || !saysTheSame(name, old, text));
  }
  return isNews ? { parts, bytes: fresh } : undefined;
}

async function storeParts(store: Store, parts: readonly Buffer[]): Promise<void> {
  const put = async (bytes: Buffer) => {
    const digest = await putBlob(store, bytes);
    await store.kept?.keep(digest, bytes);
  };
  await Promise.all(parts.map(put));
}

/** Whether a part written down says what the old one does. When sources were asked last is no news. */
function saysTheSame(name: string, old: PartContent, text: string): boolean {
  if (toDocument(old.document()) === text) return true;
  return name === "sources" && sameFacts(old.document() as Pick<Catalog, "sources">, JSON.parse(text));
}
