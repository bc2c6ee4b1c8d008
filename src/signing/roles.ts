/**
 * What keys are for: each signs only what its role may, and is of a kind that those who verify it can read.
 */
import type { KeyKind } from "../provenance/public-key.ts";
import type { SigningRequest } from "./signer.ts";

interface RoleRule {
  readonly signs: readonly SigningRequest["kind"][];
  /** The first is what `keys create` makes. */
  readonly kinds: readonly KeyKind[];
}

export const ROLE_NAMES = ["root", "head", "builder", "module", "log", "witness"] as const;
export type Role = (typeof ROLE_NAMES)[number];

/** Nodes verify root and head with the `openssl` that they have: before 3.0, its commands know no Ed25519. */
export const ROLES: Readonly<Record<Role, RoleRule>> = {
  root: { signs: ["root"], kinds: ["p256"] },
  head: { signs: ["head", "generation"], kinds: ["p256"] },
  builder: { signs: ["statement", "subject"], kinds: ["p256", "ed25519"] },
  /** What kernels take, and `sign-file` makes. */
  module: { signs: ["module"], kinds: ["rsa", "p256"] },
  /** What programs for transparency logs verify. */
  log: { signs: ["checkpoint"], kinds: ["ed25519"] },
  witness: { signs: ["cosignature"], kinds: ["ed25519"] },
};
