/** `kmodfarm doctor`. */
import { declareCommand } from "../../command.ts";
import { PLACES, SANDBOX } from "../../common-options.ts";

export const DOCTOR = declareCommand(
  "doctor",
  "what this machine has and lacks, and what its sandboxes truly keep; exits 3 for a problem",
  { options: { ...PLACES, ...SANDBOX } },
);
