/**
 * Whether a certificate says who signed a bundle: the roots that a policy names are Sigstore's own format (trusted_root.json),
 * and its own library judges by them. Nothing is asked of a network.
 */
import { X509Certificate } from "node:crypto";
import type { Signer } from "@sigstore/verify";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { describeIssue, sha256 } from "../base/json.ts";
import { oneLine } from "../base/visible.ts";
import type { CertifiedBuilder, Identity } from "./builder.ts";
import { readStrictJson } from "./strict-json.ts";

/** `roots`: the file's bytes, `what` its name. @throws FarmError CONFIG_INVALID */
export async function certifiedBuilder(
  id: string,
  { issuer, subject }: Identity,
  roots: Uint8Array,
  what: string,
): Promise<CertifiedBuilder> {
  // Large, and of no use to most farms.
  const [{ bundleFromJSON }, { toSignedEntity, toTrustMaterial, Verifier }, { TrustedRoot }] =
    await Promise.all([
      import("@sigstore/bundle"),
      import("@sigstore/verify"),
      import("@sigstore/protobuf-specs"),
    ]);
  let verifier: InstanceType<typeof Verifier>;
  try {
    const trusted = TrustedRoot.fromJSON(readStrictJson(roots, what));
    if (trusted.certificateAuthorities.length === 0) throw new Error("it names no certificate authority");
    const isThere = (all: readonly unknown[]) => (all.length === 0 ? 0 : 1);
    // Whatever it names must have seen the signature; and one of them must say when that was.
    verifier = new Verifier(toTrustMaterial(trusted), {
      tlogThreshold: isThere(trusted.tlogs),
      ctlogThreshold: isThere(trusted.ctlogs),
      timestampThreshold: 1,
    });
  } catch (cause) {
    throw new FarmError("CONFIG_INVALID", {
      about: what,
      detail: `it is no trusted root of Sigstore: ${cause instanceof Error ? cause.message : "unreadable"}`,
      hint: "`cosign trusted-root create` or `gh attestation trusted-root` writes one.",
      cause,
    });
  }
  return {
    ...{ id, identity: { issuer, subject }, roots: sha256(roots) },
    faultIn(bundle) {
      try {
        const json = readStrictJson(bundle, "its statement");
        const bounded = Bounded.safeParse(json);
        if (!bounded.success) return `it is no bundle with a certificate: ${describeIssue(bounded.error)}`;
        // It throws unless an authority, the logs and a clock vouch for it.
        const signer = verifier.verify(toSignedEntity(bundleFromJSON(json)));
        const { rawBytes } = bounded.data.verificationMaterial.certificate;
        const said = identityOf(Buffer.from(rawBytes, "base64"), signer);
        // Equal to the letter: whoever wants a pattern would get more than he thinks.
        if (said.subject === subject && said.issuer === issuer) return undefined;
        return oneLine(`it is signed by ${said.subject} of ${said.issuer}`);
      } catch (thrown) {
        // Strangers' bundles, and a library's many words for what is wrong with them.
        return oneLine(thrown instanceof Error ? thrown.message : "it cannot be verified").slice(0, 300);
      }
    },
  };
}

const Base64 = z.base64().max(64 * 1024);
/** The library takes names of logs for regular expressions. */
const PLAIN_NAMES = /^(?:\u2014 [\w.:/-]{1,200} [\w+/=]{1,1000}\n?)+$/;
const Checkpoint = z
  .string()
  .max(4096)
  .refine((note) => PLAIN_NAMES.test(note.slice(note.lastIndexOf("\n\n") + 2)), "it has strange names");

/**
 * What a real bundle has, and no more of it: before it is verified, the library takes time for each log, timestamp and
 * certificate that a stranger puts in.
 */
const Bounded = z.object({
  verificationMaterial: z.object({
    certificate: z.object({ rawBytes: z.base64().max(16 * 1024) }),
    tlogEntries: z
      .array(
        z.object({
          canonicalizedBody: Base64,
          inclusionPromise: z.object({ signedEntryTimestamp: z.base64().max(1024) }).optional(),
          inclusionProof: z
            .object({
              hashes: z.array(z.base64().max(64)).max(64).optional(),
              checkpoint: z.object({ envelope: Checkpoint }),
            })
            .optional(),
        }),
      )
      .max(2)
      .optional(),
    timestampVerificationData: z
      .object({
        rfc3161Timestamps: z
          .array(z.object({ signedTimestamp: z.base64().max(16 * 1024) }))
          .max(2)
          .optional(),
      })
      .optional(),
  }),
});

/** Fulcio's extensions for the issuer: a UTF8String in DER, and, before 2023, the words alone. */
const ISSUER = "1.3.6.1.4.1.57264.1.8";
const OLD_ISSUER = "1.3.6.1.4.1.57264.1.1";
const UTF8_STRING = 0x0c;

/** As a verified certificate has them, byte by byte: the library drops the highest bit of each. */
function identityOf(certificate: Buffer, { identity }: Signer): Partial<Identity> {
  const { subjectAltName = "" } = new X509Certificate(certificate);
  // Node.js puts several between commas, and in quotes what is not plain.
  const subject = /^(?:URI|email):([^",]+)$/.exec(subjectAltName)?.[1];
  const named = (oid: string) =>
    (identity?.oids ?? []).flatMap((one) => (one.oid?.id.join(".") === oid ? [Buffer.from(one.value)] : []));
  const [said, ...others] = named(ISSUER);
  const [old, ...older] = named(OLD_ISSUER);
  const words = said === undefined ? old : wordsIn(said);
  const issuer = others.length + older.length > 0 ? undefined : words?.toString("latin1");
  return { ...(subject === undefined ? {} : { subject }), ...(issuer === undefined ? {} : { issuer }) };
}

function wordsIn(der: Buffer): Buffer | undefined {
  const [tag, first = 0, second = 0] = der;
  const [begin, length] = first < 0x80 ? [2, first] : [3, first === 0x81 ? second : -1];
  return tag === UTF8_STRING && der.length === begin + length ? der.subarray(begin) : undefined;
}
