/** `kmodfarm catalog`. */
import { byDefault, choice, declareCommand, flag, one, word, words } from "../../command.ts";
import { PLACES, SELECTION } from "../../common-options.ts";

/** What a catalog may come as, and be written as. */
export const CATALOG_FORMATS = ["kmodfarm", "kernel-crawler", "driverkit"] as const;

export const UPDATE = declareCommand(
  "update",
  "ask every source; exits 3 when one failed, is out of date or lost kernels",
  {
    options: {
      ...PLACES,
      acceptWithdrawals: flag("believe sources that list far fewer kernels than before"),
    },
  },
);

export const LIST = declareCommand("list", "every kernel ever seen", {
  options: { ...PLACES, ...SELECTION },
});

export const IMPORT = declareCommand(
  "import",
  "add the kernels of another farm's catalog, a kernel list, or driverkit configurations",
  {
    arguments: [one("file", "a file, a URL, - for standard input, or a directory of configurations")],
    options: {
      ...PLACES,
      as: choice("<format>", CATALOG_FORMATS, "what it is; default: what it looks like"),
      name: word("<list>", "the list's name, the same every time (default: its format and architecture)"),
      arch: word("<arch>", "architecture of entries that do not show theirs"),
      acceptWithdrawals: flag("believe a list that has far fewer kernels than before"),
    },
  },
);

export const EXPORT = declareCommand("export", "write the catalog for other tools", {
  options: {
    ...PLACES,
    format: byDefault(choice("<format>", CATALOG_FORMATS), "kmodfarm"),
    arch: word("<arch>", "only this architecture"),
    catalog: words("<file>", "a catalog or list instead of the store's; may be repeated"),
    driver: byDefault(word("<name>", "the driver that driverkit's configurations are for"), "driver"),
    driverVersion: word("<version>", "its version"),
    output: word("<dir>", "a directory instead of standard output"),
  },
});

export const FIND = declareCommand("find", "which kernel a node runs; without options, this machine", {
  options: {
    ...PLACES,
    unameR: word("<release>", "what `uname -r` says there"),
    unameV: word("<version>", "what `uname -v` says there; Debian and Ubuntu name the build in it"),
    unameM: word("<machine>", "what `uname -m` says there"),
    osRelease: word("<file>", "the node's /etc/os-release; it only breaks ties"),
  },
});
