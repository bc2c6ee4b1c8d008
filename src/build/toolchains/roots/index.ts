/**
 * Every root method there is.
 */
import { dnf } from "./dnf.ts";
import { mmdebstrap } from "./mmdebstrap.ts";
import type { MadeRoot, ReleaseMirror, RootSpec } from "./root-method.ts";

/** What a method of that format always asks its tool for. */
export function rootOptions(format: ReleaseMirror["format"]): readonly string[] {
  return format === "deb" ? mmdebstrap.options : dnf.options;
}

export function makeRoot(spec: RootSpec, mirror: ReleaseMirror, signal?: AbortSignal): Promise<MadeRoot> {
  return mirror.format === "deb" ? mmdebstrap.make(spec, mirror, signal) : dnf.make(spec, mirror, signal);
}
