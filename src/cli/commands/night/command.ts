/** `kmodfarm run`, `watch`, `build`, `rebuild`. */
import { declareCommand, flag, one, word } from "../../command.ts";
import { NARROWING, PLACES, SANDBOX, SUMMARY } from "../../common-options.ts";

export const RUN = declareCommand(
  "run",
  "update the catalog, then build, load-test and publish what is wanted; continues where it was stopped",
  {
    options: {
      ...NARROWING,
      retry: flag(
        "also retry elements that failed through their own fault or could not be fetched, and look for damage in a bucket",
      ),
      dryRun: flag("only print what would be built and load-tested, and why"),
      ...PLACES,
      ...SANDBOX,
      summary: SUMMARY,
    },
  },
);

export const WATCH = declareCommand(
  "watch",
  "like `run`, but until it is stopped: queries each source at its own interval, and builds new kernels first",
  { options: { ...PLACES, ...SANDBOX } },
);

export const BUILD = declareCommand(
  "build",
  "build what the configuration selects, or a given matrix, as candidates, without load tests",
  {
    options: {
      ...PLACES,
      ...NARROWING,
      matrix: word("<file>", "elements to build, as `matrix generate` prints them; - is standard input"),
      ...SANDBOX,
      retry: flag("also retry elements that failed through their own fault"),
    },
  },
);

export const REBUILD = declareCommand(
  "rebuild",
  "build a published artifact again, in a different environment, and compare byte by byte",
  {
    arguments: [one("artifact", "a manifest.json, or the name of an artifact in the store")],
    options: PLACES,
  },
);
