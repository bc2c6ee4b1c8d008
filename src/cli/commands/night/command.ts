/** `kmodfarm run`, `watch`, `build`, `rebuild`. */
import { declareCommand, flag, one, word } from "../../command.ts";
import { PLACES, SANDBOX } from "../../common-options.ts";

export const RUN = declareCommand(
  "run",
  "the night, end to end: catalog, matrix, build, load test, publish; goes on where it was stopped",
  {
    options: {
      ...PLACES,
      ...SANDBOX,
      retry: flag("also try again what failed by its own fault or could not be fetched"),
    },
  },
);

export const WATCH = declareCommand(
  "watch",
  "as `run`, until it is stopped: each source is asked in its own rhythm, new kernels go ahead of all others",
  { options: { ...PLACES, ...SANDBOX } },
);

export const BUILD = declareCommand(
  "build",
  "build what the configuration selects, or a given matrix, as candidates without a load test",
  {
    options: {
      ...PLACES,
      matrix: word("<file>", "elements to build, as `matrix generate` prints them; - is standard input"),
      ...SANDBOX,
      retry: flag("also try again what failed by its own fault"),
    },
  },
);

export const REBUILD = declareCommand(
  "rebuild",
  "build a published artifact again, in other surroundings, and compare byte by byte",
  {
    arguments: [one("artifact", "a manifest.json, or words that name one artifact of the store")],
    options: PLACES,
  },
);
