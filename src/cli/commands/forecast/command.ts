/** `kmodfarm forecast`. */
import { declareCommand, flag } from "../../command.ts";
import { NARROWING, SANDBOX, WORK_PLACES } from "../../common-options.ts";

export const FORECAST = declareCommand(
  "forecast",
  "build and load-test for kernels that no user has yet; exits with 1 if a driver breaks, and with 3 if anything is unknown",
  {
    options: {
      ...NARROWING,
      superseded: flag("also build for kernels of whose series a newer one is coming"),
      retry: flag("also retry elements that failed because of the driver or could not be fetched"),
      ...WORK_PLACES,
      ...SANDBOX,
    },
  },
);
