/** Who makes a generation, and signs the head that nodes find it by. */
import type { PublicKey } from "../../provenance/public-key.ts";
import type { Author } from "../../registry/commit.ts";
import type { Published } from "../../registry/documents.ts";
import type { Store } from "../../registry/stores/store.ts";
import { type HeadMaker, openVoucher, readVouched, type Voucher } from "../../registry/vouched.ts";
import type { Role } from "../../signing/roles.ts";
import type { SigningRequest } from "../../signing/signer.ts";
import type { Farm } from "../open.ts";
import { hasOwnKeys } from "./keys.ts";
import { knownRootOf } from "./known-root.ts";

interface Signing {
  readonly signing: Farm["signing"];
  readonly config: Pick<Farm["config"], "keys"> &
    Partial<Pick<Farm["config"], "views" | "keyDirectory" | "root" | "store">>;
}

/** Heads signed by every key of that role. Those that a run made by itself may be foreign to a registry of others. */
export function headMaker({ signing, config }: Signing, now: () => Date): HeadMaker {
  const { root, keyDirectory, store = "" } = config;
  return {
    now,
    ...(keyDirectory === undefined
      ? {}
      : { knownRoot: (place) => knownRootOf({ root, keyDirectory, store }, place) }),
    keys: () => ownHeadKeys(signing),
    isChosen: hasOwnKeys(config.keys),
    sign: (text) => signedBy(signing, "head", { kind: "head", text }),
    vouch: (text) => signedBy(signing, "head", { kind: "generation", text }),
    signCheckpoint: (text) => signedBy(signing, "log", { kind: "checkpoint", text }),
  };
}

/** Signatures by every key of a role. */
async function signedBy(signing: Farm["signing"], role: Role, request: SigningRequest) {
  const signed = [];
  for (const [name, key] of await signing.keysFor(role))
    signed.push({ key, signature: await signing.sign(role, request, name) });
  return signed;
}

/** Who publishes for a farm: what is published nodes hear of. */
export function authorOf(farm: Signing, who: string, what: string, now: () => Date): Author {
  const wantsClientView = farm.config.views?.includes("falco") === true;
  return { who, what, now, head: headMaker(farm, now), wantsClientView };
}

/** What is published, for those who will publish upon it, or sign what it holds. @throws FarmError as `readVouched` */
export async function readOwn(farm: Signing & Pick<Farm, "store">, now: () => Date): Promise<Published> {
  return readVouched(farm.store, await openVoucher(farm.store, headMaker(farm, now)));
}

/** What to say where nodes will not hear of what this farm publishes; undefined where they will. */
export function untrustedNote({ place }: Store, { trusts, counting }: Voucher): string | undefined {
  const trust = trusts.at(-1);
  if (trust === undefined || counting !== undefined) return undefined;
  return `head: root ${trust.version} of ${place} trusts other keys than those that this machine made by itself, so nodes do not hear of what it publishes; configure \`keys\` with the registry's own (docs/trust.md)`;
}

async function ownHeadKeys(signing: Farm["signing"]): Promise<PublicKey[]> {
  return [...(await signing.keysFor("head")).values()];
}
