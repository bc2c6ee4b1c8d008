/**
 * Private keys in files: PKCS #8 in PEM, encrypted with scrypt or not at all. The farm opens the file and reads nothing
 * of it; the signer reads it from its descriptor.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { constants as flags, openSync, readFileSync } from "node:fs";
import { FarmError, isErrno } from "../../base/error.ts";
import { heldKey } from "./held.ts";
import type { KeyFamily } from "./key.ts";

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
    if (pem.startsWith(PLAIN)) return heldKey(privateKey(pem, undefined, what), what);
    if (pem.startsWith(ENCRYPTED)) return heldKey(privateKey(pem, await password(), what), what);
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
