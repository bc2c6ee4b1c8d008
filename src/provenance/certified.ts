/**
 * Whether a certificate says who signed a bundle: the roots that a policy names are Sigstore's own format (trusted_root.json),
 * and its own library judges by them. Nothing is asked of a network.
 */
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
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
        const { identity } = verifier.verify(
          toSignedEntity(bundleFromJSON(readStrictJson(bundle, "its statement"))),
        );
        const { subjectAlternativeName: saidSubject, extensions } = identity ?? {};
        // Equal to the letter: whoever wants a pattern would get more than he thinks.
        if (saidSubject === subject && extensions?.issuer === issuer) return undefined;
        return oneLine(`it is signed by ${saidSubject} of ${extensions?.issuer}`);
      } catch (thrown) {
        // Strangers' bundles, and a library's many words for what is wrong with them.
        return oneLine(thrown instanceof Error ? thrown.message : "it cannot be verified");
      }
    },
  };
}
