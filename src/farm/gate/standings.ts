/**
 * Where every artifact of a state stands today, by the configured policy.
 */
import { type FarmError, toFarmError } from "../../base/error.ts";
import type { Published } from "../../registry/documents.ts";
import { type Placed, placedIn } from "../../registry/element-state.ts";
import type { Gate } from "./gate.ts";

/** An artifact, where it stands, and what is wrong with what the store has of it. */
export interface PlacedToday extends Placed {
  readonly fault?: FarmError;
}

/** The index tells it of nearly all; of the others the manifest is read. */
export async function standingsToday(
  gate: Gate,
  state: Pick<Published, "indices" | "decisions">,
): Promise<PlacedToday[]> {
  const placed: PlacedToday[] = [];
  for (const { listed, standing } of placedIn(state))
    try {
      placed.push({ listed, standing: await gate.standing(listed) });
    } catch (thrown) {
      const fault = toFarmError(thrown);
      if (fault.blame !== "integrity") throw fault;
      placed.push({ listed, standing, fault });
    }
  return placed;
}
