/** `kmodfarm catalog`. */
import { byDefault, choice, declareCommand, flag, one, word, words } from "../../command.ts";
import { PLACES, SELECTION, TABLE } from "../../common-options.ts";

/** What a catalog may come as, and be written as. */
export const CATALOG_FORMATS = ["kmodfarm", "kernel-crawler", "driverkit"] as const;

export const UPDATE = declareCommand(
  "update",
  "query every source; exits 3 if one failed, is out of date or lost kernels",
  {
    options: {
      ...PLACES,
      acceptWithdrawals: flag("accept sources that list far fewer kernels than before"),
    },
  },
);

export const LIST = declareCommand("list", "list every kernel ever seen", {
  options: { ...PLACES, ...SELECTION, ...TABLE },
});

export const IMPORT = declareCommand(
  "import",
  "add the kernels of another farm's catalog, a kernel list, or driverkit configurations",
  {
    arguments: [one("file", "a file, a URL, - for standard input, or a directory of configurations")],
    options: {
      ...PLACES,
      as: choice("<format>", CATALOG_FORMATS, "its format (default: detected)"),
      name: word(
        "<list>",
        "the list's name, the same on every import (default: its format and architecture)",
      ),
      arch: word("<arch>", "architecture of entries that do not name theirs"),
      acceptWithdrawals: flag("accept a list that has far fewer kernels than before"),
    },
  },
);

export const EXPORT = declareCommand("export", "write the catalog in a format for other tools", {
  options: {
    ...PLACES,
    format: byDefault(choice("<format>", CATALOG_FORMATS), "kmodfarm"),
    arch: word("<arch>", "only this architecture"),
    catalog: words("<file>", "a catalog or list to use instead of the store's; may be repeated"),
    driver: word("<name>", "the driver in driverkit's configurations (default: the configured one)"),
    driverVersion: word("<version>", "the driver's version (default: the configured one)"),
    output: word("<dir>", "a directory to write to instead of standard output"),
  },
});

export const FIND = declareCommand(
  "find",
  "find the kernel that a node runs; without options, this machine",
  {
    options: {
      ...PLACES,
      unameR: word("<release>", "output of `uname -r` on the node"),
      unameV: word("<version>", "output of `uname -v` on the node; Debian and Ubuntu name the build in it"),
      unameM: word("<machine>", "output of `uname -m` on the node"),
      osRelease: word("<file>", "the node's /etc/os-release; used only if several kernels fit"),
    },
  },
);
