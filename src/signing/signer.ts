/** What signs: keys stay with the signer, which reads each request as what it claims to be before it signs it. */
import type { PublicKey } from "../provenance/public-key.ts";

/** Everything that is ever signed; there is no request to sign mere bytes. */
export type SigningRequest =
  /** The text of a C2SP signed note, to its last newline: provenance/trust.ts, provenance/head.ts. */
  | { readonly kind: "root" | "head"; readonly text: string }
  /** The text of a note that vouches for a generation: provenance/vouch.ts. */
  | { readonly kind: "generation"; readonly text: string }
  /** The text of a log's checkpoint: provenance/checkpoint.ts. */
  | { readonly kind: "checkpoint"; readonly text: string }
  /** The same, seen by a witness at a time in seconds since 1970. */
  | { readonly kind: "cosignature"; readonly text: string; readonly seconds: number }
  /** An in-toto statement, canonical JSON: provenance/statement.ts. What is signed is its DSSE encoding (PAE). */
  | { readonly kind: "statement"; readonly payload: string }
  /** What proves to a certificate authority that a new key is held by whoever shows it: the subject of his token. */
  | { readonly kind: "subject"; readonly subject: string }
  /** A module's SHA-256, hexadecimal, as the kernel's sign-file would sign it. */
  | { readonly kind: "module"; readonly sha256: string };

/** A process of its own that holds keys, open for a run. */
export interface Signer extends AsyncDisposable {
  /** The keys that it holds, by their names in the configuration. */
  readonly keys: ReadonlyMap<string, PublicKey>;
  /**
   * ECDSA signatures are DER (as OpenSSL writes them), Ed25519 ones 64 bytes, RSA ones PKCS #1 v1.5.
   * @throws FarmError SIGNING_REFUSED if the key may not sign that, or the request is not what it claims to be
   */
  sign(key: string, request: SigningRequest): Promise<Uint8Array>;
}
