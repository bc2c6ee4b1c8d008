/** `kmodfarm generations`, `prune`, `fsck`. */
import { byDefault, declareCommand, flag, wholeNumber } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const GENERATIONS = declareCommand(
  "generations",
  "list what was published when and by whom, and what it changed, newest first",
  { options: PLACES },
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
