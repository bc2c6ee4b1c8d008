/** `kmodfarm matrix`, also known as `matrix-gen`: which builds are wanted. */
import { declareCommand, flag, one, optional, wholeNumber, word, words } from "../../command.ts";
import { PLACES, SELECTION } from "../../common-options.ts";

export const GENERATE = declareCommand("generate", "print the matrix as a JSON array", {
  options: {
    ...PLACES,
    ...SELECTION,
    catalog: words(
      "<file>",
      "a catalog or kernel list, file or URL, instead of the store's; may be repeated",
    ),
    exclude: words(
      "<file>",
      "what to leave out: a YAML list of exclusions, or a StackRox BLOCKLIST; may be repeated",
    ),
    driver: word("<name>", "the driver's name; default: the configured one, else 'driver'"),
    driverVersion: word("<versions>", "versions, separated by commas; default: the configured ones"),
  },
});

export const DIFF = declareCommand(
  "diff",
  "print the elements of CURRENT that PREVIOUS lacks or has otherwise, as a matrix",
  {
    arguments: [one("previous"), one("current")],
    options: { ...PLACES, report: flag("say what was added, changed and removed, and why, instead") },
  },
);

export const SHOW = declareCommand(
  "show",
  "what the store holds of the matrix, element by element, or what a matrix file holds",
  {
    arguments: [optional("file")],
    options: {
      ...PLACES,
      full: flag("read every file that nodes get, and name what is damaged or missing"),
    },
  },
);

export const SHARD = declareCommand(
  "shard",
  "cut the store's matrix, or a matrix file, into pieces of about equal expected time",
  {
    arguments: [optional("file", "a matrix; - is standard input")],
    options: {
      ...PLACES,
      maxShards: wholeNumber(
        "<n>",
        "at most so many (default: 256, GitHub's limit for the jobs of a matrix)",
      ),
      targetMinutes: wholeNumber("<n>", "time that a shard should take (default: 10)"),
      github: flag("print a job output for `strategy.matrix`: ids only"),
      id: word("<shard>", "print the elements of one shard as a matrix"),
    },
  },
);
