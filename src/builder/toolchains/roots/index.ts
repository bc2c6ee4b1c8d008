/**
 * Every root method there is.
 */
import { apt } from "./apt.ts";
import { takeOut } from "./box.ts";
import { dnf } from "./dnf.ts";
import type { MadeRoot, ReleaseMirror, RootContext, RootSpec } from "./root-method.ts";

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
