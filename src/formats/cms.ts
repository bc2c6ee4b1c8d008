/**
 * Reads the detached signature that `sign-file` appends to a module: CMS SignedData (RFC 5652) with one signer and
 * no certificates. What the kernel's own writer never makes is refused, not passed over.
 */
import {
  DER,
  type DerValue,
  readDerValue,
  readDerValues,
  readObjectIdentifier,
  readPositiveInteger,
} from "./der.ts";
import { malformed } from "./elf.ts";

/** Who signed: by the issuer and number of a certificate, or by the identifier of a key. */
type SignerName =
  | {
      /** DER of the issuer's name, as it stands in the certificate. */
      readonly issuer: Uint8Array;
      /** Lower-case hexadecimal. */
      readonly serial: string;
    }
  | { readonly keyId: Uint8Array };

export interface CmsSignature {
  readonly signer: SignerName;
  readonly digest: DigestName;
  readonly scheme: SchemeName;
  readonly signature: Uint8Array;
  /**
   * DER of the attributes, as a SET, that were signed in place of the content; they hold its digest. Absent where
   * the content itself was signed, as `sign-file` does it.
   */
  readonly attributes?: Uint8Array;
}

/** As node:crypto names them. */
type DigestName = "sha256" | "sha384" | "sha512" | "sha3-256" | "sha3-384" | "sha3-512";
type SchemeName = "rsa" | "ecdsa" | "ml-dsa";

const SIGNED_DATA = "1.2.840.113549.1.7.2";
const DATA = "1.2.840.113549.1.7.1";
const NIST_HASHES = "2.16.840.1.101.3.4.2";
const NIST_SIGNATURES = "2.16.840.1.101.3.4.3";
/** RFC 5754, RFC 8702, and NIST's register of algorithms. */
const DIGESTS: ReadonlyMap<string, DigestName> = new Map([
  [`${NIST_HASHES}.1`, "sha256"],
  [`${NIST_HASHES}.2`, "sha384"],
  [`${NIST_HASHES}.3`, "sha512"],
  [`${NIST_HASHES}.8`, "sha3-256"],
  [`${NIST_HASHES}.9`, "sha3-384"],
  [`${NIST_HASHES}.10`, "sha3-512"],
]);
const SCHEMES: ReadonlyMap<string, SchemeName> = new Map([
  ["1.2.840.113549.1.1.1", "rsa"],
  ["1.2.840.113549.1.1.11", "rsa"],
  ["1.2.840.113549.1.1.12", "rsa"],
  ["1.2.840.113549.1.1.13", "rsa"],
  ["1.2.840.10045.4.3.2", "ecdsa"],
  ["1.2.840.10045.4.3.3", "ecdsa"],
  ["1.2.840.10045.4.3.4", "ecdsa"],
  ...[10, 11, 12].map((number) => [`${NIST_SIGNATURES}.${number}`, "ecdsa"] as const),
  ...[14, 15, 16].map((number) => [`${NIST_SIGNATURES}.${number}`, "rsa"] as const),
  ...[17, 18, 19].map((number) => [`${NIST_SIGNATURES}.${number}`, "ml-dsa"] as const),
]);

/** `what` names the module in errors. @throws FarmError MODULE_MALFORMED, and nothing else */
export function readCms(bytes: Uint8Array, what: string): CmsSignature {
  const outer = new Walk([readWhole(bytes, what)], what).enter(DER.sequence);
  outer.identifier(SIGNED_DATA);
  const signed = outer.enter(DER.tagged(0)).enter(DER.sequence);
  signed.version();
  const [digests, content, signers] = [
    signed.enter(DER.set),
    signed.enter(DER.sequence),
    signed.enter(DER.set),
  ];
  outer.end();
  signed.end();
  content.identifier(DATA);
  content.end();
  const declared = digestOf(digests.enter(DER.sequence), what);
  digests.end();
  const found = readSigner(signers.enter(DER.sequence), what);
  signers.end();
  if (found.digest !== declared) throw malformed(what, "its signature names two digests");
  return found;
}

function readSigner(walk: Walk, what: string): CmsSignature {
  const version = walk.version();
  const signer = readSignerName(walk, version, what);
  const digest = digestOf(walk.enter(DER.sequence), what);
  const attributes = walk.optional(DER.tagged(0));
  const scheme = schemeOf(walk.enter(DER.sequence), what);
  const signature = walk.take(DER.octetString).content;
  walk.end();
  return {
    ...{ signer, digest, scheme, signature },
    // RFC 5652, 5.4: what is signed has the tag of a SET in place of [0].
    ...(attributes === undefined
      ? {}
      : { attributes: Uint8Array.of(DER.set, ...attributes.whole.subarray(1)) }),
  };
}

/** Version 1 names a certificate, version 3 a key. */
function readSignerName(walk: Walk, version: number, what: string): SignerName {
  if (version === 3) return { keyId: walk.take(DER.implicit(0)).content };
  if (version !== 1) throw malformed(what, `its signature is of the unknown version ${version}`);
  const name = walk.enter(DER.sequence);
  const issuer = name.take(DER.sequence);
  checkName(issuer, what);
  const serial = readPositiveInteger(name.take(DER.integer), what);
  name.end();
  return { issuer: issuer.whole, serial };
}

/** A Name (RFC 5280, 4.1.2.4): kernels go through all of it, and refuse a module for one that is none. */
function checkName({ content }: DerValue, what: string): void {
  for (const part of readDerValues(content, what)) {
    const assertions = new Walk([part], what).enter(DER.set);
    while (!assertions.isAtEnd) {
      const assertion = assertions.enter(DER.sequence);
      assertion.take(DER.objectIdentifier);
      assertion.any();
      assertion.end();
    }
  }
}

function digestOf(walk: Walk, what: string): DigestName {
  const name = readObjectIdentifier(walk.take(DER.objectIdentifier), what);
  walk.optional(DER.null);
  walk.end();
  const digest = DIGESTS.get(name);
  if (digest === undefined)
    throw malformed(what, `its signature uses the digest ${name}, which no kernel accepts`);
  return digest;
}

function schemeOf(walk: Walk, what: string): SchemeName {
  const name = readObjectIdentifier(walk.take(DER.objectIdentifier), what);
  walk.optional(DER.null);
  walk.end();
  const scheme = SCHEMES.get(name);
  if (scheme === undefined) throw malformed(what, `it is signed by ${name}, which no kernel takes`);
  return scheme;
}

function readWhole(bytes: Uint8Array, what: string): DerValue {
  const value = readDerValue(bytes, 0, what);
  if (value.whole.length !== bytes.length) throw malformed(what, "something follows its signature");
  return value;
}

/** Goes through the values of one constructed one, each of which must be what was expected there. */
class Walk {
  readonly #values: readonly DerValue[];
  readonly #what: string;
  #at = 0;

  constructor(values: readonly DerValue[], what: string) {
    this.#values = values;
    this.#what = what;
  }

  take(tag: number): DerValue {
    const value = this.optional(tag);
    if (value !== undefined) return value;
    const found = this.#values[this.#at]?.tag.toString(16) ?? "nothing";
    throw malformed(this.#what, `its signature has ${found} where CMS has ${tag.toString(16)}`);
  }

  optional(tag: number): DerValue | undefined {
    const value = this.#values[this.#at];
    if (value?.tag !== tag) return undefined;
    this.#at++;
    return value;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#values.length;
  }

  /** Whatever comes next, as long as something does. */
  any(): void {
    if (this.isAtEnd) throw malformed(this.#what, "its signature ends where CMS has a value");
    this.#at++;
  }

  enter(tag: number): Walk {
    return new Walk(readDerValues(this.take(tag).content, this.#what), this.#what);
  }

  identifier(wanted: string): void {
    const found = readObjectIdentifier(this.take(DER.objectIdentifier), this.#what);
    if (found !== wanted) throw malformed(this.#what, `its signature holds ${found}, not ${wanted}`);
  }

  version(): number {
    return Number.parseInt(readPositiveInteger(this.take(DER.integer), this.#what), 16);
  }

  end(): void {
    if (!this.isAtEnd) throw malformed(this.#what, "its signature holds more than `sign-file` writes");
  }
}
