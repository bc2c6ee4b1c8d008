/**
 * Generations that somebody with a key vouches for: what a farm publishes upon, signs heads over, and signs modules of. The
 * signed head vouches for the generation that it names. Before there is one, so that a writer who is killed in between needs
 * nobody, the note does that he left before he published.
 */
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import { noteSignature, type SignedNote, writeNote } from "../provenance/signed-note.ts";
import { checkSigned, ROOT_LIMIT_BYTES, rootPath, type Trust, writeTrust } from "../provenance/trust.ts";
import { VOUCH_LIMIT_BYTES, verifiedVouch, vouchPath, writeVouch } from "../provenance/vouch.ts";
import type { Head as Generation, Published } from "./documents.ts";
import { type Found, newestGeneration, readPublished } from "./generations.ts";
import type { SignCheckpoint } from "./log.ts";
import { type FoundHead, readHeadAt, readNoteAt, readTrusts } from "./metadata.ts";
import { headOf, newestHead } from "./serials.ts";
import type { Store } from "./stores/store.ts";

type Signatures = Promise<readonly { readonly key: PublicKey; readonly signature: Uint8Array }[]>;

/** Who signs heads. */
export interface HeadMaker {
  readonly now: () => Date;
  /** The keys that it signs with. @throws FarmError KEY_UNREADABLE, KEY_LOCKED */
  readonly keys: () => Promise<readonly PublicKey[]>;
  /** Whether somebody chose them: where the root trusts none of those that a run made, heads are left to others. */
  readonly isChosen: boolean;
  /** What he knows a store's registry by; absent where nothing is kept. */
  readonly knownRoot?: (place: string) => KnownRoot;
  /** Signatures of the text of a head, by every one of the keys. */
  readonly sign: (text: string) => Signatures;
  /** The same of a note that vouches for a generation. */
  readonly vouch: (text: string) => Signatures;
  /** Of a checkpoint of the log, by every key that may sign one. */
  readonly signCheckpoint?: SignCheckpoint;
}

/** The roots that a maker knows a registry by, kept where only he writes. */
export interface KnownRoot {
  /** Where the newest one that he saw is. */
  readonly file: string;
  /** That one; undefined where none was seen yet. @throws FarmError FILE_UNREADABLE, NOTE_MALFORMED, METADATA_UNSIGNED */
  seen(): Promise<Trust | undefined>;
  /** The one that a person named, before any was seen. @throws as `seen` */
  named(): Promise<Trust | undefined>;
  /** From now on it is this one. */
  keep(note: SignedNote): Promise<void>;
}

/** Who signs for a store, and whom he believes there. */
export interface Voucher {
  readonly maker: HeadMaker;
  /** The roots of the store, the newest last. */
  readonly trusts: readonly Trust[];
  /**
   * Whose word counts: none where the newest root trusts none of the maker's keys. Who can write to a store can put any root
   * there, so of those whom a root trusts only the maker's own keys are known to be.
   */
  readonly counting?: Trust;
}

/** @throws FarmError KEY_UNREADABLE, KEY_LOCKED; METADATA_UNSIGNED for other roots than the maker knows; and as `readTrusts` */
export async function openVoucher(store: Store, maker: HeadMaker): Promise<Voucher> {
  const trusts = await rootsOf(store, maker.knownRoot?.(store.place));
  const trust = trusts.at(-1);
  const counting = trust === undefined ? undefined : withKeys(trust, await maker.keys());
  return { maker, trusts, ...(counting === undefined ? {} : { counting }) };
}

/** Roots that were believed stay so, as long as a store is open: only what follows them is read again. */
const ROOTS = new WeakMap<Store, readonly Trust[]>();

async function rootsOf(store: Store, known: KnownRoot | undefined): Promise<readonly Trust[]> {
  const believed = ROOTS.get(store) ?? [];
  const trusts = [...believed.slice(0, -1), ...(await readTrusts(store, believed.at(-1)))];
  if (known !== undefined && (believed.length === 0 || trusts.length > believed.length))
    await requireKnown(store, trusts, known);
  ROOTS.set(store, trusts);
  return trusts;
}

/** All roots follow from the first, so one that is known vouches for those before and after it; the newest becomes known. */
async function requireKnown(store: Store, trusts: readonly Trust[], known: KnownRoot): Promise<void> {
  const [seen, named] = [await known.seen(), await known.named()];
  const expected = [seen, named].filter((one) => one !== undefined);
  // A registry that is made anew begins in an empty place: there is nothing that somebody could have put there.
  const isNew = trusts.length === 0 && expected.length > 0 && (await newestGeneration(store)) === undefined;
  if (isNew) return;
  for (const one of expected) {
    const there = trusts.find(({ version }) => version === one.version);
    if (there === undefined || writeTrust(there) !== writeTrust(one))
      throw otherRoots(store, one, there, known);
  }
  const newest = trusts.at(-1);
  if (newest === undefined || newest.version === seen?.version) return;
  const note = await readNoteAt(store, rootPath(newest.version), ROOT_LIMIT_BYTES);
  // What was verified, and not what a second look gives.
  if (note === undefined || note.text !== writeTrust(newest))
    throw otherRoots(store, newest, undefined, known);
  await known.keep(note);
}

function otherRoots(
  store: Store,
  { version }: Trust,
  there: Trust | undefined,
  { file }: KnownRoot,
): FarmError {
  return new FarmError("METADATA_UNSIGNED", {
    about: store.place,
    detail: `root ${version} ${there === undefined ? "is missing" : "is another one"}: this farm knows the registry by it (${file})`,
    hint: `Nothing was signed. Somebody took roots away, or put others there: put them back into metadata/root. They are what \`root publish\` was given, and the file that is named is a copy of root ${version}. If you made the registry anew yourself, in an empty place, remove that file.`,
  });
}

/** A root with those of its head keys that are among some; undefined where none is. */
export function withKeys(trust: Trust, keys: readonly PublicKey[]): Trust | undefined {
  const { head } = trust.roles;
  const own = head.keys.filter((one) => keys.some(({ fingerprint }) => fingerprint === one));
  if (own.length === 0) return undefined;
  const threshold = Math.min(head.threshold, own.length);
  return { ...trust, roles: { ...trust.roles, head: { threshold, keys: own } } };
}

/**
 * Generations that were found to be vouched for, by their digests: they never change. With each, the head that nodes are
 * shown of it, if one of ours was seen.
 */
const VOUCHED = new WeakMap<Store, Map<Digest, ShownHead | undefined>>();

export interface ShownHead extends FoundHead {
  /** The root that it was believed by. */
  readonly trust: Trust;
}

function vouchedIn(store: Store): Map<Digest, ShownHead | undefined> {
  const known = VOUCHED.get(store) ?? new Map();
  VOUCHED.set(store, known);
  return known;
}

/** The head of ours that nodes were shown of a generation, as far as it was seen. */
export function shownHead(store: Store, { head }: Pick<Published, "head">): ShownHead | undefined {
  return head === null ? undefined : vouchedIn(store).get(head.digest);
}

/** Whether somebody vouches for what was read; where no key of this farm counts, it is not known. */
export function isVouched(store: Store, { head }: Pick<Published, "head">): boolean {
  return head === null || vouchedIn(store).has(head.digest);
}

/**
 * What is published now, vouched for as far as anybody can for this store. `known` as for `readPublished`.
 * @throws FarmError GENERATION_UNVOUCHED, METADATA_ROLLED_BACK, and as `readPublished`
 */
export async function readVouched(
  store: Store,
  { trusts, counting }: Voucher,
  known?: Published,
): Promise<Published> {
  if (counting === undefined) return readPublished(store, known);
  // What is published has a head nearly always, and then little else need be asked.
  const shown = known?.head == null ? await readHeadAt(store, trusts) : undefined;
  const state = await readPublished(store, known, shown?.head.generation);
  if (state.head === null || isVouched(store, state)) return state;
  if (shown?.head.generation.digest === state.head.digest && isSignedBy(counting, shown.note)) {
    // What is shown is a copy, which can be an earlier one: its serial must be the newest.
    if ((await headOf(store, trusts, shown.head.serial + 1)) === undefined) {
      vouchedIn(store).set(state.head.digest, { ...shown, trust: counting });
      return state;
    }
  }
  // The head first, so that a generation which is older than it was rolled back.
  const last = await newestHead(store, trusts);
  const again = await readPublished(store, state);
  if (again.head !== null) await requireVouched(store, again.head, counting, last);
  return again;
}

/**
 * Demands that somebody vouches for the newest generation. `last` is the newest head, and was read before it.
 * @throws FarmError GENERATION_UNVOUCHED, METADATA_ROLLED_BACK
 */
export async function requireVouched(
  store: Store,
  generation: Generation,
  counting: Trust,
  last: FoundHead | undefined,
): Promise<void> {
  const vouched = vouchedIn(store);
  const { number, digest } = generation;
  const named = last?.head.generation;
  const isOfOurs = vouched.has(digest);
  // Also of one that this very process made: what it was made upon may have been rolled back.
  if (
    named !== undefined &&
    (named.number > number || (isOfOurs && named.number === number && named.digest !== digest))
  )
    throw new FarmError("METADATA_ROLLED_BACK", {
      about: store.place,
      detail: `the newest generation there is ${number}, and head ${last?.head.serial} is of ${named.number > number ? `generation ${named.number}` : "another one of that number"}`,
      hint: "No head was signed. Restore the generations that are missing, from a copy of the store: nodes take no older one.",
    });
  if (isOfOurs) return;
  const fault = await faultOf(store, generation, counting, last);
  if (fault !== undefined) throw unvouched(store, number, fault);
  vouched.set(generation.digest, undefined);
}

/** Why nobody vouches for a generation; undefined where the newest head does, or its own note. */
export async function faultOf(
  store: Store,
  generation: Generation,
  counting: Trust,
  last: FoundHead | undefined,
): Promise<string | undefined> {
  const named = last?.head.generation;
  if (last === undefined || named?.number !== generation.number)
    return faultOfNote(store, generation, counting);
  if (named.digest !== generation.digest)
    return `head ${last.head.serial} is of another generation of that number`;
  return isSignedBy(counting, last.note) ? undefined : faultOfNote(store, generation, counting);
}

/** Whether those whom a root trusts for heads signed a note. */
export function isSignedBy(trust: Trust, note: SignedNote): boolean {
  try {
    checkSigned(trust, "head", note, "the head");
    return true;
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.blame === "integrity") return false;
    throw thrown;
  }
}

/** What keeps a generation's note from vouching for it. */
async function faultOfNote(
  store: Store,
  { number, digest }: Generation,
  trust: Trust,
): Promise<string | undefined> {
  const path = vouchPath(digest);
  try {
    const note = await readNoteAt(store, path, VOUCH_LIMIT_BYTES);
    if (note === undefined) return `neither the newest head nor ${path} does`;
    const { generation } = verifiedVouch(trust, note, path);
    if (generation.number === number && generation.digest === digest) return undefined;
    return `${path} is of another generation`;
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.blame === "integrity") return thrown.message;
    throw thrown;
  }
}

export function unvouched(store: Store, number: number, why: string): FarmError {
  return new FarmError("GENERATION_UNVOUCHED", {
    about: store.place,
    detail: `no key of this farm vouches for generation ${number}: ${why}`,
    hint: `Nothing was signed or published. If a machine without such a key published it, look at it with \`kmodfarm generations accept ${number} --dry-run\`. If nobody knows it, somebody else can write to the store: remove generations/${number} and channels/stable there, and the next run goes on from the generation before.`,
  });
}

/** Vouches for what is published already. @throws as `vouchFor` */
export async function adopt(store: Store, found: Found | undefined, voucher: Voucher): Promise<void> {
  if (found !== undefined) await vouchFor(store, found.head, found.generation.parent, voucher);
}

/**
 * Vouches for a generation that is about to be published upon one that is vouched for itself.
 * @throws FarmError METADATA_UNSIGNED, SIGNING_REFUSED, KEY_LOCKED
 */
export async function vouchFor(
  store: Store,
  generation: Generation,
  parent: Generation | null,
  { maker, counting }: Voucher,
): Promise<void> {
  if (counting === undefined) return;
  const { origin } = counting;
  const text = writeVouch({ origin, generation, parent });
  const signed = await maker.vouch(text);
  const signatures = signed.map(({ key, signature }) => noteSignature(origin, key, signature));
  checkSigned(counting, "head", { text, signatures }, `the note for generation ${generation.number}`);
  await store.write(vouchPath(generation.digest), writeNote({ text, signatures }));
  vouchedIn(store).set(generation.digest, undefined);
}
