/**
 * Whether the farm's places are the farm's: keys that somebody else made would sign for him, and whoever owns a cache goes in
 * and out of it. Directories in which anybody creates, such as /tmp, are where others come first.
 */
import { FarmError } from "../../base/error.ts";
import { ownUsersAnd, strangerAbove, strangerAt } from "../../base/own-place.ts";

/**
 * Every place, and each directory on the way to it, belongs to this user, to root, or to whom the configuration or its
 * directory belongs; and nobody else can put another in its place.
 * @throws FarmError PLACE_UNUSABLE naming the first that does not
 */
export async function requireOwnPlaces(
  places: readonly string[],
  { file, base }: { readonly file: string; readonly base: string },
): Promise<void> {
  const trusted = await ownUsersAnd([file, base]);
  for (const place of places) {
    const fact = (await strangerAbove(place, trusted)) ?? (await strangerAt(place, trusted));
    if (fact !== undefined)
      throw new FarmError("PLACE_UNUSABLE", {
        detail: fact,
        hint: "Remove it if it is not yours. Otherwise change its owner and permissions, or name another place in the configuration.",
      });
  }
}
