/** `kmodfarm gap`. */
import {
  byDefault,
  choice,
  declareCommand,
  flag,
  one,
  unless,
  word,
  words,
  zeroOrMore,
} from "../../command.ts";
import { PLACES } from "../../common-options.ts";

export const INGEST = declareCommand(
  "ingest",
  "read the configured feeds and the changelogs of kernels; exits 3 if a feed failed or is suspect",
  {
    arguments: [zeroOrMore("feed", "KIND=PLACE: only this file, directory, archive or URL")],
    options: {
      ...PLACES,
      acceptSuspect: flag("accept feeds that went back in time or lost records"),
      changelogs: unless("leave out the changelogs of Debian and Ubuntu kernels"),
    },
  },
);

const KNOWLEDGE = {
  feed: words(
    "<kind=place>",
    "a feed to use instead of the store's: a file, an address or a directory; may be repeated",
  ),
  changelog: words(
    "<release=place>",
    "the changelog of a distribution's kernel: debian12=FILE; may be repeated",
  ),
};

export const REPORT = declareCommand("report", "report how long fixes took to reach distributions", {
  options: {
    ...KNOWLEDGE,
    rows: flag("list every fix too"),
    today: word("<day>", "the day up to which open fixes are counted (default: today)"),
    ...PLACES,
  },
});

export const EXPLAIN = declareCommand(
  "explain",
  "explain what is known of a CVE in kernels, or of a kernel; exits with 1 if anything is open, and with 3 if anything is unknown",
  {
    arguments: [
      one(
        "name",
        "CVE-2024-26581, a kernel as `catalog list` names it, a node, or an upstream release: 6.1.119",
      ),
    ],
    options: {
      ...KNOWLEDGE,
      release: words("<version>", "an upstream release to look at; may be repeated"),
      node: words(
        "<name>",
        "a node to look at, as the feeds `nodes` and `livepatch` name it; may be repeated",
      ),
      open: flag("of a kernel, list what is open"),
      ...PLACES,
    },
  },
);

export const NOTICES = declareCommand(
  "notices",
  "report what is new, each thing once: at most one digest a day, and what is urgent at once",
  {
    options: {
      ...PLACES,
      ndjson: flag("print each notice as a line of JSON"),
      dryRun: flag("print the report without sending it"),
    },
  },
);

export const EXPORT = declareCommand("export", "write verdicts on kernels for other tools", {
  arguments: [
    zeroOrMore(
      "kernel",
      "a kernel, a node or an upstream release (default: the newest kernel of each release and series)",
    ),
  ],
  options: {
    ...KNOWLEDGE,
    format: byDefault(choice("<format>", ["openvex", "osv", "csv", "ndjson"]), "ndjson"),
    cve: words("<id>", "only this CVE; may be repeated"),
    ...PLACES,
  },
});
