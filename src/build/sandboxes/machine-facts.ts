/**
 * What the machine itself saw go wrong while a build ran. A build's own words never become one of these.
 */

export interface MachineFacts {
  /** A file system that the build could write to had no room left, at any look while it ran. */
  readonly isDiskFull: boolean;
  /** The kernel ended a process of the build for want of the machine's memory, not for the build's own limit. */
  readonly isOutOfMemory: boolean;
  /** The sandbox itself failed, as it reports beside the program's output: the program was perhaps never started. */
  readonly isSandboxFailed: boolean;
}

/** Nothing went wrong with the machine, as far as it can know. */
export const NOTHING_WRONG: MachineFacts = {
  isDiskFull: false,
  isOutOfMemory: false,
  isSandboxFailed: false,
};
