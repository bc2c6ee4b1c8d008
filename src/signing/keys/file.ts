/**
 * Private keys in files: PKCS #8 in PEM, encrypted with scrypt or not at all. The farm opens the file and reads nothing
 * of it; the signer reads it from its descriptor.
 */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateEncrypt,
  sign,
} from "node:crypto";
import { constants as flags, openSync, readFileSync } from "node:fs";
import { FarmError, isErrno } from "../../base/error.ts";
import { type PublicKey, publicKeyOf } from "../../provenance/public-key.ts";
import type { KeyFamily, SigningKey } from "./key.ts";

export interface FilePlace {
  readonly kind: "file";
  readonly path: string;
}

const DESCRIPTOR = 4;
const ENCRYPTED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n";
const PLAIN = "-----BEGIN PRIVATE KEY-----\n";

export const file: KeyFamily<FilePlace> = {
  access({ path }) {
    try {
      return { descriptors: [openSync(path, flags.O_RDONLY | flags.O_NONBLOCK)] };
    } catch (thrown) {
      if (!isErrno(thrown)) throw thrown;
      const detail = `the key ${path} cannot be opened (${thrown.code})`;
      throw new FarmError("KEY_UNREADABLE", {
        detail,
        hint: "Make keys with `kmodfarm keys create`, and name them in `keys` of the configuration.",
        cause: thrown,
      });
    }
  },
  async open(_place, password, what) {
    const pem = readFileSync(DESCRIPTOR, "utf8");
    if (pem.startsWith(PLAIN)) return openedKey(privateKey(pem, undefined, what), what);
    if (pem.startsWith(ENCRYPTED)) return openedKey(privateKey(pem, await password(), what), what);
    throw new FarmError("KEY_UNREADABLE", {
      about: what,
      detail: "it is not a private key of PKCS #8 in PEM",
      hint: "`openssl pkcs8 -topk8 -scrypt -in KEY -out NEW` makes one of other formats.",
    });
  },
};

function privateKey(pem: string, password: string | undefined, what: string): KeyObject {
  if (password === "")
    throw new FarmError("KEY_LOCKED", { about: what, detail: "it needs a password, and none was given" });
  try {
    return createPrivateKey({ key: pem, ...(password === undefined ? {} : { passphrase: password }) });
  } catch {
    // OpenSSL's words may quote what it read.
    throw password === undefined
      ? new FarmError("KEY_UNREADABLE", { about: what, detail: "OpenSSL cannot read it as a private key" })
      : new FarmError("KEY_LOCKED", { about: what, detail: "the password does not open it" });
  }
}

async function openedKey(key: KeyObject, what: string): Promise<SigningKey> {
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
