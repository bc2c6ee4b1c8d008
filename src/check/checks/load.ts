/**
 * Whether the kernel itself took modules in, and let them go. A virtual machine finds that out beforehand; what it says is
 * judged by load-verdict.ts.
 */
import type { Check } from "./check.ts";

export const load = {
  name: "load",
  question: "Did that kernel take them in, and let them go, in a test?",
  howToKnow: "not tested yet: `kmodfarm run` does it",
  isDefault: true,
  isOfFiles: false,
  judge: ({ loaded }) => loaded,
} as const satisfies Check;
