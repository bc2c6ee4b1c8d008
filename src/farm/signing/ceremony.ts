/**
 * Making, signing and publishing roots: documents go from machine to machine as files, so that the keys of a root need
 * never be where the farm is.
 */
import { FarmError } from "../../base/error.ts";
import { hexOf } from "../../base/json.ts";
import type { Head } from "../../provenance/head.ts";
import { toTime } from "../../provenance/lines.ts";
import type { PublicKey } from "../../provenance/public-key.ts";
import {
  isOrigin,
  type NoteSignature,
  noteSignature,
  readNote,
  type SignedNote,
  writeNote,
} from "../../provenance/signed-note.ts";
import {
  firstTrust,
  nextTrust,
  ROOT_LIMIT_BYTES,
  readTrust,
  rootPath,
  type Trust,
  writeTrust,
} from "../../provenance/trust.ts";
import { newestGeneration } from "../../registry/generations.ts";
import { publishHead } from "../../registry/head.ts";
import { readTrusts } from "../../registry/metadata.ts";
import { NOTHING_PUBLISHED } from "../../registry/parts.ts";
import { newestHead } from "../../registry/serials.ts";
import type { Store } from "../../registry/stores/store.ts";
import {
  adopt,
  type HeadMaker,
  openVoucher,
  readVouched,
  requireVouched,
  unvouched,
  type Voucher,
  withKeys,
} from "../../registry/vouched.ts";
import type { Role } from "../../signing/roles.ts";
import type { Farm } from "../open.ts";

type Signing = Farm["signing"];

const ROOT_DAYS = 365;
const DAY_MS = 24 * 3600_000;

export interface RootWishes {
  /** Needed for a first root; a registry keeps its own. */
  readonly origin?: string | undefined;
  /** None: those of the root before. */
  readonly rootKeys: readonly PublicKey[];
  readonly headKeys: readonly PublicKey[];
  /** With such a key the registry has a log. */
  readonly logKeys?: readonly PublicKey[];
  readonly witnessKeys?: readonly PublicKey[];
  /** How many witnesses must have seen the log. */
  readonly witnesses?: number | undefined;
  /** How many root keys must sign the next root. Default: as before, or all but one of three and more. */
  readonly threshold?: number | undefined;
  readonly days?: number | undefined;
}

/** A root document, or the one that follows another. @throws FarmError USAGE for what is missing, NOTE_MALFORMED */
export function newRoot(wishes: RootWishes, before: Trust | undefined, now: Date): Trust {
  const { days = ROOT_DAYS } = wishes;
  const origin = wishes.origin ?? before?.origin;
  if (origin === undefined || !isOrigin(origin))
    throw new FarmError("USAGE", {
      detail: "--origin names the registry: a host's name and a path, farm.example.org/drivers",
    });
  const [root, head] = [keysOf(wishes.rootKeys, before, "root"), keysOf(wishes.headKeys, before, "head")];
  const threshold =
    wishes.threshold ??
    (wishes.rootKeys.length > 0 ? usualThreshold(root.length) : before?.roles.root.threshold);
  const [log, witness] = [
    mayHave(wishes.logKeys, before, "log"),
    mayHave(wishes.witnessKeys, before, "witness"),
  ];
  if (witness.length > 0 && log.length === 0)
    throw new FarmError("USAGE", {
      detail: "witnesses watch a log, and no --log-key FILE says who signs one",
    });
  const seenBy =
    wishes.witnesses ??
    ((wishes.witnessKeys ?? []).length > 0
      ? usualThreshold(witness.length)
      : before?.roles.witness?.threshold);
  const trust: Trust = {
    ...{ origin, version: (before?.version ?? 0) + 1 },
    expires: toTime(new Date(now.getTime() + days * DAY_MS)),
    keys: new Map([...root, ...head, ...log, ...witness].map((key) => [key.fingerprint, key])),
    roles: {
      root: { threshold: threshold ?? 1, keys: fingerprints(root) },
      head: { threshold: 1, keys: fingerprints(head) },
      ...(log.length === 0 ? {} : { log: { threshold: 1, keys: fingerprints(log) } }),
      ...(witness.length === 0 ? {} : { witness: { threshold: seenBy ?? 1, keys: fingerprints(witness) } }),
    },
  };
  return readTrust(writeTrust(trust), "the new root");
}

function keysOf(
  wished: readonly PublicKey[],
  before: Trust | undefined,
  role: "root" | "head",
): readonly PublicKey[] {
  const keys = mayHave(wished, before, role);
  if (keys.length > 0) return keys;
  throw new FarmError("USAGE", { detail: `a first root needs a key for ${role}: --${role}-key FILE` });
}

function mayHave(
  wished: readonly PublicKey[] = [],
  before: Trust | undefined,
  role: keyof Trust["roles"],
): readonly PublicKey[] {
  if (wished.length > 0) return wished;
  return before?.roles[role]?.keys.flatMap((one) => before.keys.get(one) ?? []) ?? [];
}

function fingerprints(keys: readonly PublicKey[]) {
  return [...new Set(keys.map(({ fingerprint }) => fingerprint))].toSorted();
}

/** One key may be lost and one stolen if there are three. */
function usualThreshold(count: number): number {
  return Math.max(1, Math.min(count, Math.ceil((count + 1) / 2)));
}

/** A root that is under way: its text alone at first, then with signatures. @throws FarmError NOTE_MALFORMED */
export function readRootFile(bytes: Uint8Array, what: string): SignedNote {
  const text = Buffer.from(bytes);
  const note = text.includes("\n\n")
    ? readNote(bytes, ROOT_LIMIT_BYTES, what)
    : { text: text.toString("utf8"), signatures: [] };
  readTrust(note.text, what);
  return note;
}

export function writeRootFile(note: SignedNote): string {
  return note.signatures.length === 0 ? note.text : writeNote(note);
}

/** Adds signatures by root keys of a configuration: all, or the one of that name. @throws FarmError SIGNING_REFUSED, KEY_LOCKED */
export async function signRoot(note: SignedNote, signing: Signing, name?: string): Promise<SignedNote> {
  const { origin } = readTrust(note.text, "the root");
  const keys = [...(await signing.keysFor("root"))].filter(([one]) => name === undefined || one === name);
  if (keys.length === 0)
    throw new FarmError("SIGNING_REFUSED", {
      detail: name === undefined ? "no key for root is configured" : `no key ${name} for root is configured`,
    });
  const added: NoteSignature[] = [];
  for (const [one, key] of keys)
    added.push(
      noteSignature(origin, key, await signing.sign("root", { kind: "root", text: note.text }, one)),
    );
  const isAgain = (old: NoteSignature) =>
    added.some(({ keyId }) => Buffer.from(keyId).equals(Buffer.from(old.keyId)));
  return { text: note.text, signatures: [...note.signatures.filter((old) => !isAgain(old)), ...added] };
}

/**
 * Publishes a root that follows the newest one. Nodes take it with their next question.
 * @throws FarmError METADATA_UNSIGNED, METADATA_ROLLED_BACK; STORE_CONFLICT where another one of its version was first
 */
export async function publishRoot(store: Store, note: SignedNote, what: string): Promise<Trust> {
  const last = (await readTrusts(store)).at(-1);
  const trust = last === undefined ? firstTrust(note, what) : nextTrust(last, note, what);
  if (last === undefined && trust.version !== 1)
    throw new FarmError("METADATA_ROLLED_BACK", {
      about: what,
      detail: `it is version ${trust.version}, and ${store.place} has no root`,
    });
  if (await store.create(rootPath(trust.version), writeNote(note))) return trust;
  throw new FarmError("STORE_CONFLICT", {
    detail: `${store.place} has a root of version ${trust.version} by now`,
  });
}

/**
 * Signs the head anew for a root that was just published. What is published by then keeps counting: with a first root because
 * people begin to vouch then, later because keys of the root before vouched for it.
 * @throws FarmError GENERATION_UNVOUCHED, and as `publishHead`
 */
export async function signForRoot(store: Store, maker: HeadMaker): Promise<Head | undefined> {
  const voucher = await openVoucher(store, maker);
  const { trusts, counting } = voucher;
  const [before] = trusts.slice(-2, -1);
  const last = before === undefined ? undefined : await newestHead(store, trusts);
  const newest = await newestGeneration(store);
  if (counting !== undefined && newest !== undefined) {
    if (before !== undefined) {
      // Of whom a root in the store trusts, only this machine's own keys are known to be the farm's.
      const own = withKeys(before, await maker.keys());
      if (own === undefined)
        throw unvouched(
          store,
          newest.head.number,
          `root ${before.version} trusts no head key of this machine`,
        );
      await requireVouched(store, newest.head, own, last);
    }
    await adopt(store, newest, voucher);
  }
  return publishHead(store, NOTHING_PUBLISHED, voucher);
}

/** The name of a registry that nobody named: nobody else has its key. */
export function originOf({ fingerprint }: PublicKey): string {
  return `kmodfarm-${hexOf(fingerprint).slice(0, 16)}`;
}

/**
 * Gives a store its first root, with keys that were made for it. Where keys are configured, people hold the ceremony.
 * `isAdopted`: what the store holds already counts, because the keys are as new as the root; else whoever took a root away
 * could have anything signed. Returns what to say about it.
 * @throws FarmError GENERATION_UNVOUCHED
 */
export async function makeFirstRoot(
  store: Store,
  signing: Signing,
  maker: HeadMaker,
  isAdopted: boolean,
): Promise<string | undefined> {
  if ((await readTrusts(store)).length > 0) return undefined;
  const keys = async (role: Role) => [...(await signing.keysFor(role)).values()];
  const [rootKeys, headKeys, logKeys] = [await keys("root"), await keys("head"), await keys("log")];
  const [first] = rootKeys;
  if (first === undefined) return undefined;
  const trust = newRoot({ origin: originOf(first), rootKeys, headKeys, logKeys }, undefined, maker.now());
  const voucher: Voucher = { maker, trusts: [trust], counting: trust };
  if (isAdopted) await adopt(store, await newestGeneration(store), voucher);
  else await readVouched(store, voucher);
  const note = await signRoot({ text: writeTrust(trust), signatures: [] }, signing);
  firstTrust(note, "the first root");
  // Another first run was faster, most likely with these keys; any others do not sign for its root.
  if (!(await store.create(rootPath(trust.version), writeNote(note)))) return undefined;
  await maker.knownRoot?.(store.place).keep(note);
  return `root: this registry is ${trust.origin} now; nodes are given ${store.place}/${rootPath(1)} (docs/trust.md)`;
}
