/** `kmodfarm load`, `check`, `audit`, `modules …`: for modules that already exist. */
import {
  byDefault,
  choice,
  declareCommand,
  flag,
  one,
  oneOrMore,
  required,
  unless,
  word,
  words,
} from "../../command.ts";
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
      livepatch: words("<module>", "a live patch to apply first, in the same guest; may be repeated"),
      smoke: word(
        "<script>",
        "a POSIX sh script to run while the modules are loaded; any exit code but 0 is a failure",
      ),
      secureBoot: flag("boot with Secure Boot: the kernel then loads modules of known signers only"),
      enrol: words("<certificate>", "with --secure-boot, a certificate to enrol; may be repeated"),
      mok: flag("enrol in the MOK list of shim, and boot through shim and GRUB (default: in `db`)"),
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
  "append a signature or a Merkle proof to a module: what `cat MODULE SIGNATURE` gives",
  {
    arguments: [
      one("module", "an unsigned, uncompressed module"),
      one("signature", "the file beside it: NAME.ko.KEY.p7s, NAME.ko.merkle, or a bare CMS signature"),
    ],
    options: { to: required(word("<file>", "the signed module to write")) },
  },
);

export const DETACH = declareCommand(
  "detach",
  "take a signed module apart into the module and its signature or Merkle proof",
  {
    arguments: [one("module", "an uncompressed module with a signature or a proof")],
    options: { to: required(word("<dir>", "where to write the two files")) },
  },
);

export const ROOT = declareCommand(
  "root",
  "print the Merkle root over all modules of a kernel, as that kernel holds it (CONFIG_MODULE_HASHES)",
  {
    arguments: [one("dir", "a kernel's build tree or /lib/modules/RELEASE, with its modules.order")],
    options: {
      form: byDefault(
        choice(
          "<form>",
          ["built", "stripped"],
          "which modules of a build tree: as built, or as stripped for installation",
        ),
        "built",
      ),
      format: byDefault(
        choice("<format>", ["json", "hex", "c"], "every leaf; HEX/LEVELS; or the kernel's own C source"),
        "json",
      ),
    },
  },
);

const TRUST = word("<file>", "the root of the registry that is trusted (default: its first)");

export const PROVE = declareCommand(
  "prove",
  "write beside modules the proof that they belong to a set: NAME.ko.merkle",
  {
    arguments: [oneOrMore("module", "modules of the set: .ko, .ko.xz, .ko.zst or .ko.gz files")],
    options: {
      set: word("<place>", "the set: the directory that `modules root` takes, or what it printed as JSON"),
      registry: word("<place>", "or a registry, whose sets of each driver's releases have the modules"),
      trust: TRUST,
      form: byDefault(choice("<form>", ["built", "stripped"], "as for `modules root`"), "built"),
      to: word("<dir>", "where to write the proofs (default: beside each module)"),
    },
  },
);

export const VERIFY_MODULES = declareCommand(
  "verify",
  "verify by Merkle roots that modules belong to a set; exits 4 unless every one is authenticated",
  {
    arguments: [oneOrMore("file", "modules with a proof appended, or with NAME.ko.merkle beside them")],
    options: {
      root: words("<hex/levels>", "a root that is trusted; may be repeated"),
      kernel: words("<file>", "a boot image or vmlinux whose root is trusted; may be repeated"),
      registry: words("<place>", "a registry whose sets are trusted, each edition's root; may be repeated"),
      trust: TRUST,
      json: flag("print the result as JSON"),
    },
  },
);
