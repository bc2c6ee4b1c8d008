/**
 * Symptoms: lines of a build's log that tell why it failed, as data.
 */
import type { ErrorCode } from "../../base/error-codes.ts";

export interface Symptom {
  /** Fits one line of the log, whose quotes are plain ones. Its named groups fill `{name}` of the texts below. */
  readonly expression: RegExp;
  /** Default: BUILD_FAILED. Never a fault of the machine: a log is the build's own words, and may say anything. */
  readonly code?: Extract<DiagnosisCode, "BUILD_FAILED" | "BUILD_UNEXPLAINED" | "MODULE_MISSING">;
  /** One sentence for a person, without its full stop. */
  readonly cause: string;
  /** What the driver's author can do about it. */
  readonly advice: string;
  /** A later line must fit this for the symptom to count: the words alone may be harmless. */
  readonly confirmedBy?: RegExp;
  /** A note of the same message must fit this for the symptom to count; its named groups fill the texts too. */
  readonly notedBy?: RegExp;
}

export type DiagnosisCode = Extract<
  ErrorCode,
  | "BUILD_FAILED"
  | "BUILD_UNEXPLAINED"
  | "MODULE_MISSING"
  | "OUT_OF_MEMORY"
  | "DISK_FULL"
  | "TIMED_OUT"
  | "TOOL_FAILED"
  | "LIMIT_EXCEEDED"
>;
