/**
 * Whose word on builds counts: builders, each with a public key or with an identity that certificates name. A key or an
 * identity counts only together with its builder: who may sign for one must not speak for another.
 */
import type { Digest } from "../base/json.ts";
import { type Envelope, signersOf } from "./dsse.ts";
import type { PublicKey } from "./public-key.ts";

/** Signs with one key. */
export interface KeyedBuilder {
  readonly id: string;
  readonly key: PublicKey;
}

/** Signs with a new key each time: a certificate says whose that is. */
export interface CertifiedBuilder {
  readonly id: string;
  readonly identity: Identity;
  /** Of the file that says which authorities and logs are believed. */
  readonly roots: Digest;
  /** Why none of these authorities says that this very identity signed a bundle; undefined if one does. Never throws. */
  readonly faultIn: (bundle: Uint8Array) => string | undefined;
}

/** As a certificate of Fulcio names somebody. */
export interface Identity {
  /** Who knows him: `https://token.actions.githubusercontent.com`. */
  readonly issuer: string;
  /** As the issuer calls him: the URI of a workflow, an address of e-mail. */
  readonly subject: string;
}

export type TrustedBuilder = KeyedBuilder | CertifiedBuilder;

/** Those of the builders whose key or identity signed a bundle, whatever it says. */
export function buildersThatSigned(
  bundle: Uint8Array,
  envelope: Envelope,
  builders: readonly TrustedBuilder[],
): TrustedBuilder[] {
  const keys = new Set(signersOf(envelope, builderKeys(builders)).map(({ fingerprint }) => fingerprint));
  return builders.filter((one) =>
    "key" in one ? keys.has(one.key.fingerprint) : one.faultIn(bundle) === undefined,
  );
}

/** People who build again are told apart by keys: of identities there is none. */
export function builderKeys(builders: readonly TrustedBuilder[]): PublicKey[] {
  return builders.flatMap((one) => ("key" in one ? [one.key] : []));
}

/** Changes with whoever may sign for it. */
export function builderName(builder: TrustedBuilder): readonly string[] {
  if ("key" in builder) return [builder.id, builder.key.fingerprint];
  const { id, identity, roots } = builder;
  return [id, identity.issuer, identity.subject, roots];
}
