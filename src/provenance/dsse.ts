/**
 * DSSE: a payload, its type, and signatures over both. Source: github.com/secure-systems-lab/dsse, protocol.md (1.0.2).
 */
import { verify } from "node:crypto";
import { z } from "zod";
import type { PublicKey } from "./public-key.ts";
import { malformed } from "./strict-json.ts";

/** The only type of payload that is signed or believed here. */
export const STATEMENT_PAYLOAD = "application/vnd.in-toto+json";

/** As it stands in JSON. */
export const EnvelopeFields = z.strictObject({
  payload: z.string(),
  payloadType: z.string(),
  signatures: z.array(z.strictObject({ sig: z.string(), keyid: z.string().optional() })).max(16),
});

export interface Envelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  /** Whose they are, no field says: key ids are not signed, and decide nothing. */
  readonly signatures: readonly Uint8Array[];
}

/** @throws FarmError PROVENANCE_MALFORMED */
export function envelopeOf(
  { payload, payloadType, signatures }: z.infer<typeof EnvelopeFields>,
  what: string,
): Envelope {
  return {
    payloadType,
    payload: fromBase64(payload, what),
    signatures: signatures.map(({ sig }) => fromBase64(sig, what)),
  };
}

/** The bytes that are signed: the type, and the payload as it is. Lengths are those of UTF-8. */
export function preAuthEncoding(payloadType: string, payload: string | Uint8Array): Buffer {
  const [type, body] = [Buffer.from(payloadType), Buffer.from(payload)];
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${payloadType} ${body.length} `), body]);
}

/** Those of some keys that signed: each counts once, however often it did and whatever it is called. */
export function signersOf(
  { payloadType, payload, signatures }: Envelope,
  keys: readonly PublicKey[],
): PublicKey[] {
  const signed = preAuthEncoding(payloadType, payload);
  const distinct = new Map(keys.map((one) => [one.fingerprint, one]));
  return [...distinct.values()].filter((one) =>
    signatures.some((signature) => isSignedBy(one, signed, signature)),
  );
}

/** Digests that belong to a key's kind; Ed25519 has its own inside. */
const DIGESTS = { p256: "sha256", p384: "sha384", rsa: "sha256", ed25519: null } as const;

function isSignedBy({ kind, key }: PublicKey, signed: Uint8Array, signature: Uint8Array): boolean {
  try {
    return verify(DIGESTS[kind], signed, key, signature);
  } catch {
    return false; // What is no signature of that kind is none by that key.
  }
}

/** Standard or URL-safe, as DSSE allows; and only the one spelling that bytes have in each. */
function fromBase64(text: string, what: string): Uint8Array {
  const bytes = Buffer.from(text, "base64");
  const standard = bytes.toString("base64");
  if (text === standard || text === standard.replaceAll("+", "-").replaceAll("/", "_")) return bytes;
  throw malformed(what, "a payload or signature is not base64");
}
