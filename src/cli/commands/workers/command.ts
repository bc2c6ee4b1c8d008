/** `kmodfarm plan`, `work`, `take`: let other machines build elements. */
import {
  declareCommand,
  flag,
  one,
  required,
  unless,
  wholeNumber,
  word,
  words,
  zeroOrMore,
} from "../../command.ts";
import { LOG, NARROWING, OWN_SANDBOX, SUMMARY, WORK_PLACES } from "../../common-options.ts";

export const PLAN = declareCommand(
  "plan",
  "write orders for workers: other machines do what `run` would build and boot here",
  {
    options: {
      ...WORK_PLACES,
      ...NARROWING,
      out: required(word("<dir>", "directory for the orders, and everything that workers need for them")),
      withPackages: flag("include the kernels' packages, for workers without a network"),
      maxShards: wholeNumber("<n>", "maximum number of shards (default: 256)"),
      targetMinutes: wholeNumber("<n>", "expected time of a shard (default: 10)"),
      readOnly: flag("write nothing to the store; what this plan learns, `take --catalog` learns again"),
      hours: wholeNumber("<n>", "how long hand-overs are accepted (default: 24)"),
      retry: flag("also order elements that failed because of the driver or could not be fetched"),
    },
  },
);

export const WORK = declareCommand(
  "work",
  "carry out orders on this machine; needs no configuration, store or credentials",
  {
    arguments: [one("orders", "a directory that `kmodfarm plan` wrote, or a copy of it")],
    options: {
      ...LOG,
      out: required(word("<dir>", "directory for the hand-overs")),
      cache: word("<dir>", "the disposable local cache (default: .kmodfarm/cache)"),
      jobs: wholeNumber("<n>", "orders to carry out at once (default: number of processors)"),
      minutes: wholeNumber("<n>", "time limit of a build, even if its order allows more (default: 15)"),
      memory: word("<size>", "memory limit of a build, likewise (default: 8G)"),
      disk: word("<size>", "limit on what a build has on the disk, likewise (default: 8G)"),
      share: word("<k/n>", "only share k of n equal shares of the orders, for n workers"),
      shard: word("<id>", "only one shard of the plan; its shards.json lists them"),
      after: word("<dir>", "instead carry out the load tests that follow from the builds handed over here"),
      privateHost: words("<host>", "a host without a public address that orders may name; may be repeated"),
      ...OWN_SANDBOX,
    },
  },
);

export const TAKE = declareCommand("take", "check what workers handed over, and publish it like `run` does", {
  arguments: [zeroOrMore("handovers", "directories that `kmodfarm work` wrote, or single hand-overs")],
  options: {
    ...WORK_PLACES,
    orders: word("<dir>", "the directory of orders, if another machine planned them"),
    plan: word("<digest>", "the digest that `plan` printed there; --orders needs it"),
    load: unless("do not boot here; the next `kmodfarm plan` orders load tests that no worker made"),
    catalog: flag("also query the sources, as `run` does: for plans that were made with --read-only"),
    summary: SUMMARY,
  },
});
