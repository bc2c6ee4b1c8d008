/** `kmodfarm generations`, `generations accept`, `prune`, `fsck`, `store copy`. */
import { byDefault, declareCommand, flag, one, oneWholeNumber, wholeNumber, word } from "../../command.ts";
import { LOG, PLACES } from "../../common-options.ts";

export const GENERATIONS = declareCommand(
  "generations",
  "list what was published when and by whom, and what it changed, newest first",
  { options: PLACES },
);

export const ACCEPT = declareCommand(
  "accept",
  "vouch for a generation that a machine without a head key published, after printing what it changed",
  {
    arguments: [oneWholeNumber("number", "the newest generation")],
    options: {
      ...PLACES,
      digest: word("<sha256>", "accept it only if it is this one, as --dry-run prints it"),
      dryRun: flag("only print what it changed since the last generation that is vouched for"),
    },
  },
);

export const PRUNE = declareCommand(
  "prune",
  "remove old generations from the store, and files that only they used",
  {
    options: {
      ...PLACES,
      keep: byDefault(wholeNumber("<n>", "number of generations to keep"), 100),
      graceDays: byDefault(wholeNumber("<n>", "also keep everything younger than this; at least 2"), 7),
      dryRun: flag("only report what would be removed"),
    },
  },
);

export const FSCK = declareCommand(
  "fsck",
  "check the store for missing and damaged files; exits 1 if all can be repaired, 4 if some are lost",
  {
    options: {
      ...PLACES,
      full: flag("read every byte, not just sizes"),
      repair: flag("restore files of which the view, the blobs or the cache have a good copy"),
    },
  },
);

export const COPY = declareCommand(
  "copy",
  "copy a whole registry from one store to another; what is there already is not copied again",
  {
    arguments: [
      one("source", "a directory or s3://BUCKET/PREFIX"),
      one("target", "likewise, without another registry in it"),
    ],
    options: {
      config: word(
        "<file>",
        "a configuration that names the server of a bucket (default: kmodfarm.yaml of this directory)",
      ),
      ...LOG,
    },
  },
);
