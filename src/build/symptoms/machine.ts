/**
 * The machine's own faults, and limits that a build went over.
 */
import type { Limit } from "../sandboxes/sandbox.ts";
import type { DiagnosisCode, Symptom } from "./symptom.ts";

const MORE_MEMORY = "Lower `jobs`, or give the machine more memory; the next run tries again.";

/** They make compilers fail in odd ways, so they count wherever they stand. */
export const MACHINE: readonly Symptom[] = [
  {
    expression: /No space left on device|Disk quota exceeded/,
    code: "DISK_FULL",
    cause: "the disk is full",
    advice: "Free some space, or move the cache with --cache; the next run tries again.",
  },
  {
    expression: /Out of memory|Cannot allocate memory|[vV]irtual memory exhausted|out of memory allocating/,
    code: "OUT_OF_MEMORY",
    cause: "the build ran out of memory",
    advice: MORE_MEMORY,
  },
  {
    expression: /LLVM ERROR: out of memory|std::bad_alloc/,
    code: "OUT_OF_MEMORY",
    cause: "the build ran out of memory",
    advice: MORE_MEMORY,
  },
  {
    // The compiler driver's words, make's, and the shell's.
    expression:
      /error: Killed (?:signal|\(program)|\] (?:Killed|Error 137)$|^(?:.*: +\d+ )?Killed(?:\s|$)|unable to execute command: Killed/,
    code: "OUT_OF_MEMORY",
    cause: "the compiler was killed, usually for want of memory",
    advice: MORE_MEMORY,
  },
  {
    expression: /[fF]ork: (?:retry: )?Resource temporarily unavailable|Cannot fork/,
    code: "OUT_OF_MEMORY",
    cause: "no more processes could be started",
    advice:
      "Lower `jobs`; if the driver's own make starts many at once, let it use $(MAKE) and no -j of its own.",
  },
];

/** Ended from outside, exit code 137, and nothing in the log that says more. */
export const KILLED = {
  code: "OUT_OF_MEMORY",
  cause: "the build was killed, usually for want of memory",
  advice: MORE_MEMORY,
} as const;

/** What the sandbox itself ended: no log needs to be asked. */
export const STOPPED: Readonly<
  Record<Limit, { readonly code: DiagnosisCode; readonly cause: string; readonly advice: string }>
> = {
  timeLimit: {
    code: "TIMED_OUT",
    cause: "the build took longer than it may",
    advice:
      "The log's last line shows where it was. Raise `limits.minutes`, or lower `jobs` where the machine is overloaded.",
  },
  memoryLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build took more memory than it may",
    advice:
      "If it needs that much, raise `limits.memory`, with fewer `jobs` where the machine has no more, and use --retry.",
  },
  processLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build started more processes than it may",
    advice:
      "Look in its makefiles for a rule that calls itself, or a -j without a number. If it needs that many, raise `limits.processes` and use --retry.",
  },
  writeLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build wrote more to the disk than it may",
    advice:
      "Look at its log for what it unpacks, copies or writes without end. If it needs that much, raise `limits.disk` and use --retry.",
  },
  outputLimit: {
    code: "LIMIT_EXCEEDED",
    cause: "the build said more than its log may hold",
    advice:
      "Look at the log's end for what it says over and over. If it needs that much, raise `limits.output` and use --retry.",
  },
};
