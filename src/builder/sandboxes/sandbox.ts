/**
 * The family of sandboxes: a place without network where a build sees a read-only root, its inputs, and
 * two directories it may write to.
 */
import type { Shortage } from "./shortage.ts";

export interface SandboxSpec {
  /** The toolchain root; nothing in it can be changed from inside. */
  readonly root: string;
  /** Read-only directories and files, [outside, inside]. */
  readonly inputs: readonly (readonly [string, string])[];
  /** Directories the build may write to, [outside, inside]. */
  readonly outputs: readonly (readonly [string, string])[];
  /** An empty directory of the caller's, on disk: what is written to /tmp and to empty directories is there. */
  readonly scratch: string;
  /** Links to make in otherwise empty directories, [target, inside]. */
  readonly links: readonly (readonly [string, string])[];
  /** Directories that are empty and writable inside, and gone afterwards. */
  readonly emptyDirectories: readonly string[];
  /** The program's whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly argv: readonly string[];
  readonly timeoutMs: number;
  readonly memoryBytes: number;
  /** Processes and threads at one time. */
  readonly processLimit: number;
  /** What the outputs and the scratch directory may hold, all together. */
  readonly writableBytes: number;
  readonly outputLimitBytes: number;
  /** Gets what the program says, on both streams, in the order in which it says it. */
  readonly logFile: string;
  /** Who and where the program believes to be; default: the same everywhere. */
  readonly hostname?: string;
  readonly userId?: number;
  /** Default: 022. */
  readonly umask?: number;
}

/** A limit that a program went over: everything it started was ended then. */
export type Limit = "timeLimit" | "memoryLimit" | "processLimit" | "writeLimit" | "outputLimit";

export interface SandboxResult {
  readonly exitCode: number;
  /** Why it was ended, if it did not end by itself. */
  readonly stopped?: Limit;
  /** What the program said, on both streams in the order in which it said it, up to its limit. */
  readonly output: string;
  /** What this machine had too little of meanwhile; only of a program that failed. */
  readonly short?: readonly Shortage[];
}

/** An ordinary user, the same everywhere. */
export const USER_ID = 1000;
export const HOSTNAME = "kmodfarm";

export const SANDBOX_NAMES = ["bwrap", "podman", "docker"] as const;
export type SandboxName = (typeof SANDBOX_NAMES)[number];

export interface Sandbox {
  readonly name: SandboxName;
  /** Programs it needs on the host, with the Debian packages that bring them. */
  readonly needs: readonly (readonly [program: string, debianPackage: string])[];
  /**
   * Returns when nothing of what it started is left.
   * @throws FarmError TOOL_FAILED when it did not come to start the program, NOT_ENDED when it cannot end it
   */
  run(spec: SandboxSpec, signal?: AbortSignal): Promise<SandboxResult>;
}
