/**
 * Public keys, known by the SHA-256 of their SPKI (RFC 5280, 4.1.2.7). Two keys are the same if these bytes are; names
 * and key ids that accompany signatures are hints and decide nothing.
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";

export type KeyKind = "p256" | "p384" | "ed25519" | "rsa";

export interface PublicKey {
  /** SHA-256 of `spki`. */
  readonly fingerprint: Digest;
  readonly kind: KeyKind;
  /** DER of the SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly key: KeyObject;
}

const CURVES: Readonly<Record<string, KeyKind>> = { prime256v1: "p256", secp384r1: "p384" };
const SHORTEST_RSA_BITS = 2048;
/** The SPKI of an RSA key of 16,384 bits is shorter. */
const LONGEST_SPKI_BYTES = 4096;

/** @throws FarmError KEY_UNREADABLE for anything but DER, exactly, of one key of a kind that is used here */
export function publicKeyFromSpki(spki: Uint8Array, what: string): PublicKey {
  if (spki.length > LONGEST_SPKI_BYTES) throw unreadable(what, `it has ${spki.length} bytes`);
  return publicKeyOf(
    open(() => createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" }), what),
    what,
    spki,
  );
}

/** From text as `openssl pkey -pubout` writes it. @throws FarmError KEY_UNREADABLE */
export function publicKeyFromPem(pem: string, what: string): PublicKey {
  if (!/^-----BEGIN PUBLIC KEY-----\r?\n/.test(pem)) throw unreadable(what, "it is not a PUBLIC KEY in PEM");
  return publicKeyOf(
    open(() => createPublicKey(pem), what),
    what,
  );
}

/** @throws FarmError KEY_UNREADABLE for a kind that is not used here */
export function publicKeyOf(key: KeyObject, what: string, given?: Uint8Array): PublicKey {
  const spki = key.export({ format: "der", type: "spki" });
  // One key has one spelling, or two fingerprints would count as two keys.
  if (given !== undefined && !spki.equals(given)) throw unreadable(what, "it is not the key's own DER");
  return { fingerprint: sha256(spki), kind: kindOf(key, what), spki, key };
}

function kindOf(key: KeyObject, what: string): KeyKind {
  const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "ed25519") return "ed25519";
  if (key.asymmetricKeyType === "rsa" && modulusLength >= SHORTEST_RSA_BITS) return "rsa";
  const curve = key.asymmetricKeyType === "ec" ? CURVES[namedCurve] : undefined;
  if (curve === undefined)
    throw unreadable(what, "it is neither P-256, P-384, Ed25519 nor RSA of at least 2048 bits");
  return curve;
}

function open(read: () => KeyObject, what: string): KeyObject {
  try {
    return read();
  } catch {
    throw unreadable(what, "OpenSSL cannot read it as a public key");
  }
}

function unreadable(what: string, detail: string): FarmError {
  return new FarmError("KEY_UNREADABLE", { about: what, detail });
}
