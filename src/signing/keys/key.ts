/**
 * Where private keys are: a family. Each member knows on this side what the signer must be given to get at a key, and
 * on the signer's side how to open it.
 */
import type { PublicKey } from "../../provenance/public-key.ts";

/** A key that is open. Both run in the signer's process alone. */
export interface SigningKey {
  readonly publicKey: PublicKey;
  /** ECDSA with SHA-256 as DER, Ed25519, or PKCS #1 v1.5 with SHA-256. */
  sign(message: Uint8Array): Promise<Uint8Array>;
  /** The same of a message of which only the SHA-256 is known. @throws FarmError KEY_UNREADABLE for Ed25519 */
  signDigest(sha256: Uint8Array): Promise<Uint8Array>;
}

/** What a signer's process is given beside its own program. */
export interface Access {
  /** Its descriptors from 4 on. */
  readonly descriptors?: readonly number[];
  /** Directories and files that it may read, at the same place. */
  readonly reads?: readonly string[];
  /** Directories that it may also write to. */
  readonly writes?: readonly string[];
  /** Whether it starts programs: a token is reached through OpenSSL's. */
  readonly startsPrograms?: boolean;
}

export interface KeyFamily<Place> {
  /** Nothing of the key is read here. @throws FarmError KEY_UNREADABLE */
  access(place: Place): Access;
  /** `password` is asked for only if the key needs one. `what` names the key. @throws FarmError KEY_UNREADABLE, KEY_LOCKED */
  open(place: Place, password: () => Promise<string>, what: string): Promise<SigningKey>;
}
