/**
 * A source in a directory: read where it is.
 */
import { resolve } from "node:path";
import { isArchiveName } from "./archive.ts";
import type { Origin } from "./origin.ts";
import { isPackageName } from "./package.ts";

export const directory: Origin = {
  kind: "directory",
  fits: (place) => typeof place === "string" && !isArchiveName(place) && !isPackageName(place),
  async fetch(place, _version, { base }) {
    const path = resolve(base, place as string);
    return { directory: path, origin: { kind: "directory", place: path } };
  },
};
