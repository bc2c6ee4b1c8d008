/**
 * Writes the detached signature of a module, byte for byte as the kernel's `sign-file` does: CMS SignedData (RFC 5652)
 * of version 1, one signer, SHA-256, no attributes, no certificates. Nothing of the module is needed but its signature.
 */
import { DER } from "./der.ts";
import { writeDer, writeObjectIdentifier, writePositiveInteger } from "./der-write.ts";

/** Whose signature it is: as formats/cms.ts reads it. */
export interface NamedSignature {
  /** DER of the issuer's name, as it stands in the certificate. */
  readonly issuer: Uint8Array;
  /** Hexadecimal. */
  readonly serial: string;
  readonly scheme: "rsa" | "ecdsa";
  /** PKCS #1 v1.5, or the DER of an ECDSA signature. */
  readonly signature: Uint8Array;
}

const SIGNED_DATA = "1.2.840.113549.1.7.2";
const DATA = "1.2.840.113549.1.7.1";
const SHA256 = "2.16.840.1.101.3.4.2.1";
const NULL = writeDer(DER.null);
/** RSA has parameters, which are NULL (RFC 3370, 3.2); ECDSA with SHA-256 has none (RFC 5754, 3.3). */
const SCHEMES = {
  rsa: writeDer(DER.sequence, writeObjectIdentifier("1.2.840.113549.1.1.1"), NULL),
  ecdsa: writeDer(DER.sequence, writeObjectIdentifier("1.2.840.10045.4.3.2")),
} as const;
const VERSION = writePositiveInteger("01");
const DIGEST = writeDer(DER.sequence, writeObjectIdentifier(SHA256));

export function writeCms({ issuer, serial, scheme, signature }: NamedSignature): Buffer {
  const signer = writeDer(
    DER.sequence,
    VERSION,
    writeDer(DER.sequence, issuer, writePositiveInteger(serial)),
    DIGEST,
    SCHEMES[scheme],
    writeDer(DER.octetString, signature),
  );
  const signed = writeDer(
    DER.sequence,
    VERSION,
    writeDer(DER.set, DIGEST),
    writeDer(DER.sequence, writeObjectIdentifier(DATA)),
    writeDer(DER.set, signer),
  );
  return writeDer(DER.sequence, writeObjectIdentifier(SIGNED_DATA), writeDer(DER.tagged(0), signed));
}
