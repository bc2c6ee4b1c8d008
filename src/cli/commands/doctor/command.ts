/** `kmodfarm doctor`. */
import { declareCommand } from "../../command.ts";
import { PLACES, SANDBOX } from "../../common-options.ts";

export const DOCTOR = declareCommand(
  "doctor",
  "check this machine: missing tools, and which limits each sandbox enforces; exits 3 if there is a problem",
  { options: { ...PLACES, ...SANDBOX } },
);
