/** `kmodfarm run`, `watch`, `build`, `rebuild`. */
import { declareCommand, flag, one, word, words } from "../../command.ts";
import { NARROWING, SANDBOX, SUMMARY, WORK_PLACES } from "../../common-options.ts";

export const RUN = declareCommand(
  "run",
  "update the catalog, then build, load-test and publish what is wanted; continues where it was stopped",
  {
    options: {
      ...NARROWING,
      retry: flag(
        "also retry elements that failed because of the driver or could not be fetched, and look for damage in a bucket",
      ),
      dryRun: flag("only print what would be built and load-tested, and why"),
      ...WORK_PLACES,
      ...SANDBOX,
      summary: SUMMARY,
    },
  },
);

export const WATCH = declareCommand(
  "watch",
  "like `run`, but until it is stopped: queries each source at its own interval, and builds new kernels first",
  { options: { ...WORK_PLACES, ...SANDBOX } },
);

export const BUILD = declareCommand(
  "build",
  "build what the configuration selects, or a given matrix, as candidates, without load tests",
  {
    options: {
      ...WORK_PLACES,
      ...NARROWING,
      matrix: word("<file>", "elements to build, as `matrix generate` prints them; - is standard input"),
      ...SANDBOX,
      retry: flag("also retry elements that failed because of the driver"),
    },
  },
);

export const REBUILD = declareCommand(
  "rebuild",
  "build a published artifact again, in a different environment, and compare byte by byte; with --registry from what that registry keeps, without a configuration",
  {
    arguments: [one("artifact", "the name of an artifact, or of the store's a manifest.json")],
    options: {
      ...WORK_PLACES,
      registry: word("<place>", "a registry (directory, http(s):// or s3://) that has all that is needed"),
      root: word("<file>", "with --registry: the root that is trusted (default: the registry's first)"),
      privateHost: words(
        "<host>",
        "with --registry: a host without a public address that packages may come from; may be repeated",
      ),
      sign: word("<key>", "with --registry: private key (PEM) that signs a statement of the result"),
      passwordFile: word("<file>", "file with the password of that key (default: asked for)"),
      to: word("<file>", "where to write the statement (default: NAME.sigstore.json)"),
      ...SANDBOX,
    },
  },
);
