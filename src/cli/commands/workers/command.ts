/** `kmodfarm plan`, `work`, `take`: elements that other machines build. */
import { declareCommand, flag, one, oneOrMore, required, unless, wholeNumber, word } from "../../command.ts";
import { LOG, PLACES, SANDBOX } from "../../common-options.ts";

export const PLAN = declareCommand(
  "plan",
  "write orders for workers: what `run` would build and boot here, others do",
  {
    options: {
      ...PLACES,
      out: required(word("<dir>", "where orders go, with all that workers need for them")),
      withPackages: flag("let kernels' packages travel too, for workers without a network"),
      hours: wholeNumber("<n>", "how long hand-overs are taken (default: 24)"),
      retry: flag("also order again what failed by its own fault or could not be fetched"),
    },
  },
);

export const WORK = declareCommand(
  "work",
  "carry out orders on this machine, without configuration, store or credentials",
  {
    arguments: [one("orders", "a directory that `kmodfarm plan` wrote, or a copy of it")],
    options: {
      ...LOG,
      out: required(word("<dir>", "where hand-overs go")),
      cache: word("<dir>", "the disposable local cache (default: .kmodfarm/cache)"),
      jobs: wholeNumber("<n>", "orders carried out at once (default: number of processors)"),
      share: word("<k/n>", "only one of n equal shares of the orders, for n workers"),
      ...SANDBOX,
    },
  },
);

export const TAKE = declareCommand("take", "check what workers handed over, and publish it as `run` would", {
  arguments: [oneOrMore("handovers", "directories that `kmodfarm work` wrote, or single hand-overs")],
  options: {
    ...PLACES,
    orders: word("<dir>", "the directory of orders, if another machine than this one planned them"),
    load: unless("do not boot here: load tests are ordered by the next `kmodfarm plan`"),
  },
});
