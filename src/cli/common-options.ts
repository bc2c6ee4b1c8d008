/**
 * Options that several commands take.
 */
import { SANDBOX_NAMES } from "../builder/sandboxes/sandbox.ts";
import {
  byDefault,
  COMMON,
  choice,
  flag,
  required,
  under,
  type Values,
  wholeNumber,
  word,
} from "./command.ts";

/** For every command that reports its progress. */
export const LOG = under(COMMON, {
  json: flag("print the result as JSON"),
  quiet: flag("report only what fails, and the result", "q"),
  verbose: flag("report every stage of every element", "v"),
  logFile: word(
    "<file>",
    "write all progress to a file as NDJSON (default: the cache keeps it for the last 20 runs)",
  ),
  logFormat: byDefault(choice("<format>", ["text", "json"], "format of progress messages"), "text"),
});
export type LogOptions = Partial<Values<typeof LOG>>;

/** For every command that opens a farm. */
export const PLACES = {
  ...under(COMMON, {
    config: word("<file>", "the configuration (default: kmodfarm.yaml in this directory, if it exists)"),
    store: word(
      "<place>",
      "the registry: a directory or s3://BUCKET/PREFIX (default: as configured, else .kmodfarm/store)",
    ),
    cache: word(
      "<dir>",
      "the disposable local cache (default: as configured; ~/.cache/kmodfarm without a configuration)",
    ),
  }),
  ...LOG,
};

/** For every command that builds or boots. */
export const WORK_PLACES = {
  ...PLACES,
  ...under(COMMON, {
    jobs: wholeNumber("<n>", "elements to build or boot at once (default: number of processors)"),
  }),
};
export type PlaceOptions = Values<typeof PLACES> & Partial<Values<typeof WORK_PLACES>>;

export const SANDBOX = {
  sandbox: choice("<name>", SANDBOX_NAMES, "where builds run (default: as configured, else bwrap)"),
};

/** The same where there is no configuration. */
export const OWN_SANDBOX = {
  sandbox: choice("<name>", SANDBOX_NAMES, "where builds run (default: bwrap)"),
};

export const SUMMARY = word("<file>", "append a summary in Markdown to a file, for CI systems that show it");

const TABLE_FORMATS = ["table", "tsv"] as const;
export type TableFormat = (typeof TABLE_FORMATS)[number];

/** For every command whose result is a table. */
export const TABLE = {
  format: byDefault(
    choice("<format>", TABLE_FORMATS, "a table for people, or tab-separated values"),
    "table",
  ),
};

/** Filters, as the original tool spells them. */
export const SELECTION = under("Which kernels:", {
  distro: word("<list>", "names of releases (debian12) or distributions (debian), separated by commas"),
  arch: word("<list>", "x86_64, aarch64"),
  flavour: word("<list>", "generic, cloud, rt, 16k, …"),
  kernel: word("<list>", "exactly these kernel releases (`uname -r`), separated by commas"),
  kernelRelease: word("<expression>", "regular expression for the whole kernel release"),
  packageVersion: word("<expression>", "regular expression for the whole package version"),
  firstSeen: word("<day>", "only kernels first seen on this day or later"),
  newest: wholeNumber("<n>", "only the newest n of each release, architecture, flavour and kernel series"),
});
export type SelectionOptions = Values<typeof SELECTION>;

/** What a matrix begins with. */
export const ORDER = {
  order: choice(
    "<order>",
    ["age", "gap"],
    "what comes first: the oldest, or the kernels that close exploited or severe bugs (default: as configured)",
  ),
};

/** What a command takes of all that the configuration selects. */
export const NARROWING = {
  ...SELECTION,
  ...under("Which kernels:", { driver: word("<list>", "names of configured drivers, separated by commas") }),
};
export type NarrowingOptions = Values<typeof NARROWING>;

/** The record names the person who decides. */
export const PERSON = {
  why: required(word("<reason>", "the reason, for the record")),
  by: word("<person>", "the person who decides (default: this user)"),
};
