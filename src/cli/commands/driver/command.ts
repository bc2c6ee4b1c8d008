/** `kmodfarm init` and `try`: for whoever writes a driver. */
import { declareCommand, flag, optional, wholeNumber, word } from "../../command.ts";
import { LOG, OWN_SANDBOX, SELECTION, SUMMARY } from "../../common-options.ts";

export const INIT_DRIVER = declareCommand("init", "write a kmodfarm.yaml for the driver in this directory", {
  arguments: [optional("path", "the driver's directory (default: this one)")],
  options: {
    name: word("<name>", "the driver's name (default: as its dkms.conf, Kbuild or Makefile says)"),
    driverVersion: word(
      "<version>",
      "its version (default: as dkms.conf or MODULE_VERSION says, else 0.1.0)",
    ),
    releases: word("<list>", "releases to build for, separated by commas (default: debian12,debian13)"),
    yes: flag("ask nothing"),
  },
});

export const TRY = declareCommand(
  "try",
  "build and load-test the driver in a directory as it is, on a few kernels; nothing is published",
  {
    arguments: [optional("path", "the driver's directory (default: this one)")],
    options: {
      kernels: wholeNumber("<n>", "how many kernels (default: 8), spread over series and architectures"),
      all: flag("the newest kernel of every series, flavour and architecture"),
      ...SELECTION,
      config: word("<file>", "the configuration (default: kmodfarm.yaml here or above, if there is one)"),
      cache: word("<dir>", "the cache (default: as configured, else ~/.cache/kmodfarm)"),
      jobs: wholeNumber("<n>", "kernels to work on at once (default: number of processors)"),
      summary: SUMMARY,
      ...OWN_SANDBOX,
      ...LOG,
    },
  },
);
