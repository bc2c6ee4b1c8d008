/** What a registry publishes, read by whoever trusts its root and nothing else: from the signed head to the generation. */
import { FarmError } from "../base/error.ts";
import { acceptHead, HEAD_PATH } from "../provenance/head.ts";
import type { Trust } from "../provenance/trust.ts";
import type { Published } from "./documents.ts";
import { type GenerationPlace, readGeneration, requireGeneration } from "./generations.ts";
import { readHeadAt, readTrusts } from "./metadata.ts";
import { NOTHING_PUBLISHED } from "./parts.ts";
import { corruptStore } from "./stored.ts";

export interface SignedState {
  readonly state: Published;
  /** What was believed without proof. */
  readonly remarks: readonly string[];
}

/** @throws FarmError METADATA_UNSIGNED, METADATA_EXPIRED, NOTE_MALFORMED, STORE_CORRUPT */
export async function readSignedState(
  place: GenerationPlace,
  trusted: Trust | undefined,
  now: Date,
): Promise<SignedState> {
  const trusts = await readTrusts(place, trusted);
  const trust = trusts.at(-1);
  if (trust === undefined)
    throw new FarmError("METADATA_UNSIGNED", {
      about: place.place,
      joint: " ",
      detail: "has no root: nothing in it is signed",
    });
  const found = await readHeadAt(place, trusts);
  if (found === undefined) throw corruptStore(place, `${HEAD_PATH} is missing`, HEAD_PATH);
  const { generation: head } = acceptHead(trust, found.note, undefined, now, `${place.place}/${HEAD_PATH}`);
  const generation = await requireGeneration(place, head);
  const state = await readGeneration(place, { head, generation }, NOTHING_PUBLISHED);
  const remark = `the registry's own root 1 of ${trust.origin} is believed: --root names one that you trust`;
  return { state, remarks: trusted === undefined ? [remark] : [] };
}
