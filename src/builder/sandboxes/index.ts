/**
 * Every sandbox there is.
 */
import { FarmError } from "../../base/error.ts";
import { bubblewrap } from "./bubblewrap.ts";
import { docker } from "./docker.ts";
import { podman } from "./podman.ts";
import type { Sandbox, SandboxName } from "./sandbox.ts";

export const SANDBOXES: readonly Sandbox[] = [bubblewrap, podman, docker];

export function sandboxOf(name: SandboxName): Sandbox {
  const found = SANDBOXES.find((sandbox) => sandbox.name === name);
  if (found === undefined) throw new FarmError("BUG", { detail: `there is no sandbox '${name}'` });
  return found;
}
