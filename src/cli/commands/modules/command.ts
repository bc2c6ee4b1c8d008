/** `kmodfarm load`, `check`, `audit`, `modules attach`, `modules detach`: for modules that already exist. */
import { declareCommand, flag, one, oneOrMore, required, unless, word, words } from "../../command.ts";
import { PLACES } from "../../common-options.ts";

const KERNEL = word("<kernel>", "DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION], shorter if unique");
const FILES = "the modules of one driver: .ko, .ko.xz, .ko.zst or .ko.gz files";

export const LOAD = declareCommand(
  "load",
  "boot a kernel in a virtual machine, load the modules and unload them",
  {
    arguments: [oneOrMore("module", `${FILES}, in any order`)],
    options: {
      ...PLACES,
      kernel: required(KERNEL),
      smoke: word(
        "<script>",
        "a POSIX sh script to run while the modules are loaded; any exit code but 0 is a failure",
      ),
    },
  },
);

export const CHECK = declareCommand(
  "check",
  "check whether modules fit a kernel: what they declare, and whether that kernel loads them",
  {
    arguments: [oneOrMore("module", `${FILES}; or, without --kernel, one artifact of the store`)],
    options: {
      ...PLACES,
      kernel: KERNEL,
      moduleVersion: word("<version>", "version that `modinfo -F version` must print"),
      signer: words("<certificate>", "a certificate to trust besides the kernel's own; may be repeated"),
      load: unless("do not boot the kernel"),
      explain: flag("explain the result on one page"),
    },
  },
);

export const AUDIT = declareCommand(
  "audit",
  "report modules that are damaged, duplicated or for the wrong kernel; only reads, and needs no store",
  {
    arguments: [
      one(
        "place",
        "a directory (/lib/modules, a DKMS tree, a copy of a bucket), or an http address that lists one",
      ),
    ],
    options: {
      kernels: word(
        "<file>",
        "a catalog or kernel list; modules for a kernel that is not in it are reported",
      ),
      json: flag("print the result as JSON"),
    },
  },
);

export const ATTACH = declareCommand(
  "attach",
  "append a signature to a module: what `cat MODULE SIGNATURE` gives",
  {
    arguments: [
      one("module", "an unsigned, uncompressed module"),
      one("signature", "the file beside it: NAME.ko.KEY.p7s, or a bare CMS signature"),
    ],
    options: { to: required(word("<file>", "the signed module to write")) },
  },
);

export const DETACH = declareCommand(
  "detach",
  "take a signed module apart into the module and its signature",
  {
    arguments: [one("module", "a signed, uncompressed module")],
    options: { to: required(word("<dir>", "where to write the two files")) },
  },
);
