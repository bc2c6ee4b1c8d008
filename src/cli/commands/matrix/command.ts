/** `kmodfarm matrix`, also known as `matrix-gen`: which builds are wanted. */
import { declareCommand, flag, one, optional, wholeNumber, word, words } from "../../command.ts";
import { NARROWING, ORDER, PLACES, SELECTION, TABLE } from "../../common-options.ts";

export const GENERATE = declareCommand("generate", "print the matrix as a JSON array", {
  options: {
    ...PLACES,
    ...SELECTION,
    ...ORDER,
    catalog: words(
      "<file>",
      "a catalog or kernel list (file or URL) to use instead of the store's; may be repeated",
    ),
    exclude: words(
      "<file>",
      "elements to leave out: a YAML list of exclusions, or a StackRox BLOCKLIST; may be repeated",
    ),
    driver: word("<name>", "the driver's name (default: as configured, else 'driver')"),
    driverVersion: word("<versions>", "versions, separated by commas (default: as configured)"),
    allowEmpty: flag("exit with 0 even if nothing is selected"),
  },
});

export const DIFF = declareCommand(
  "diff",
  "print, as a matrix, the elements of CURRENT that are new or changed since PREVIOUS",
  {
    arguments: [one("previous"), one("current")],
    options: { ...PLACES, report: flag("instead report what was added, changed and removed, and why") },
  },
);

export const SHOW = declareCommand(
  "show",
  "show the state of each element of the store's matrix, or list a matrix file",
  {
    arguments: [optional("file")],
    options: {
      ...PLACES,
      ...NARROWING,
      ...TABLE,
      full: flag("read every file that nodes get, and report damaged or missing files"),
    },
  },
);

export const SHARD = declareCommand(
  "shard",
  "split the store's matrix, or a matrix file, into shards of about equal expected time",
  {
    arguments: [optional("file", "a matrix; - is standard input")],
    options: {
      ...PLACES,
      maxShards: wholeNumber(
        "<n>",
        "maximum number of shards (default: 256, GitHub's limit for the jobs of a matrix)",
      ),
      targetMinutes: wholeNumber("<n>", "expected time of a shard (default: 10)"),
      ...ORDER,
      github: flag("print only the shards' ids, as a job output for `strategy.matrix`"),
      id: word("<shard>", "print the elements of one shard as a matrix"),
    },
  },
);
