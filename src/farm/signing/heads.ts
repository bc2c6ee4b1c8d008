/** Who makes a generation, and signs the head that nodes find it by. */
import type { Digest } from "../../base/json.ts";
import type { Author } from "../../registry/commit.ts";
import { type HeadMaker, trustsAny } from "../../registry/head.ts";
import { readTrusts } from "../../registry/metadata.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { Farm } from "../open.ts";
import { hasOwnKeys } from "./keys.ts";

type Signing = { readonly signing: Farm["signing"]; readonly config: Pick<Farm["config"], "keys"> };

/** Heads signed by every key of that role. Those that a run made by itself may be foreign to a registry of others. */
export function headMaker({ signing, config }: Signing, now: () => Date): HeadMaker {
  return {
    now,
    ...(hasOwnKeys(config.keys) ? {} : { unchosen: () => ownHeadKeys(signing) }),
    sign: async (text) => {
      const signed = [];
      for (const [name, key] of await signing.keysFor("head"))
        signed.push({ key, signature: await signing.sign("head", { kind: "head", text }, name) });
      return signed;
    },
  };
}

/** Who publishes for a farm: what is published nodes hear of. */
export function authorOf(farm: Signing, who: string, what: string, now: () => Date): Author {
  return { who, what, now, head: headMaker(farm, now) };
}

/** What to say where nodes will not hear of what this farm publishes; undefined where they will. */
export async function untrustedNote(
  store: Store,
  { signing }: Pick<Signing, "signing">,
): Promise<string | undefined> {
  const trust = (await readTrusts(store)).at(-1);
  if (trust === undefined || trustsAny(trust, await ownHeadKeys(signing))) return undefined;
  return `head: root ${trust.version} of ${store.place} trusts other keys than those that this machine made by itself, so nodes do not hear of what it publishes; configure \`keys\` with the registry's own (docs/trust.md)`;
}

async function ownHeadKeys(signing: Farm["signing"]): Promise<Digest[]> {
  return [...(await signing.keysFor("head")).values()].map(({ fingerprint }) => fingerprint);
}
