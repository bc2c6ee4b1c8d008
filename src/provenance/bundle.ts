/**
 * Sigstore's bundle, version 0.3, around one signed statement: what cosign verifies, and what travels with an artifact.
 * Source: github.com/sigstore/protobuf-specs, sigstore_bundle.proto, in the JSON form of protobuf.
 */
import { z } from "zod";
import { canonicalJson, describeIssue } from "../base/json.ts";
import { type Envelope, EnvelopeFields, envelopeOf, STATEMENT_PAYLOAD } from "./dsse.ts";
import type { PublicKey } from "./public-key.ts";
import { malformed, readStrictJson } from "./strict-json.ts";

const MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json";

/**
 * What a bundle brings to verify it with is a stranger's word, and never used: keys are those that a policy names. Logs
 * and timestamps are allowed, because cosign writes them where it is not told otherwise, and count for nothing.
 */
const Bundle = z.strictObject({
  mediaType: z.literal(MEDIA_TYPE),
  verificationMaterial: z.strictObject({
    publicKey: z.strictObject({ hint: z.string().optional() }).optional(),
    certificate: z.strictObject({ rawBytes: z.string() }).optional(),
    tlogEntries: z.array(z.json()).optional(),
    timestampVerificationData: z.json().optional(),
  }),
  dsseEnvelope: EnvelopeFields,
});

/** @throws FarmError PROVENANCE_MALFORMED */
export function readBundle(bytes: Uint8Array, what: string): Envelope {
  const parsed = Bundle.safeParse(readStrictJson(bytes, what));
  if (!parsed.success) throw malformed(what, describeIssue(parsed.error));
  const envelope = envelopeOf(parsed.data.dsseEnvelope, what);
  const { payloadType, signatures } = envelope;
  if (signatures.length !== 1)
    throw malformed(what, `it has ${signatures.length} signatures, but a bundle has exactly one`);
  if (payloadType !== STATEMENT_PAYLOAD)
    throw malformed(what, `its payload is ${payloadType.slice(0, 100)}, not ${STATEMENT_PAYLOAD}`);
  return envelope;
}

/** The hint is cosign's: SHA-256 of the key's SPKI, in base64. */
export function writeBundle(payload: string, signature: Uint8Array, { fingerprint }: PublicKey): string {
  const hint = Buffer.from(fingerprint.slice("sha256:".length), "hex").toString("base64");
  const base64 = (bytes: string | Uint8Array) => Buffer.from(bytes).toString("base64");
  return canonicalJson({
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint } },
    dsseEnvelope: {
      payload: base64(payload),
      payloadType: STATEMENT_PAYLOAD,
      signatures: [{ sig: base64(signature) }],
    },
  });
}
