/** `kmodfarm report controls`. */
import { declareCommand } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const CONTROLS = declareCommand(
  "controls",
  "what of this registry is the evidence for controls that others ask about (NIST CSF, OWASP NHI, SLSA, AI RMF), or what is missing",
  { options: PLACES },
);
