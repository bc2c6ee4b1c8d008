/**
 * What a failed build's log says: a table of patterns, strong ones first, and the guilty line.
 */
import type { ErrorCode } from "../base/error.ts";
import type { Limit } from "./sandboxes/sandbox.ts";

export interface Diagnosis {
  readonly code: Extract<
    ErrorCode,
    | "BUILD_FAILED"
    | "MODULE_MISSING"
    | "OUT_OF_MEMORY"
    | "DISK_FULL"
    | "TIMED_OUT"
    | "TOOL_FAILED"
    | "LIMIT_EXCEEDED"
  >;
  /** One sentence for a person. */
  readonly cause: string;
  /** The line of the log that says it, with paths as the driver's author knows them. */
  readonly line: string;
}

interface Pattern {
  readonly expression: RegExp;
  readonly code: Diagnosis["code"];
  readonly cause: string;
}

/** The machine's own faults: they make a compiler fail in odd ways, so they count wherever they stand. */
const MACHINE: readonly Pattern[] = [
  { expression: /No space left on device/, code: "DISK_FULL", cause: "the disk is full" },
  {
    expression: /(?:Out of memory|Cannot allocate memory|virtual memory exhausted|out of memory allocating)/,
    code: "OUT_OF_MEMORY",
    cause: "the build ran out of memory",
  },
  {
    // The compiler driver's words, make's, and the shell's.
    expression:
      /(?:error: Killed (?:signal|\(program)|\] (?:Killed|Error 137)$|^(?:.*: +\d+ )?Killed(?:\s|$))/,
    code: "OUT_OF_MEMORY",
    cause: "the compiler was killed, usually for want of memory",
  },
];

/** Each names its cause by itself; the first in the log counts. */
const STRONG: readonly Pattern[] = [
  {
    expression: /fatal error: (\S+): No such file or directory/,
    code: "BUILD_FAILED",
    cause: "a header file is not there",
  },
  {
    expression: /error: implicit declaration of function/,
    code: "BUILD_FAILED",
    cause: "the kernel has no such function (its API changed)",
  },
  {
    expression:
      /error: (?:too (?:few|many) arguments to function|incompatible type for argument|passing argument)/,
    code: "BUILD_FAILED",
    cause: "a kernel function takes other arguments (its API changed)",
  },
  {
    expression: /error: '[^']+' has no member named/,
    code: "BUILD_FAILED",
    cause: "a kernel structure has no such member (its API changed)",
  },
  { expression: /error: .*\[-Werror/, code: "BUILD_FAILED", cause: "a warning is treated as an error" },
  {
    expression: /unrecognized command-line option/,
    code: "BUILD_FAILED",
    cause: "the compiler does not know an option that the kernel demands",
  },
  {
    expression: /ERROR: modpost: GPL-incompatible module .* uses GPL-only symbol/,
    code: "BUILD_FAILED",
    cause: "a module that is not GPL uses a symbol for GPL modules only",
  },
  {
    expression: /ERROR: modpost: .* undefined!/,
    code: "BUILD_FAILED",
    cause: "the kernel does not export a symbol that the module needs",
  },
  {
    expression: /kmodfarm: the build gave no (\S+)/,
    code: "MODULE_MISSING",
    cause: "the build gave no such module",
  },
];

/** Lines that only say that something went wrong before them. */
const WEAK: readonly Pattern[] = [
  { expression: /^ERROR: /, code: "BUILD_FAILED", cause: "the kernel's build system refuses the module" },
  {
    expression: /(?:^|\s)(?:fatal )?error: /i,
    code: "BUILD_FAILED",
    cause: "the compiler refuses the source",
  },
  { expression: /\*\*\* .*(?:Stop\.|Error \d+)/, code: "BUILD_FAILED", cause: "make gave up" },
];

const OUT_OF_MEMORY_EXIT = 137;

/** What the sandbox itself ended: no log needs to be asked. */
const STOPPED: Readonly<Record<Limit, Pick<Diagnosis, "code" | "cause">>> = {
  timeLimit: { code: "TIMED_OUT", cause: "the build took longer than it may" },
  memoryLimit: { code: "OUT_OF_MEMORY", cause: "the build took more memory than it may" },
  processLimit: { code: "LIMIT_EXCEEDED", cause: "the build started more processes than it may" },
  writeLimit: { code: "LIMIT_EXCEEDED", cause: "the build wrote more to the disk than it may" },
  outputLimit: { code: "LIMIT_EXCEEDED", cause: "the build said more than its log may hold" },
};

export function diagnose(log: string, exitCode: number, stopped?: Limit): Diagnosis {
  if (stopped !== undefined) return { ...STOPPED[stopped], line: lastLine(log) };
  const text = log.replaceAll("‘", "'").replaceAll("’", "'");
  // What compilers quote of the source may hold any words.
  const lines = text.split("\n").filter((line) => !/^ *\d* \| /.test(line));
  const found =
    search(lines, MACHINE) ??
    search(lines, STRONG) ??
    (exitCode === OUT_OF_MEMORY_EXIT ? undefined : search(lines, WEAK));
  if (found !== undefined) return found;
  if (exitCode === OUT_OF_MEMORY_EXIT)
    return {
      code: "OUT_OF_MEMORY",
      cause: "the build was killed, usually for want of memory",
      line: lastLine(log),
    };
  // Nothing says that the source is at fault, so it is not blamed.
  return {
    code: "TOOL_FAILED",
    cause: `the build ended with exit code ${exitCode} and no reason that is known`,
    line: lastLine(log),
  };
}

function search(lines: readonly string[], patterns: readonly Pattern[]): Diagnosis | undefined {
  for (const line of lines) {
    const pattern = patterns.find(({ expression }) => expression.test(line));
    if (pattern !== undefined) return { code: pattern.code, cause: pattern.cause, line: clean(line) };
  }
  return undefined;
}

function clean(line: string): string {
  return line.replaceAll("/build/", "").trim().slice(0, 300);
}

function lastLine(log: string): string {
  return clean(log.trimEnd().split("\n").at(-1) ?? "");
}
