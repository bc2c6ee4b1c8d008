/**
 * Whether a module was signed by the owner of one of some certificates, as the kernel would find out.
 */
import { createHash, timingSafeEqual, verify, X509Certificate } from "node:crypto";
import type { CmsSignature } from "../formats/cms.ts";
import { DER, readDerValues, readPositiveInteger } from "../formats/der.ts";
import { malformed } from "../formats/elf.ts";
import { type SplitModule, splitSignature } from "../formats/module-signature.ts";
import type { KernelRecord } from "../inputs/kernel-record.ts";
import { judgeSplit, type LinuxRoot } from "../provenance/trees/linux-merkle.ts";
import type { OpenedModule } from "./opened-modules.ts";

/** A certificate with what signatures name it by. */
export interface Signer {
  readonly certificate: X509Certificate;
  /** DER of its issuer's name, and its number in lower-case hexadecimal. */
  readonly issuer: Uint8Array;
  readonly serial: string;
}

/** What can be wrong with a signature. */
type SignatureFault = "otherRoot" | "unknownKey" | "otherDigest" | "wrongSignature" | "unusableKey";

export type SignatureVerdict =
  | { readonly kind: "good"; readonly signer: Signer }
  /** By a Merkle proof that leads to the root in the kernel. */
  | { readonly kind: "proven" }
  /** A Merkle proof, and no root to judge it by. */
  | { readonly kind: "unjudged"; readonly fact: string }
  | { readonly kind: "bad"; readonly code: SignatureFault; readonly fact: string }
  | { readonly kind: "unsigned" };

/** @throws FarmError MODULE_MALFORMED for what is no certificate */
export function readSigner(der: Uint8Array, what: string): Signer {
  // Certificate → tbsCertificate → [0] version, serialNumber, signature, issuer (RFC 5280, 4.1).
  const [whole] = readDerValues(der, what);
  const [body] = readDerValues(whole?.content ?? new Uint8Array(), what);
  const fields = readDerValues(body?.content ?? new Uint8Array(), what);
  const [serial, , issuer] = fields[0]?.tag === DER.tagged(0) ? fields.slice(1) : fields;
  if (serial === undefined || issuer === undefined) throw malformed(what, "it is not a certificate");
  return {
    certificate: readCertificate(der, what),
    issuer: issuer.whole,
    serial: readPositiveInteger(serial, what),
  };
}

/** What OpenSSL cannot read, it says in errors of its own. */
function readCertificate(der: Uint8Array, what: string): X509Certificate {
  try {
    const certificate = new X509Certificate(der);
    void [certificate.subject, certificate.fingerprint256];
    return certificate;
  } catch {
    throw malformed(what, "it is not a readable certificate");
  }
}

/**
 * Names do not decide: every kernel's key has the same one. Issuer and number find the key, the key decides. Proofs are
 * judged by `root`, that of the kernel.
 */
export function verifySignature(
  { content, signature }: SplitModule,
  signers: readonly Signer[],
  root?: LinuxRoot,
): SignatureVerdict {
  if (signature === undefined) return { kind: "unsigned" };
  if (signature.kind === "merkle") {
    if (root === undefined)
      return {
        kind: "unjudged",
        fact: "it has a Merkle proof, and no root of its kernel to judge that by is known",
      };
    return judgeSplit(content, signature.bytes, root) === "authenticated"
      ? { kind: "proven" }
      : bad("otherRoot", "its Merkle proof does not lead to the root that is in the kernel");
  }
  const { cms } = signature;
  const signer = signers.find((one) => isNamedBy(one, cms));
  if (signer === undefined) return bad("unknownKey", `it is signed with an unknown key (${nameOf(cms)})`);
  if (cms.attributes !== undefined && !holdsDigest(cms, content))
    return bad("otherDigest", "the signature is over another module's digest");
  const signed = cms.attributes ?? content;
  const algorithm = cms.scheme === "ml-dsa" ? null : cms.digest;
  try {
    return verify(algorithm, signed, signer.certificate.publicKey, cms.signature)
      ? { kind: "good", signer }
      : bad("wrongSignature", "its signature does not match its bytes");
  } catch {
    // A key that OpenSSL does not know shows only when it is used, and so does one that is not for such signatures.
    return bad("unusableKey", "its signature cannot be verified with the key it names");
  }
}

function bad(code: SignatureFault, fact: string): SignatureVerdict {
  return { kind: "bad", code, fact };
}

function isNamedBy({ issuer, serial, certificate }: Signer, { signer }: CmsSignature): boolean {
  if ("serial" in signer) return signer.serial === serial && Buffer.from(issuer).equals(signer.issuer);
  return keyIdOf(certificate)?.equals(signer.keyId) ?? false;
}

function nameOf({ signer }: CmsSignature): string {
  return "serial" in signer ? `serial ${signer.serial}` : `key ${Buffer.from(signer.keyId).toString("hex")}`;
}

/** The identifier that the certificate states (RFC 5280, 4.2.1.2): an octet string within that of the extension. */
const KEY_IDENTIFIER = Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x0e]);

export function keyIdOf({ raw }: X509Certificate): Buffer | undefined {
  const at = raw.indexOf(KEY_IDENTIFIER);
  if (at === -1) return undefined;
  const [outer, inner, length = 0] = [raw[at + 5], raw[at + 7], raw[at + 8]];
  if (outer !== DER.octetString || inner !== DER.octetString) return undefined;
  return raw.subarray(at + 9, at + 9 + length);
}

const MESSAGE_DIGEST = Buffer.from([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04, 0x31]);

/** The attribute messageDigest (RFC 5652, 11.2): a set of one octet string. */
function holdsDigest({ attributes = new Uint8Array(), digest }: CmsSignature, content: Uint8Array): boolean {
  const wanted = createHash(digest).update(content).digest();
  const bytes = Buffer.from(attributes);
  const at = bytes.indexOf(MESSAGE_DIGEST);
  if (at === -1 || bytes.indexOf(MESSAGE_DIGEST, at + 1) !== -1) return false;
  const start = at + MESSAGE_DIGEST.length;
  const [set, tag, length] = [bytes[start], bytes[start + 1], bytes[start + 2]];
  const said = bytes.subarray(start + 3, start + 3 + wanted.length);
  if (set !== wanted.length + 2 || tag !== DER.octetString || length !== wanted.length) return false;
  return said.length === wanted.length && timingSafeEqual(said, wanted);
}

/** What a kernel's own keys are, and why they are not all known, where that is so. */
export interface KernelKeys {
  readonly own: readonly Signer[];
  /** The root of its own modules; undefined where it has none, or none that can be seen. */
  readonly root?: LinuxRoot | undefined;
  readonly gap?: string | undefined;
}

/** What a kernel does with signatures when it loads modules. */
export interface SignatureAnswer {
  /** Modules that it refuses. */
  readonly faults: readonly string[];
  /** Those that cannot be judged here. */
  readonly gaps: readonly string[];
}

/**
 * A kernel that forces none still refuses a signature by one of its own keys that does not fit; one by a key that it does
 * not know is like none at all. Source: module_sig_check() of kernel/module/signing.c, read for facts.
 */
export function signatureAnswer(
  modules: readonly OpenedModule[],
  { own, root, gap }: KernelKeys,
  { config }: Pick<KernelRecord, "config">,
): SignatureAnswer {
  const [faults, gaps] = [[], []] as [string[], string[]];
  const hasProofs = config?.get("MODULE_HASHES") === "y";
  if (config?.get("MODULE_SIG") === undefined && !hasProofs) return { faults, gaps };
  const isForced = config?.get("MODULE_SIG_FORCE") === "y";
  for (const { file, bytes } of modules) {
    const split = splitSignature(bytes, file);
    const found = verifySignature(split, own, root);
    if (found.kind === "good" || found.kind === "proven") continue;
    const isLikeNone = found.kind !== "bad" || found.code === "unknownKey" || found.code === "otherRoot";
    if (!isLikeNone) faults.push(`${file}: ${found.fact}; no kernel with that key loads it`);
    else if (gap !== undefined && split.signature?.kind === "pkcs7")
      gaps.push(`${file} is signed, but ${gap}`);
    else if (found.kind === "unjudged" && hasProofs) gaps.push(`${file}: ${found.fact}`);
    else if (isForced)
      faults.push(
        `${file}: ${found.kind === "unsigned" ? "unsigned" : found.fact}; this kernel loads only modules signed with its own keys`,
      );
  }
  return { faults, gaps };
}
