/**
 * A source in a directory: read where it is.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { isArchiveName } from "./archive.ts";
import { invalidDriver, type Origin } from "./origin.ts";
import { isPackageName } from "./package.ts";

export const directory: Origin = {
  kind: "directory",
  fits: (place) => typeof place === "string" && !isArchiveName(place) && !isPackageName(place),
  async fetch(place, _version, { base }) {
    const path = resolve(base, place as string);
    if ((await stat(path).catch(() => undefined))?.isFile())
      throw invalidDriver(`${path} is a file, but by its name neither a .tar archive nor a .deb package`);
    return { directory: path, origin: { kind: "directory", place: path } };
  },
};
