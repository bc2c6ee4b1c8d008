/** `kmodfarm fetch`: on a node. */
import { declareCommand, flag, one, word, words } from "../../command.ts";

export const FETCH = declareCommand(
  "fetch",
  "on a node: put the modules of a driver in place for the kernel that runs, or say in one word why not",
  {
    arguments: [one("driver")],
    options: {
      registry: words(
        "<place>",
        "a registry, a URL or a directory; may be repeated, for mirrors (default: KMODFARM_REGISTRY, or /etc/kmodfarm/registries)",
      ),
      offline: flag("ask nobody: what was fetched before decides"),
      root: word("<file>", "the root that is trusted (default: KMODFARM_ROOT, or /etc/kmodfarm/root)"),
      state: word(
        "<dir>",
        "the newest root and head, and what was fetched (default: KMODFARM_STATE, or /var/lib/kmodfarm)",
      ),
      hostRoot: word("<dir>", "the node's / inside a container"),
      to: word(
        "<dir>",
        "put the modules into this directory, for insmod (default: the kernel's own, for modprobe)",
      ),
      kernel: word("<release>", "prepare for this installed kernel, with --ready"),
      ready: flag("the kernel of --kernel is installed, and has its boot image in /boot"),
      load: flag("load them too; if the kernel refuses them, the previous modules are restored"),
      requireLog: flag(
        "take nothing that is not in the registry's log, which must only have grown (default: if /etc/kmodfarm/require-log is there)",
      ),
      json: flag("print the result as JSON"),
    },
  },
);
