/**
 * No key at all: each process of the signer makes one of its own, and it ends with the process. Whose it is, certificates
 * say: the farm asks for them (signing/certificates.ts), because the signer has no network.
 */
import { generateKeyPairSync } from "node:crypto";
import type { Secret } from "../../base/secret.ts";
import type { Identity } from "../../provenance/builder.ts";
import { heldKey } from "./held.ts";
import type { KeyFamily } from "./key.ts";

export interface KeylessPlace extends Identity {
  readonly kind: "keyless";
  /** File with the authorities and logs that its certificates are verified with. */
  readonly roots: string;
  /** Who certifies. */
  readonly fulcio: string;
  /** The public log of what was signed. */
  readonly rekor?: { readonly url: string; readonly version: 1 | 2 };
  /** Who says when something was signed. */
  readonly timestamps?: string;
  readonly token: TokenPlace;
}

/** Where the token is that proves the identity. */
export type TokenPlace =
  | { readonly kind: "file"; readonly path: string }
  /** In the environment, under the variable's name. */
  | { readonly kind: "given"; readonly secret: Secret; readonly variable: string }
  /** GitHub Actions is asked for one with this audience. */
  | { readonly kind: "github"; readonly url: string; readonly bearer: Secret; readonly audience: string };

export const keyless: KeyFamily<KeylessPlace> = {
  access: () => ({}),
  async open(_place, _password, what) {
    return heldKey(generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey, what);
  },
};
