/**
 * Options that several commands take.
 */
import { SANDBOX_NAMES } from "../builder/sandboxes/sandbox.ts";
import { byDefault, choice, flag, required, type Values, wholeNumber, word } from "./command.ts";

/** Of every command that tells of its progress. */
export const LOG = {
  json: flag("print the result as JSON"),
  logFormat: byDefault(choice("<format>", ["text", "json"], "how progress is told"), "text"),
};

/** Of every command that knows a farm. */
export const PLACES = {
  config: word("<file>", "the configuration (default: kmodfarm.yaml of this directory, if there is one)"),
  store: word("<dir>", "the registry (default: the configured one, .kmodfarm/store)"),
  cache: word("<dir>", "the disposable local cache (default: the configured one, .kmodfarm/cache)"),
  jobs: wholeNumber("<n>", "elements built or booted at once (default: number of processors)"),
  ...LOG,
};
export type PlaceOptions = Values<typeof PLACES>;

export const SANDBOX = {
  sandbox: choice("<name>", SANDBOX_NAMES, "where builds run (default: the configured one, bwrap)"),
};

/** Filters, as the original tool spells them. */
export const SELECTION = {
  distro: word("<list>", "release keys (debian12) or distribution ids (debian), separated by commas"),
  arch: word("<list>", "x86_64, aarch64"),
  flavour: word("<list>", "generic, cloud, rt, 16k, …"),
  kernelRelease: word("<expression>", "must match the whole kernel release"),
  packageVersion: word("<expression>", "must match the whole package version"),
  firstSeen: word("<day>", "only kernels first seen on that day or later"),
  newest: wholeNumber("<n>", "only so many of the newest of each release, architecture and flavour"),
};
export type SelectionOptions = Values<typeof SELECTION>;

/** Whoever decides is on the record. */
export const PERSON = {
  why: required(word("<reason>", "for the record")),
  by: word("<person>", "who decides (default: this user)"),
};
