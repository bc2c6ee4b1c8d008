/**
 * Every root method there is.
 */

import type { InstalledPackage } from "../../records.ts";
import { apt } from "./apt.ts";
import { takeOut } from "./box.ts";
import { dnf } from "./dnf.ts";
import type { MadeRoot, ReleaseMirror, RootContext, RootPlace, RootSpec } from "./root-method.ts";

/** What a method of that format always asks its tool for. */
export function rootOptions(format: ReleaseMirror["format"]): readonly string[] {
  return format === "deb" ? apt.options : dnf.options;
}

/** Makes a root whose files are root's, and no program in it anybody's way to be root. */
export async function makeRoot(
  spec: RootSpec,
  mirror: ReleaseMirror,
  context: RootContext,
  signal?: AbortSignal,
): Promise<MadeRoot> {
  const made = await (mirror.format === "deb"
    ? apt.make(spec, mirror, context, signal)
    : dnf.make(spec, mirror, context, signal));
  await takeOut(spec.root);
  return made;
}

/** Makes a root again of the packages that it was made of; as `makeRoot`. */
export async function remakeRoot(
  place: RootPlace,
  format: ReleaseMirror["format"],
  packages: readonly string[],
  signal?: AbortSignal,
): Promise<readonly InstalledPackage[]> {
  const installed = await (format === "deb" ? apt : dnf).remake(place, packages, signal);
  await takeOut(place.root);
  return installed;
}
