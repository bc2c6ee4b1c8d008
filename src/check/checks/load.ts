/**
 * Whether the kernel itself took modules in, and let them go. A virtual machine finds that out beforehand; what it says is
 * judged by load-verdict.ts.
 */
import { type Reason, reason, type Verdict, verdict } from "../verdict.ts";
import type { Check } from "./check.ts";

const CODES = [
  "loaded",
  // The kernel, or what it says.
  "oops",
  "death",
  "hang",
  "flood",
  "complaint",
  "taint",
  "kernelLine",
  "ended",
  // A module, or the driver's own script.
  "refused",
  "compression",
  "noReturn",
  "stuck",
  "script",
  "scriptStop",
  "architecture",
  "noDevice",
  // What proves nothing about the modules.
  "silent",
  "slow",
  "otherKernel",
  "notLocked",
  "strangeReport",
  "harmedBefore",
  "otherModule",
  "livePatch",
  "strayParameter",
  "noImage",
  "untested",
] as const;
export type LoadCode = (typeof CODES)[number];

export const load = {
  name: "load",
  codes: CODES,
  question: "Did that kernel load and unload them in a test?",
  howToKnow: "not tested yet; `kmodfarm run` tests it",
  isDefault: true,
  isOfFiles: false,
  isKeyed: false,
  judge: ({ loaded }) => loaded,
} as const satisfies Check;

/** The verdict on modules that no kernel was asked about; `text` says how to have that done. */
export function untested(text: string = load.howToKnow): Verdict {
  return verdict("load", "unknown", loadReason("untested", text));
}

/** A reason that a load test gives. */
export function loadReason(code: LoadCode, text: string): Reason<LoadCode> {
  return reason(code, text);
}
