/**
 * The machine's own faults, and limits that a build went over.
 */
import type { Limit } from "../sandboxes/sandbox.ts";
import type { DiagnosisCode, Symptom } from "./symptom.ts";

interface Known {
  readonly code: DiagnosisCode;
  readonly cause: string;
  readonly advice: string;
}

const MORE_MEMORY = "Lower `jobs`, or give the machine more memory; the next run tries again.";

/**
 * What the machine saw itself that it had too little of: no log needs to be asked, since such faults make compilers
 * fail in odd ways.
 */
export const SHORT: Readonly<Record<"disk" | "memory", Known>> = {
  disk: {
    code: "DISK_FULL",
    cause: "the disk is full",
    advice: "Free some space, or move the cache with --cache; the next run tries again.",
  },
  memory: { code: "OUT_OF_MEMORY", cause: "the machine ran out of memory", advice: MORE_MEMORY },
};

const UNSEEN =
  "This machine did not see that itself, so the build may be wrong. Read the whole log; the next runs try again.";

/** What a build says of the machine, which saw nothing of it. */
export const UNPROVEN: readonly Symptom[] = [
  {
    expression: /No space left on device|Disk quota exceeded/,
    cause: "the build reports that the disk is full",
  },
  {
    expression:
      /Out of memory|Cannot allocate memory|[vV]irtual memory exhausted|out of memory allocating|LLVM ERROR: out of memory|std::bad_alloc/,
    cause: "the build reports that there is no memory left",
  },
  {
    // The compiler driver's words, make's, and the shell's.
    expression:
      /error: Killed (?:signal|\(program)|\] (?:Killed|Error 137)$|^(?:.*: +\d+ )?Killed(?:\s|$)|unable to execute command: Killed/,
    cause: "the build reports that its compiler was killed",
  },
  {
    expression: /[fF]ork: (?:retry: )?Resource temporarily unavailable|Cannot fork/,
    cause: "the build reports that no more processes can be started",
  },
].map((symptom) => ({ ...symptom, code: "BUILD_UNEXPLAINED", advice: UNSEEN }));

/** Exit code 137, and nothing in the log that says more. */
export const KILLED: Known = {
  code: "BUILD_UNEXPLAINED",
  cause: "the build ended with the exit code of a killed process",
  advice: UNSEEN,
};

/** What the sandbox itself ended: no log needs to be asked. */
export const STOPPED: Readonly<Record<Limit, Known>> = {
  timeLimit: {
    code: "TIMED_OUT",
    cause: "the build took longer than allowed",
    advice:
      "The last line of the log shows where it was. Raise `limits.minutes`, or lower `jobs` if the machine is overloaded.",
  },
  memoryLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build used more memory than allowed",
    advice:
      "If it needs that much, raise `limits.memory` (and lower `jobs` if the machine has no more), and use --retry.",
  },
  processLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build started more processes than allowed",
    advice:
      "Check its makefiles for a rule that calls itself, or a -j without a number. If it needs that many, raise `limits.processes` and use --retry.",
  },
  writeLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build wrote more to the disk than allowed",
    advice:
      "Its log may show what it keeps unpacking, copying or writing. If it needs that much, raise `limits.disk` and use --retry.",
  },
  outputLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build wrote more to its log than allowed",
    advice:
      "See what the end of the log repeats. If it needs that much, raise `limits.output` and use --retry.",
  },
};
