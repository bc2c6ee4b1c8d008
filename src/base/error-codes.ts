/**
 * The catalogue of errors. `blame` is the retry policy: code that catches an error looks at it, never at the message.
 */

/** Who is at fault, and therefore whether trying again can help. */
export type Blame =
  /** The driver or the kernel's sources: never tried again until the recipe changes. */
  | "source"
  /** Configuration or the user's input: never tried again by itself. */
  | "input"
  /** This machine: out of memory, a timeout, a missing tool. Tried again. */
  | "infra"
  /** A server of others. Tried again later. */
  | "remote"
  /** A digest or a signature is wrong. Never tried again by itself; a person must look. */
  | "integrity"
  /** The driver or the machine; it is not clear which. Tried again in a few further runs, then left alone. */
  | "unknown"
  /** kmodfarm itself. */
  | "bug";

export interface CatalogueEntry {
  readonly summary: string;
  readonly blame: Blame;
  /** Exit code of the command that ends with this error. */
  readonly exit: 1 | 2 | 3 | 4 | 130;
  /** The next step for the person who reads it. */
  readonly hint: string;
}

/** Every code there is. Documented one by one in docs/errors.md; a code is never reused. */
export const ERRORS = {
  USAGE: {
    summary: "The command line is not valid",
    blame: "input",
    exit: 2,
    hint: "See the command's --help.",
  },
  CONFIG_INVALID: {
    summary: "The configuration is not valid",
    blame: "input",
    exit: 2,
    hint: "Correct the named setting; docs/config.md lists all of them.",
  },
  FILE_UNREADABLE: {
    summary: "A named file cannot be read",
    blame: "input",
    exit: 2,
    hint: "Check the path and its permissions.",
  },
  PLACE_UNUSABLE: {
    summary: "A directory that the farm needs cannot be created or written to",
    blame: "input",
    exit: 2,
    hint: "Choose another directory with --store or --cache, or fix its permissions.",
  },
  DOCUMENT_INVALID: {
    summary: "A JSON document is not of the kind this command reads",
    blame: "input",
    exit: 2,
    hint: "Pass a document of the named schema; this one may be truncated.",
  },
  UNSAFE_NAME: {
    summary: "A name from outside cannot be used in a path",
    blame: "input",
    exit: 2,
    hint: "Names must match ^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$.",
  },
  KERNEL_UNKNOWN: {
    summary: "The catalog has no kernel of that name",
    blame: "input",
    exit: 2,
    hint: "List the known kernels with `kmodfarm catalog list`; for a new kernel, run `kmodfarm catalog update` first.",
  },
  KERNEL_AMBIGUOUS: {
    summary: "The name fits several kernels of the catalog",
    blame: "input",
    exit: 2,
    hint: "Give its full name: DISTRIBUTION/ARCHITECTURE/RELEASE_PACKAGEVERSION.",
  },
  ARTIFACT_UNKNOWN: {
    summary: "The store has no artifact of that name",
    blame: "input",
    exit: 2,
    hint: "Give DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL or whole parts of it; `kmodfarm matrix show` lists the artifacts.",
  },
  ARTIFACT_AMBIGUOUS: {
    summary: "The name fits several artifacts of the store",
    blame: "input",
    exit: 2,
    hint: "Give its full name: DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL_PACKAGEVERSION.",
  },
  UNVERIFIED: {
    summary: "A package has no digest to verify it with",
    blame: "input",
    exit: 2,
    hint: "Configure the repository itself as a source: a list only names packages, a repository also gives their digests.",
  },
  DRIVER_INVALID: {
    summary: "A driver's source tree cannot be used",
    blame: "input",
    exit: 2,
    hint: "The tree needs a Makefile, a Kbuild file or a dkms.conf at its top or in `directory`; it may hold only plain files, and links that stay inside it.",
  },
  SOURCE_CHANGED: {
    summary: "A driver's source changed while it was being read",
    blame: "infra",
    exit: 3,
    hint: "Run again when the source is not being edited; a git commit or an archive does not change.",
  },
  NEED_UNMET: {
    summary: "A driver that this one needs has no modules for the kernel",
    blame: "input",
    exit: 1,
    hint: "See the state of that driver with `kmodfarm matrix show`. Once it is built, the next run builds this one.",
  },
  TOOL_MISSING: {
    summary: "A program that this step needs is not installed",
    blame: "infra",
    exit: 3,
    hint: "Install the named Debian package, or run `make setup` in a checkout.",
  },
  TOOL_FAILED: {
    summary: "A program on this machine failed",
    blame: "infra",
    exit: 3,
    hint: "Its own message is quoted above.",
  },
  NOT_ENDED: {
    summary: "Processes of a killed program are still running",
    blame: "infra",
    exit: 3,
    hint: "One of them may be waiting for a device or a network file system. Look at them with `ps`, and restart the machine if they remain.",
  },
  TIMED_OUT: {
    summary: "A step took longer than allowed",
    blame: "infra",
    exit: 3,
    hint: "The machine may be overloaded: lower `jobs`.",
  },
  OUT_OF_MEMORY: {
    summary: "The machine itself ran out of memory during a step",
    blame: "infra",
    exit: 3,
    hint: "Lower `jobs` or give the machine more memory. (A build that exceeds `limits.memory` is LIMIT_EXCEEDED instead.)",
  },
  DISK_FULL: {
    summary: "There is no space left on the device",
    blame: "infra",
    exit: 3,
    hint: "Free some space, or move --store or --cache elsewhere.",
  },
  INTERRUPTED: {
    summary: "Stopped by a signal",
    blame: "infra",
    exit: 130,
    hint: "Nothing is lost: run the same command again, and it continues from here.",
  },
  REMOTE_UNAVAILABLE: {
    summary: "A server could not be reached or did not answer properly",
    blame: "remote",
    exit: 3,
    hint: "Try again later, or name another mirror in the configuration.",
  },
  NOT_FETCHABLE: {
    summary: "The mirror's index lists a package that the mirror does not have",
    blame: "remote",
    exit: 3,
    hint: "The kernel is recorded as not fetchable; `--retry` tries it again.",
  },
  CATALOG_SUSPECT: {
    summary: "A source of the catalog failed, is out of date, or lost kernels",
    blame: "remote",
    exit: 3,
    hint: "Each of these sources is named above, with the next step. All kernels already known were kept.",
  },
  FEED_SUSPECT: {
    summary: "A feed failed, or says what cannot be",
    blame: "remote",
    exit: 3,
    hint: "What it said before was kept. If it is right now, run `kmodfarm gap ingest --accept-suspect`.",
  },
  SIGNATURE_INVALID: {
    summary: "A repository's signature is not valid",
    blame: "integrity",
    exit: 4,
    hint: "Do not trust this repository until you have checked the mirror and the keyring (debian-archive-keyring).",
  },
  DIGEST_MISMATCH: {
    summary: "A file does not match its digest",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. The mirror may be in the middle of an update: try again later. If it still differs, do not trust the mirror.",
  },
  PACKAGE_MALFORMED: {
    summary: "A package cannot be unpacked",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. Download the package by hand and compare.",
  },
  COMPILER_UNAVAILABLE: {
    summary: "The compiler that built a kernel is not available or not known",
    blame: "input",
    exit: 2,
    hint: "Allow another compiler of its family with `compilers: nearest`, or configure another toolchain under `toolchains`.",
  },
  ARCHITECTURE_UNAVAILABLE: {
    summary: "This machine cannot build for that architecture",
    blame: "infra",
    exit: 3,
    hint: "Build on a machine of that architecture, or emulate it here: apt-get install qemu-user-static binfmt-support.",
  },
  TOOLCHAIN_INVALID: {
    summary: "An archive is not a usable toolchain root",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. Export it again with `kmodfarm toolchain export`, and compare the digests of the two files.",
  },
  ORDER_INVALID: {
    summary: "An order of work cannot be carried out here",
    blame: "input",
    exit: 2,
    hint: "Write new orders with `kmodfarm plan`, using the same version of kmodfarm.",
  },
  HAND_OVER_REFUSED: {
    summary: "What a worker handed over is not what was ordered",
    blame: "integrity",
    exit: 4,
    hint: "None of it was used; it is kept in `quarantine` in the cache, with the reason. Check the worker, then order again with `kmodfarm plan`.",
  },
  MODULE_MALFORMED: {
    summary: "A file is not a readable kernel module",
    blame: "source",
    exit: 1,
    hint: "Check with `readelf -h` and `modinfo` that it is one complete .ko file.",
  },
  KEY_UNREADABLE: {
    summary: "A key cannot be used",
    blame: "input",
    exit: 2,
    hint: "Public keys are P-256, P-384, Ed25519 or RSA, in PEM as `openssl pkey -pubout` writes them.",
  },
  PROVENANCE_MALFORMED: {
    summary: "A statement of provenance, or the bundle that it came in, is not what it must be",
    blame: "integrity",
    exit: 4,
    hint: "docs/buildtype.md says what a statement holds, and in what form it is signed.",
  },
  KEY_LOCKED: {
    summary: "A key's password is missing or wrong",
    blame: "input",
    exit: 2,
    hint: "Name its `passwordFile` or `passwordEnvironment` in `keys` of the configuration, or run on a terminal, where it is asked for.",
  },
  KEY_EXISTS: {
    summary: "There is a key of that name already",
    blame: "input",
    exit: 2,
    hint: "Keys are never replaced: choose another name, or move the old file away by hand.",
  },
  SIGNING_REFUSED: {
    summary: "The signer refused to sign",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was signed. Check which key may sign what: `kmodfarm keys show`.",
  },
  NOTE_MALFORMED: {
    summary: "A signed note or a file of the node index is not of its form",
    blame: "integrity",
    exit: 4,
    hint: "Nothing of it was used. Fetch it again; if it is still so, whoever serves it changed it. docs/registry.md describes the form.",
  },
  METADATA_UNSIGNED: {
    summary: "Metadata is not signed by the keys that are trusted for it",
    blame: "integrity",
    exit: 4,
    hint: "Nothing of it was used. Compare the root that you trust with the registry's: docs/trust.md.",
  },
  GENERATION_UNVOUCHED: {
    summary: "Nobody with a key of the farm vouches for the newest generation",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was signed or published. `kmodfarm generations accept N --dry-run` says what the generation changed.",
  },
  METADATA_ROLLED_BACK: {
    summary: "Metadata is older than what was seen before",
    blame: "integrity",
    exit: 4,
    hint: "The last good state stays. Whoever serves the registry shows an old one: ask another mirror.",
  },
  METADATA_FORKED: {
    summary: "Two different heads have one serial",
    blame: "integrity",
    exit: 4,
    hint: "The last good state stays. Either the head key signs elsewhere too, or it was stolen: docs/trust.md.",
  },
  LOG_INCONSISTENT: {
    summary: "A registry's log is not the one that it was, or does not hold what it should",
    blame: "integrity",
    exit: 4,
    hint: "Keep both checkpoints, they are the evidence: whoever signs this log shows different histories. docs/log.md says what to do.",
  },
  METADATA_EXPIRED: {
    summary: "Metadata has expired, or this machine's clock is wrong",
    blame: "remote",
    exit: 3,
    hint: "What is there already stays in use. Check the clock; the registry renews its head with each night.",
  },
  BUILD_FAILED: {
    summary: "The driver does not build for this kernel",
    blame: "source",
    exit: 1,
    hint: "The log has the details; the driver's source must change.",
  },
  BUILD_UNEXPLAINED: {
    summary: "A build failed, and its log does not show why",
    blame: "unknown",
    exit: 1,
    hint: "Read the whole log. The next runs try again, three times in all; after that, only `--retry` does.",
  },
  LIMIT_EXCEEDED: {
    summary: "A build was stopped because it exceeded one of its limits",
    blame: "source",
    exit: 1,
    hint: "Its log shows what it was doing. If the driver needs that much, raise `limits` in the configuration and use `--retry`.",
  },
  KERNEL_EXCLUDED: {
    summary: "The driver itself excludes this kernel",
    blame: "source",
    exit: 1,
    hint: "Nothing failed: the driver's dkms.conf names the kernels that it supports.",
  },
  MODULE_MISSING: {
    summary: "The build succeeded, but a module that the driver should produce is missing",
    blame: "source",
    exit: 1,
    hint: "Compare the driver's `modules` in the configuration with its Kbuild file.",
  },
  ELEMENTS_FAILED: {
    summary: "Some elements of the matrix have no working modules",
    blame: "source",
    exit: 1,
    hint: "Each of them is named above, with its cause and its log.",
  },
  LOAD_FAILED: {
    summary: "A module does not load in its kernel",
    blame: "source",
    exit: 1,
    hint: "The output of the kernel or of the driver's own script is quoted above; the log has all of it.",
  },
  INPUTS_MISSING: {
    summary: "The registry does not have what a rebuild needs",
    blame: "input",
    exit: 2,
    hint: "Whoever runs the farm sets `archive: all` and builds it anew; docs/rebuild.md says what is kept.",
  },
  STORE_CONFLICT: {
    summary: "Other writers kept publishing to this store in the meantime",
    blame: "infra",
    exit: 3,
    hint: "Nothing is lost. Run the same command again: it starts from what they published.",
  },
  STORE_UNSAFE: {
    summary: "The store cannot keep two writers apart",
    blame: "infra",
    exit: 3,
    hint: "Keep the store on a local disk, on NFS, or on another file system that can create a file only if it does not exist.",
  },
  STORE_MISSING: {
    summary: "There is no store to read",
    blame: "input",
    exit: 2,
    hint: "Change to the directory that has kmodfarm.yaml, or name the store with --store. `kmodfarm run` creates a new one.",
  },
  NOT_PUBLISHED: {
    summary: "The results of a run could not be written to the store",
    blame: "infra",
    exit: 3,
    hint: "Fix the store and run the same command again: everything built and tested is in the cache, and only needs to be published.",
  },
  GATE_REFUSED: {
    summary: "A built artifact may not become stable",
    blame: "source",
    exit: 1,
    hint: "It stays a candidate. Fix what the check reports, or add an exception to the policy, then run `kmodfarm promote`.",
  },
  RECIPE_DIFFERS: {
    summary: "The source, configuration or toolchain here differs from that of the original build",
    blame: "input",
    exit: 2,
    hint: "Use the driver source, the configuration and the toolchain images of the original build; the recipe in its manifest names them.",
  },
  CACHE_BUSY: {
    summary: "Another kmodfarm is using the cache",
    blame: "infra",
    exit: 3,
    hint: "Nothing was removed: a cache is pruned only when nothing else uses it. Try again later.",
  },
  STORE_CORRUPT: {
    summary: "A file of the store is missing or damaged",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was written. Restore the named file, or start a new store.",
  },
  STORE_UNUSABLE: {
    summary: "The store refuses to read or write",
    blame: "infra",
    exit: 3,
    hint: "Check the mount, its permissions and the disk. Nothing that was published is lost.",
  },
  REGISTRY_TOO_LARGE: {
    summary: "What would be published is more than nodes can read",
    blame: "input",
    exit: 2,
    hint: "What was published before stays, and so do withdrawals. Publish some of the drivers into another registry.",
  },
  BUG: {
    summary: "kmodfarm has a bug",
    blame: "bug",
    exit: 3,
    hint: "Please report it with the lines above.",
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERRORS;
