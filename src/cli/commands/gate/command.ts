/** `kmodfarm promote`, `import`, `withdraw`, `reuse`, `rollback`. */
import {
  declareCommand,
  flag,
  one,
  oneOrMore,
  oneWholeNumber,
  required,
  unless,
  type Values,
  word,
  words,
  zeroOrMore,
} from "../../command.ts";
import { PERSON, PLACES } from "../../common-options.ts";

const DECIDED = { ...PLACES, ...PERSON };
export type PersonOptions = Values<typeof DECIDED>;

const KERNEL = "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter if unique";

export const PROMOTE = declareCommand(
  "promote",
  "promote every candidate that passes the policy, and report what the others lack",
  {
    arguments: [
      zeroOrMore("artifact", "DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL, or the end or a part of it"),
    ],
    options: { ...DECIDED, all: flag("every candidate in the store") },
  },
);

export const IMPORT_MODULES = declareCommand(
  "import",
  "check modules that were built elsewhere, and add them to the store as a candidate",
  {
    arguments: [oneOrMore("module", "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files")],
    options: {
      ...DECIDED,
      target: required(word("<kernel>", KERNEL)),
      driver: required(word("<name>", "the driver that the modules belong to")),
      driverVersion: required(word("<version>", "the driver's version")),
      provenance: word(
        "<file>",
        "the builder's signed statement of how they were built, a Sigstore bundle (docs/buildtype.md)",
      ),
      load: unless("do not boot the kernel"),
    },
  },
);

export const WITHDRAW = declareCommand(
  "withdraw",
  "withdraw stable artifacts: nodes no longer get them, and no run publishes them again",
  {
    arguments: [oneOrMore("artifact", "as for `promote`")],
    options: {
      ...DECIDED,
      why: word("<reason>", "the reason, for the record; required, except with --dry-run"),
      kernel: words(
        "<kernel>",
        "withdraw only what the artifact serves to this kernel by `reuse`; may be repeated",
      ),
      deny: flag("nodes that have the modules must not load them again"),
      all: flag("every artifact that the words name, instead of the only one"),
      dryRun: flag("only show what would be withdrawn"),
    },
  },
);

export const FLOOR = declareCommand(
  "floor",
  "set the minimum version of a driver for nodes to that of a stable artifact",
  { arguments: [one("artifact", "as for `promote`")], options: DECIDED },
);

export const REUSE = declareCommand(
  "reuse",
  "serve a stable artifact to more kernels of the Enterprise Linux family, after testing it on each, if the policy allows it",
  {
    arguments: [one("artifact", "as for `promote`")],
    options: { ...DECIDED, kernel: required(words("<kernel>", `${KERNEL}; may be repeated`)) },
  },
);

export const ROLLBACK = declareCommand(
  "rollback",
  "restore exactly what was stable in an earlier generation",
  {
    arguments: [oneWholeNumber("generation", "the generation's number")],
    options: { ...DECIDED, driver: word("<name>", "only this driver's artifacts") },
  },
);
