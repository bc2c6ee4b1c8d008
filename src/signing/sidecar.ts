/**
 * A module's signature in a file of its own, beside the module: what `sign-file` would append, so that
 * `cat NAME.ko NAME.ko.<key id>.p7s` is the signed module. A module may have several, one for each key that nodes enrol.
 */
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { type Signer as Certificate, keyIdOf } from "../check/signature.ts";
import { writeCms } from "../formats/cms-write.ts";
import { signatureTrailer } from "../formats/module-signature.ts";
import { type PublicKey, publicKeyOf } from "../provenance/public-key.ts";
import { ROLES } from "./roles.ts";

/** A certificate that modules are signed for. */
export interface ModuleCertificate extends Certificate {
  /** Lower-case hexadecimal: how nodes name the keys that they have (/proc/keys). */
  readonly keyId: string;
  /** Of the certificate's DER. */
  readonly digest: Digest;
  readonly publicKey: PublicKey;
}

/** @throws FarmError KEY_UNREADABLE for one that kernels or nodes could not use */
export function moduleCertificate(signer: Certificate, what: string): ModuleCertificate {
  const publicKey = publicKeyOf(signer.certificate.publicKey, what);
  const keyId = keyIdOf(signer.certificate);
  const { kinds } = ROLES.module;
  const fault =
    keyId === undefined || keyId.length === 0 || keyId.length > LONGEST_KEY_ID_BYTES
      ? "it has no subject key identifier, by which nodes find their keys"
      : kinds.includes(publicKey.kind)
        ? undefined
        : `its key is of the kind ${publicKey.kind}; modules are signed by ${kinds.join(" or ")}`;
  if (fault === undefined && keyId !== undefined)
    return { ...signer, keyId: keyId.toString("hex"), digest: sha256(signer.certificate.raw), publicKey };
  throw new FarmError("KEY_UNREADABLE", {
    about: what,
    detail: fault ?? "",
    hint: "`kmodfarm keys create NAME --for module` makes a key and its certificate.",
  });
}

/** Names of files hold it. */
const LONGEST_KEY_ID_BYTES = 64;

export function sidecarOf({ issuer, serial, publicKey }: ModuleCertificate, signature: Uint8Array): Buffer {
  const cms = writeCms({ issuer, serial, scheme: publicKey.kind === "rsa" ? "rsa" : "ecdsa", signature });
  return Buffer.concat([cms, signatureTrailer(cms)]);
}
