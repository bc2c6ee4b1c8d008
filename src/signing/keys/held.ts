/** A private key in this process's memory, and what Node.js signs with it. */
import { constants, createPublicKey, type KeyObject, privateEncrypt, sign } from "node:crypto";
import { FarmError } from "../../base/error.ts";
import { type PublicKey, publicKeyOf } from "../../provenance/public-key.ts";
import type { SigningKey } from "./key.ts";

/** `what` names it in errors. @throws FarmError KEY_UNREADABLE for a kind that nobody verifies */
export async function heldKey(key: KeyObject, what: string): Promise<SigningKey> {
  const publicKey = publicKeyOf(createPublicKey(key), what);
  const signDigest = await digestSigner(key, publicKey, what);
  return {
    publicKey,
    sign: async (message) => sign(publicKey.kind === "ed25519" ? null : "sha256", message, key),
    signDigest: async (sha256) => signDigest(sha256),
  };
}

/** DigestInfo of a SHA-256 (RFC 8017, 9.2, note 1). */
const DIGEST_INFO = Buffer.from("3031300d060960864801650304020105000420", "hex");

async function digestSigner(
  key: KeyObject,
  { kind }: PublicKey,
  what: string,
): Promise<(sha256: Uint8Array) => Uint8Array> {
  if (kind === "rsa")
    return (sha256) =>
      privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, Buffer.concat([DIGEST_INFO, sha256]));
  if (kind === "p256") {
    // Node.js hashes whatever it signs with ECDSA; OpenSSL's own program would be a process for each signature.
    const { p256 } = await import("@noble/curves/nist.js");
    const secret = Buffer.from(key.export({ format: "jwk" }).d ?? "", "base64url");
    return (sha256) => p256.sign(sha256, secret, { prehash: false, format: "der", lowS: false });
  }
  return () => {
    throw new FarmError("KEY_UNREADABLE", { about: what, detail: `${kind} keys cannot sign modules` });
  };
}
