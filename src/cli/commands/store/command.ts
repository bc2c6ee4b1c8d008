/** `kmodfarm generations`, `prune`, `fsck`. */
import { byDefault, declareCommand, flag, wholeNumber } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const GENERATIONS = declareCommand(
  "generations",
  "what was published when, by whom, and what changed with it, newest first",
  { options: PLACES },
);

export const PRUNE = declareCommand(
  "prune",
  "remove old generations of the store, and files that only they named",
  {
    options: {
      ...PLACES,
      keep: byDefault(wholeNumber("<n>", "so many generations stay"), 100),
      graceDays: byDefault(wholeNumber("<n>", "what is younger stays too, whatever names it; at least 2"), 7),
      dryRun: flag("only say what would be removed"),
    },
  },
);

export const FSCK = declareCommand(
  "fsck",
  "compare what the store holds with what it should; exits 1 for what can be repaired, 4 for what is lost",
  {
    options: {
      ...PLACES,
      full: flag("read every byte, not only sizes"),
      repair: flag("restore what the view, the blobs or the cache still have"),
    },
  },
);
