/**
 * All symptoms, in tables of falling strength.
 */
import {
  API_CHANGES,
  ASSEMBLY,
  AUTOTOOLS,
  HEADERS,
  LINKING,
  OPTIONS,
  REFUSALS,
  WARNINGS,
} from "./compiler.ts";
import { FORBIDDEN, KERNEL_TOOLS, MAKE, MODPOST, OURS, SCRIPTS, TOOLS, WEAK as VAGUE } from "./kbuild.ts";
import type { Symptom } from "./symptom.ts";

export { LAST } from "./kbuild.ts";
export { UNPROVEN } from "./machine.ts";
export type { DiagnosisCode, Symptom } from "./symptom.ts";

/** Each names its cause by itself. The first line that shows one counts, and for one line the first of these. */
export const STRONG: readonly Symptom[] = [
  ...HEADERS,
  ...REFUSALS,
  ...AUTOTOOLS,
  ...API_CHANGES,
  ...OPTIONS,
  ...KERNEL_TOOLS,
  ...ASSEMBLY,
  ...LINKING,
  ...MODPOST,
  ...FORBIDDEN,
  ...SCRIPTS,
  ...TOOLS,
  ...MAKE,
  ...OURS,
];

/** Lines that say less. A warning that is treated as an error may only follow from an error that has no words of its own here. */
export const WEAK: readonly Symptom[] = [...WARNINGS, ...VAGUE];
