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

const KERNEL = "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where unique";

export const PROMOTE = declareCommand(
  "promote",
  "make candidates stable that the policy allows; says of the others what is missing",
  {
    arguments: [
      zeroOrMore("artifact", "DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL, or an end or a part of it"),
    ],
    options: { ...DECIDED, all: flag("every candidate there is") },
  },
);

export const IMPORT_MODULES = declareCommand(
  "import",
  "take modules that somebody else built into the store, checked, as a candidate",
  {
    arguments: [oneOrMore("module", "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files")],
    options: {
      ...DECIDED,
      target: required(word("<kernel>", KERNEL)),
      driver: required(word("<name>", "whose modules they are")),
      driverVersion: required(word("<version>", "its version")),
      load: unless("do not boot the kernel"),
    },
  },
);

export const WITHDRAW = declareCommand(
  "withdraw",
  "take stable artifacts back: nodes no longer get them, and no night publishes them again",
  {
    arguments: [oneOrMore("artifact", "as for `promote`")],
    options: {
      ...DECIDED,
      kernel: words("<kernel>", "only what one artifact gives to that kernel by `reuse`; may be repeated"),
    },
  },
);

export const REUSE = declareCommand(
  "reuse",
  "let a stable artifact serve further kernels of the Enterprise Linux family: proven on each, where the policy allows it",
  {
    arguments: [one("artifact", "as for `promote`")],
    options: { ...DECIDED, kernel: required(words("<kernel>", `${KERNEL}; may be repeated`)) },
  },
);

export const ROLLBACK = declareCommand(
  "rollback",
  "make stable exactly what was stable in an earlier generation",
  {
    arguments: [oneWholeNumber("generation", "its number")],
    options: { ...DECIDED, driver: word("<name>", "only this driver's artifacts") },
  },
);
