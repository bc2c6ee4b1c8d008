/**
 * Root documents: which keys may sign what, for a registry of one origin. A node is given one and follows the others: each
 * is signed by a threshold of the keys before it and of its own. The rules are TUF's; the form is a signed note.
 */
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf } from "../base/json.ts";
import { Lines, toText } from "./lines.ts";
import { type PublicKey, publicKeyFromSpki } from "./public-key.ts";
import { cosignersOf, isOrigin, type SignedNote, signersOf } from "./signed-note.ts";

interface Role {
  /** How many distinct keys must sign. */
  readonly threshold: number;
  readonly keys: readonly Digest[];
}

export interface Trust {
  /** The registry's name: signatures carry it, and notes of other registries are refused by it. */
  readonly origin: string;
  readonly version: number;
  readonly expires: string;
  readonly keys: ReadonlyMap<Digest, PublicKey>;
  readonly roles: {
    readonly root: Role;
    readonly head: Role;
    /** Who signs the log; a registry without has no log, and its heads name none. */
    readonly log?: Role;
    /** Who watches that the log only grows. */
    readonly witness?: Role;
  };
}

export const ROOT_LIMIT_BYTES = 64 << 10;
/** The first version has no log; readers of it still read it. */
const [HEADING, HEADING_WITH_LOG] = ["kmodfarm root v1", "kmodfarm root v2"];
const MOST_KEYS = 64;
/** In their order; what signs which nodes verify with `openssl`, and what programs for logs do. */
const ROLES = { root: "p256", head: "p256", log: "ed25519", witness: "ed25519" } as const;
type RoleName = keyof typeof ROLES;
const ROLE_NAMES = Object.keys(ROLES) as RoleName[];

export function rootPath(version: number): string {
  return `metadata/root/${version}`;
}

/** Reads what is signed, without asking by whom. @throws FarmError NOTE_MALFORMED */
export function readTrust(text: string, what: string): Trust {
  const lines = new Lines(text, ROOT_LIMIT_BYTES, what);
  const hasLog = lines.takes(HEADING_WITH_LOG);
  if (!hasLog) lines.exactly(HEADING);
  const origin = readOrigin(lines);
  const version = lines.number(lines.fields("version", 1)[0]);
  if (version === 0) throw lines.fault("versions begin with 1");
  const expires = lines.time(lines.fields("expires", 1)[0]);
  const keys = readKeys(lines, what);
  const read = (name: RoleName) => readRole(lines, name, keys);
  const roles = {
    ...{ root: read("root"), head: read("head") },
    ...(hasLog ? { log: read("log") } : {}),
    ...(hasLog && !lines.isAtEnd ? { witness: read("witness") } : {}),
  };
  lines.end();
  const used = new Set(Object.values(roles).flatMap((role) => role.keys));
  if (used.size !== keys.size) throw lines.fault("a key has no role");
  // Who watches himself is no witness.
  if (roles.witness?.keys.some((one) => roles.log?.keys.includes(one)))
    throw lines.fault("a key of the log cannot be its witness");
  return { origin, version, expires, keys, roles };
}

export function readOrigin(lines: Lines): string {
  const [origin = ""] = lines.fields("origin", 1);
  if (!isOrigin(origin)) throw lines.fault(`${JSON.stringify(origin)} is not the name of an origin`);
  return origin;
}

function readKeys(lines: Lines, what: string): ReadonlyMap<Digest, PublicKey> {
  const keys = new Map<Digest, PublicKey>();
  for (let last = ""; lines.has("key"); ) {
    const [hex, encoded = ""] = lines.fields("key", 2);
    const fingerprint = lines.digest(hex);
    if (fingerprint <= last) throw lines.fault("keys are in the order of their fingerprints, each once");
    last = fingerprint;
    const spki = Buffer.from(encoded, "base64");
    if (spki.toString("base64") !== encoded) throw lines.fault("its key is not base64");
    const key = readKey(spki, lines, what);
    if (key.fingerprint !== fingerprint) throw lines.fault("its fingerprint is of another key");
    if (key.kind !== "p256" && key.kind !== "ed25519")
      throw lines.fault("its key is neither P-256 nor Ed25519");
    keys.set(fingerprint, key);
    if (keys.size > MOST_KEYS) throw lines.fault(`there are more than ${MOST_KEYS} keys`);
  }
  return keys;
}

function readKey(spki: Uint8Array, lines: Lines, what: string): PublicKey {
  try {
    return publicKeyFromSpki(spki, what);
  } catch {
    throw lines.fault("it has no public key");
  }
}

function readRole(lines: Lines, name: RoleName, keys: ReadonlyMap<Digest, PublicKey>): Role {
  const [said, threshold, ...fingerprints] = lines.fields("role", 3, MOST_KEYS + 2);
  if (said !== name) throw lines.fault(`it should be the role ${name}`);
  const role = { threshold: lines.number(threshold), keys: fingerprints.map((one) => lines.digest(one)) };
  if (role.keys.some((one, at) => at > 0 && one <= (role.keys[at - 1] as Digest)))
    throw lines.fault("keys are in the order of their fingerprints, each once");
  if (!role.keys.every((one) => keys.has(one)))
    throw lines.fault("it names a key that is not in this document");
  if (!role.keys.every((one) => keys.get(one)?.kind === ROLES[name]))
    throw lines.fault(
      ROLES[name] === "p256" ? "nodes verify P-256 alone" : `keys of the role ${name} are Ed25519`,
    );
  if (role.threshold < 1 || role.threshold > role.keys.length)
    throw lines.fault(`its threshold is ${role.threshold} of ${role.keys.length} keys`);
  return role;
}

/** The text to sign. @throws FarmError NOTE_MALFORMED for what no reader would take */
export function writeTrust({ origin, version, expires, keys, roles }: Trust): string {
  const text = toText([
    roles.log === undefined ? HEADING : HEADING_WITH_LOG,
    `origin ${origin}`,
    `version ${version}`,
    `expires ${expires}`,
    ...[...keys.values()]
      .toSorted((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1))
      .map(({ fingerprint, spki }) => `key ${hexOf(fingerprint)} ${Buffer.from(spki).toString("base64")}`),
    ...ROLE_NAMES.flatMap((name) => {
      const role = roles[name];
      if (role === undefined) return [];
      return [["role", name, role.threshold, ...role.keys.map(hexOf).toSorted()].join(" ")];
    }),
  ]);
  readTrust(text, "the new root document");
  return text;
}

/** The root that a node was given: only its own keys can speak for it. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
export function firstTrust(note: SignedNote, what: string): Trust {
  const trust = readTrust(note.text, what);
  checkSigned(trust, "root", note, what);
  return trust;
}

/**
 * The root that follows: signed by a threshold of the keys so far, and of its own. It may have expired if another follows.
 * @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED, METADATA_ROLLED_BACK
 */
export function nextTrust(current: Trust, note: SignedNote, what: string): Trust {
  const next = readTrust(note.text, what);
  if (next.origin !== current.origin) throw otherOrigin(what, next.origin, current.origin);
  if (next.version !== current.version + 1)
    throw new FarmError("METADATA_ROLLED_BACK", {
      about: what,
      detail: `it is version ${next.version}, where ${current.version + 1} follows`,
    });
  checkSigned(current, "root", note, what);
  checkSigned(next, "root", note, what);
  return next;
}

/** @throws FarmError METADATA_UNSIGNED unless enough distinct keys of a role signed */
export function checkSigned(trust: Trust, name: RoleName, note: SignedNote, what: string): void {
  const { threshold, keys } = trust.roles[name] ?? { threshold: 1, keys: [] };
  const trusted = keys.flatMap((one) => trust.keys.get(one) ?? []);
  const { size } =
    name === "witness" ? cosignersOf(note, trusted, what) : signersOf(note, trust.origin, trusted, what);
  if (size < threshold)
    throw new FarmError("METADATA_UNSIGNED", {
      about: what,
      detail: `${size} of the keys that root ${trust.version} trusts for ${name} signed it, and ${threshold} must`,
    });
}

/** @throws FarmError METADATA_EXPIRED */
export function checkNotExpired({ expires }: Pick<Trust, "expires">, now: Date, what: string): void {
  if (now.getTime() < Date.parse(expires)) return;
  throw new FarmError("METADATA_EXPIRED", { about: what, detail: `it expired at ${expires}` });
}

export function otherOrigin(what: string, said: string, expected: string): FarmError {
  return new FarmError("METADATA_UNSIGNED", {
    about: what,
    detail: `it is of the registry ${said}, not of ${expected}`,
  });
}
