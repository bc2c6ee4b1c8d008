/** Who makes a generation, and signs the head that nodes find it by. */
import type { Author } from "../registry/commit.ts";
import type { HeadMaker } from "../registry/head.ts";
import type { Farm } from "./open.ts";

type Signing = Pick<Farm, "signing">;

/** Heads signed by every key of that role. */
export function headMaker({ signing }: Signing, now: () => Date): HeadMaker {
  return {
    now,
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
