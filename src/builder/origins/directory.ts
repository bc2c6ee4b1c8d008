/**
 * A source in a directory: read where it is, as it is worked on.
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { isArchiveName } from "./archive.ts";
import { ignoredByGit } from "./git-ignored.ts";
import { anyOf, leftOutAt } from "./not-source.ts";
import { invalidDriver, type Origin } from "./origin.ts";
import { isPackageName } from "./package.ts";

export const directory: Origin = {
  kind: "directory",
  fits: (place) => typeof place === "string" && !isArchiveName(place) && !isPackageName(place),
  async fetch(place, _version, context) {
    const { base, own } = context;
    const path = resolve(base, place as string);
    const [ending] = /\.(zip|7z|rar)$/i.exec(path) ?? [];
    if (ending !== undefined)
      throw invalidDriver(
        `${path} is a ${ending} archive, and sources are .tar archives`,
        undefined,
        "Unpack it and configure the directory, or pack that as a .tar.xz archive.",
      );
    if ((await stat(path).catch(() => undefined))?.isFile())
      throw invalidDriver(`${path} is a file, but by its name neither a .tar archive nor a .deb package`);
    const isLeftOut = anyOf(await leftOutAt(path, own), await ignoredByGit(path, context));
    return { directory: path, origin: { kind: "directory", place: path }, isWorkedOn: true, isLeftOut };
  },
};
