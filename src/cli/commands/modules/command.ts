/** `kmodfarm load`, `check`, `audit`: modules that somebody has. */
import { declareCommand, flag, one, oneOrMore, required, unless, word, words } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

const KERNEL = word(
  "<kernel>",
  "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter where that is unique",
);
const FILES = "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files";

export const LOAD = declareCommand(
  "load",
  "boot a kernel in a virtual machine, insert modules, remove them",
  {
    arguments: [oneOrMore("module", `${FILES}, in any order`)],
    options: {
      ...PLACES,
      kernel: required(KERNEL),
      smoke: word(
        "<script>",
        "a POSIX sh script to run while they are in; anything but exit code 0 is a failure",
      ),
    },
  },
);

export const CHECK = declareCommand(
  "check",
  "whether modules belong to a kernel: what they say of themselves, and what that kernel does with them",
  {
    arguments: [oneOrMore("module", `${FILES}; or, without --kernel, one artifact of the store`)],
    options: {
      ...PLACES,
      kernel: KERNEL,
      moduleVersion: word("<version>", "what `modinfo -F version` must say"),
      signer: words("<certificate>", "whose signatures count beside the kernel's own; may be repeated"),
      load: unless("do not boot the kernel"),
      explain: flag("one page for whoever asks why"),
    },
  },
);

export const AUDIT = declareCommand(
  "audit",
  "what is wrong in a heap of modules: wrong kernel, damaged, doubled; reads only, needs no store",
  {
    arguments: [
      one(
        "place",
        "a directory (/lib/modules, a DKMS tree, a bucket's copy), or an http address that lists one",
      ),
    ],
    options: {
      kernels: word("<file>", "a catalog or kernel list: modules for a kernel that is not in it are told"),
      json: flag("print the result as JSON"),
    },
  },
);
