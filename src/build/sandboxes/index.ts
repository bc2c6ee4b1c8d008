/**
 * Every sandbox there is.
 */
import { bubblewrap } from "./bubblewrap.ts";
import { podman } from "./podman.ts";
import type { Sandbox } from "./sandbox.ts";

export const SANDBOXES: readonly Sandbox[] = [bubblewrap, podman];
