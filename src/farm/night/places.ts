/** Published texts do not reveal where files are on this machine. */
import { dirname } from "node:path";
import type { Farm } from "../open.ts";

/** Puts `$CACHE`, `$STORE`, `$CONFIG` and `$KMODFARM` in the place of this farm's own directories. */
export function withoutPlaces({ cache, store, config, images }: Farm): (text: string) => string {
  const places: readonly [place: string, name: string][] = [
    [cache, "$CACHE"],
    [store.place, "$STORE"],
    [dirname(images), "$KMODFARM"],
    [config.base, "$CONFIG"],
  ];
  // A place may be inside another one: the longer is the better name.
  const known = places.filter(([place]) => place !== "/").toSorted(([a], [b]) => b.length - a.length);
  return (text) => known.reduce((shown, [place, name]) => shown.replaceAll(place, name), text);
}
