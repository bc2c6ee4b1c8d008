/**
 * Making, signing and publishing roots: documents go from machine to machine as files, so that the keys of a root need
 * never be where the farm is.
 */
import { FarmError } from "../../base/error.ts";
import { hexOf } from "../../base/json.ts";
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
import { readTrusts } from "../../registry/metadata.ts";
import type { Store } from "../../registry/stores/store.ts";
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
  const trust: Trust = {
    ...{ origin, version: (before?.version ?? 0) + 1 },
    expires: toTime(new Date(now.getTime() + days * DAY_MS)),
    keys: new Map([...root, ...head].map((key) => [key.fingerprint, key])),
    roles: {
      root: { threshold: threshold ?? 1, keys: fingerprints(root) },
      head: { threshold: 1, keys: fingerprints(head) },
    },
  };
  return readTrust(writeTrust(trust), "the new root");
}

function keysOf(
  wished: readonly PublicKey[],
  before: Trust | undefined,
  role: "root" | "head",
): readonly PublicKey[] {
  if (wished.length > 0) return wished;
  const keys = before?.roles[role].keys.flatMap((one) => before.keys.get(one) ?? []) ?? [];
  if (keys.length > 0) return keys;
  throw new FarmError("USAGE", { detail: `a first root needs a key for ${role}: --${role}-key FILE` });
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

/** The name of a registry that nobody named: nobody else has its key. */
export function originOf({ fingerprint }: PublicKey): string {
  return `kmodfarm-${hexOf(fingerprint).slice(0, 16)}`;
}

/**
 * Gives a store its first root, with keys that were made for it. Where keys are configured, people hold the ceremony.
 * Returns what to say about it.
 */
export async function makeFirstRoot(store: Store, signing: Signing, now: Date): Promise<string | undefined> {
  if ((await readTrusts(store)).length > 0) return undefined;
  const [rootKeys, headKeys] = await Promise.all(
    (["root", "head"] as const).map(async (role) => [...(await signing.keysFor(role)).values()]),
  );
  const [first] = rootKeys ?? [];
  if (first === undefined || headKeys === undefined) return undefined;
  const trust = newRoot({ origin: originOf(first), rootKeys: rootKeys ?? [], headKeys }, undefined, now);
  const note = await signRoot({ text: writeTrust(trust), signatures: [] }, signing);
  await publishRoot(store, note, "the first root");
  return `root: this registry is ${trust.origin} now; nodes are given ${store.place}/${rootPath(1)} (docs/trust.md)`;
}
