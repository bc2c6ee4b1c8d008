/** The members of the family of keys, by the kinds of their places. */
import { type FilePlace, file } from "./file.ts";
import type { KeyFamily } from "./key.ts";
import { type KeylessPlace, keyless } from "./keyless.ts";
import { type Pkcs11Place, pkcs11 } from "./pkcs11.ts";

export type KeyPlace = FilePlace | Pkcs11Place | KeylessPlace;

const FAMILIES: {
  readonly [Kind in KeyPlace["kind"]]: KeyFamily<Extract<KeyPlace, { readonly kind: Kind }>>;
} = { file, pkcs11, keyless };

/** A place is only ever given to the member of its own kind. */
export function familyOf({ kind }: KeyPlace): KeyFamily<KeyPlace> {
  return FAMILIES[kind] as KeyFamily<KeyPlace>;
}
