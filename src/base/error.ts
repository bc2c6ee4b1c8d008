/**
 * The one error class of kmodfarm and its catalogue of codes.
 *
 * `blame` is the retry policy: whoever catches an error asks it, never the message.
 */

/** Who is at fault, and therefore whether trying again can help. */
export type Blame =
  /** The driver or the kernel's sources: never tried again until the recipe changes. */
  | "source"
  /** Configuration or the user's input: never tried again by itself. */
  | "input"
  /** This machine: out of memory, a timeout, a missing tool. Tried again. */
  | "infra"
  /** Somebody else's server. Tried again later. */
  | "remote"
  /** A digest or a signature is wrong. Never tried again by itself; a person must look. */
  | "integrity"
  /** The driver or the machine: nothing proves which. Tried again in a few further runs, then left alone. */
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
    summary: "The command line cannot be understood",
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
    summary: "A file that was named cannot be read",
    blame: "input",
    exit: 2,
    hint: "Check the path and its permissions.",
  },
  PLACE_UNUSABLE: {
    summary: "A directory that the farm needs cannot be made or written to",
    blame: "input",
    exit: 2,
    hint: "Name another place with --store or --cache, or mend its permissions.",
  },
  DOCUMENT_INVALID: {
    summary: "A JSON document is not of the kind this command reads",
    blame: "input",
    exit: 2,
    hint: "Give a document of the named schema; it may also have been cut off.",
  },
  UNSAFE_NAME: {
    summary: "A name from outside cannot become part of a path",
    blame: "input",
    exit: 2,
    hint: "Names must match ^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$.",
  },
  KERNEL_UNKNOWN: {
    summary: "No kernel of the catalog is the one that was asked for",
    blame: "input",
    exit: 2,
    hint: "List what there is with `kmodfarm catalog list`; a new kernel needs `kmodfarm catalog update` first.",
  },
  KERNEL_AMBIGUOUS: {
    summary: "Several kernels of the catalog fit",
    blame: "input",
    exit: 2,
    hint: "Name it in full: DISTRIBUTION/ARCHITECTURE/RELEASE_PACKAGEVERSION.",
  },
  ARTIFACT_UNKNOWN: {
    summary: "The store has no artifact of that name",
    blame: "input",
    exit: 2,
    hint: "Name DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL or whole parts of it; `kmodfarm matrix show` lists what there is.",
  },
  ARTIFACT_AMBIGUOUS: {
    summary: "Several artifacts of the store fit",
    blame: "input",
    exit: 2,
    hint: "Name it in full: DRIVER/SERIES/DISTRIBUTION/ARCHITECTURE/KERNEL_PACKAGEVERSION.",
  },
  UNVERIFIED: {
    summary: "A package has no digest to check it by",
    blame: "input",
    exit: 2,
    hint: "Configure the repository itself as a source: lists name packages, repositories vouch for them.",
  },
  DRIVER_INVALID: {
    summary: "A driver's source tree cannot be used",
    blame: "input",
    exit: 2,
    hint: "The tree needs a Makefile, a Kbuild or a dkms.conf at its top or in `directory`; plain files, and links that stay inside.",
  },
  SOURCE_CHANGED: {
    summary: "A driver's source changed while it was read",
    blame: "infra",
    exit: 3,
    hint: "Run again when nobody works in the source; a commit of git, or an archive, does not change.",
  },
  NEED_UNMET: {
    summary: "A driver that this one needs has no modules for the kernel",
    blame: "input",
    exit: 1,
    hint: "See what became of that driver with `kmodfarm matrix show`; the next run after it is built builds this one.",
  },
  TOOL_MISSING: {
    summary: "A program that this step needs is not installed",
    blame: "infra",
    exit: 3,
    hint: "Run `make setup` in a checkout, or install the named Debian package.",
  },
  TOOL_FAILED: {
    summary: "A program of this machine failed at its work",
    blame: "infra",
    exit: 3,
    hint: "Its own words are quoted above.",
  },
  NOT_ENDED: {
    summary: "Processes of a program that was killed are still there",
    blame: "infra",
    exit: 3,
    hint: "One of them may wait for a device or a network file system; look at them with `ps`, and restart the machine if they stay.",
  },
  TIMED_OUT: {
    summary: "A step took longer than it may",
    blame: "infra",
    exit: 3,
    hint: "The machine may be overloaded: lower `jobs`.",
  },
  OUT_OF_MEMORY: {
    summary: "The machine itself had too little memory for a step",
    blame: "infra",
    exit: 3,
    hint: "Lower `jobs` or give the machine more memory. A build over `limits.memory` is LIMIT_EXCEEDED instead.",
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
    hint: "Nothing is lost: run the same command again and it goes on from here.",
  },
  REMOTE_UNAVAILABLE: {
    summary: "A server could not be reached or did not answer properly",
    blame: "remote",
    exit: 3,
    hint: "Try again later, or name another mirror in the configuration.",
  },
  NOT_FETCHABLE: {
    summary: "A package that the mirror's index lists is not there",
    blame: "remote",
    exit: 3,
    hint: "The kernel is remembered as not fetchable; `--retry` asks again.",
  },
  CATALOG_SUSPECT: {
    summary: "A source of the catalog failed, is too old, or lost kernels",
    blame: "remote",
    exit: 3,
    hint: "Each such source is named above with what helps. Everything known was kept.",
  },
  SIGNATURE_INVALID: {
    summary: "A repository's signature does not verify",
    blame: "integrity",
    exit: 4,
    hint: "Do not accept it: check the mirror and the keyring (debian-archive-keyring).",
  },
  DIGEST_MISMATCH: {
    summary: "Bytes are not the ones that were promised",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. The mirror may be in the middle of an update: try again, then distrust it.",
  },
  PACKAGE_MALFORMED: {
    summary: "A package cannot be unpacked",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. Fetch it by hand and compare.",
  },
  COMPILER_UNAVAILABLE: {
    summary: "The compiler that built a kernel cannot be had, or is not known",
    blame: "input",
    exit: 2,
    hint: "Allow another one of its family with `compilers: nearest`, or name another toolchain under `toolchains`.",
  },
  ARCHITECTURE_UNAVAILABLE: {
    summary: "This machine cannot build for that architecture",
    blame: "infra",
    exit: 3,
    hint: "Build on a machine of that architecture, or let this one emulate it: apt-get install qemu-user-static binfmt-support.",
  },
  TOOLCHAIN_INVALID: {
    summary: "An archive is not a toolchain root that can be used",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was kept. Export it again with `kmodfarm toolchain export`, and compare the files' digests.",
  },
  ORDER_INVALID: {
    summary: "An order of work cannot be carried out here",
    blame: "input",
    exit: 2,
    hint: "Make new orders with `kmodfarm plan`, with the same version of kmodfarm.",
  },
  HAND_OVER_REFUSED: {
    summary: "What a worker handed over is not what was ordered",
    blame: "integrity",
    exit: 4,
    hint: "Nothing of it was used; it is kept in the cache's `quarantine` with the reason. Look at the worker, then order again with `kmodfarm plan`.",
  },
  MODULE_MALFORMED: {
    summary: "A file is not a kernel module that can be read",
    blame: "source",
    exit: 1,
    hint: "Check with `readelf -h` and `modinfo` that it is one complete .ko file.",
  },
  BUILD_FAILED: {
    summary: "The driver does not build for this kernel",
    blame: "source",
    exit: 1,
    hint: "The log has the whole story; the driver's source must change.",
  },
  BUILD_UNEXPLAINED: {
    summary: "A build failed, and nothing proves why",
    blame: "unknown",
    exit: 1,
    hint: "Look at the whole log. The next runs try again, three times in all; after that only `--retry` does.",
  },
  LIMIT_EXCEEDED: {
    summary: "A build was ended for going over one of its limits",
    blame: "source",
    exit: 1,
    hint: "Look at its log for what it does so much of. If the driver needs that, raise `limits` in the configuration and use `--retry`.",
  },
  KERNEL_EXCLUDED: {
    summary: "The driver itself says that it does not want this kernel",
    blame: "source",
    exit: 1,
    hint: "Nothing failed: its dkms.conf names the kernels it is for.",
  },
  MODULE_MISSING: {
    summary: "The build ended well but a module that the driver should give is not there",
    blame: "source",
    exit: 1,
    hint: "Compare `modules` of the driver in the configuration with its Kbuild file.",
  },
  ELEMENTS_FAILED: {
    summary: "Some elements of the matrix have no working modules",
    blame: "source",
    exit: 1,
    hint: "Each is named above with its cause and its log.",
  },
  LOAD_FAILED: {
    summary: "A module does not load in its kernel",
    blame: "source",
    exit: 1,
    hint: "What the kernel said, or the driver's own script, is quoted above; the log has all of it.",
  },
  STORE_CONFLICT: {
    summary: "Others published to this store again and again meanwhile",
    blame: "infra",
    exit: 3,
    hint: "Nothing is lost. Run the same command again: it begins from what they published.",
  },
  STORE_UNSAFE: {
    summary: "The store cannot keep two writers apart",
    blame: "infra",
    exit: 3,
    hint: "Use a store on a local disk, on NFS, or another one that creates a file only where none is.",
  },
  STORE_MISSING: {
    summary: "There is no store where one is to be read",
    blame: "input",
    exit: 2,
    hint: "Go to the directory that has kmodfarm.yaml, or name the store with --store. `kmodfarm run` makes a new one.",
  },
  NOT_PUBLISHED: {
    summary: "What a run did could not be written to the store",
    blame: "infra",
    exit: 3,
    hint: "Fix the store and run the same command again: what was built and tested is in the cache, and is only published then.",
  },
  GATE_REFUSED: {
    summary: "A built artifact may not become stable",
    blame: "source",
    exit: 1,
    hint: "It stays where it is. Mend what the named check says, or let the policy except it, and `kmodfarm promote`.",
  },
  RECIPE_DIFFERS: {
    summary: "What is here would build something else than what was built there",
    blame: "input",
    exit: 2,
    hint: "Use the driver's source, the configuration and the toolchain images of that build; the manifest's recipe names them.",
  },
  CACHE_BUSY: {
    summary: "Another kmodfarm is using the cache",
    blame: "infra",
    exit: 3,
    hint: "Nothing was removed: a cache gets smaller only when nobody works in it. Try again later.",
  },
  STORE_CORRUPT: {
    summary: "The store does not hold what it says it holds",
    blame: "integrity",
    exit: 4,
    hint: "Nothing was written. Restore the named file, or start a new store.",
  },
  STORE_UNUSABLE: {
    summary: "The file system of the store refuses to read or write",
    blame: "infra",
    exit: 3,
    hint: "Check the mount, its permissions and the disk; nothing that was published is lost.",
  },
  BUG: {
    summary: "kmodfarm has a fault",
    blame: "bug",
    exit: 3,
    hint: "Please report it with the lines above.",
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorDetail {
  /** One sentence: the thing and the fact; the fact alone where `about` names the thing. */
  readonly detail: string;
  /** What the sentence is about: the message begins with it. */
  readonly about?: string;
  /** What stands between the two: a blank where the fact is what the thing does. Default: `: `. */
  readonly joint?: ": " | " " | "/";
  /** Where it happened: kernel, file, url, log. Shown, and machine-readable with `--json`. */
  readonly at?: Readonly<Record<string, string>>;
  /** Replaces the catalogue's next step where a better one is known. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** What goes wrong in kmodfarm, with one code of the catalogue and the facts of this case. */
export class FarmError extends Error {
  readonly code: ErrorCode;
  readonly at: Readonly<Record<string, string>>;
  readonly hint: string;

  readonly #named: { readonly name: string; readonly fact: string } | undefined;

  constructor(code: ErrorCode, { detail, about, joint = ": ", at, hint, cause }: ErrorDetail) {
    super(
      about === undefined ? detail : `${about}${joint}${detail}`,
      cause === undefined ? undefined : { cause },
    );
    if (about !== undefined) this.#named = { name: about, fact: joint === " " ? `it ${detail}` : detail };
    this.name = "FarmError";
    this.code = code;
    this.at = at ?? {};
    this.hint = hint ?? ERRORS[code].hint;
  }

  /** The message for a place that names the thing itself: without that name, where the message begins with it. */
  factAbout(name: string): string {
    return this.#named?.name === name ? this.#named.fact : this.message;
  }

  get blame(): Blame {
    return ERRORS[this.code].blame;
  }

  get exit(): number {
    return ERRORS[this.code].exit;
  }
}

/** Whether a program says, in the words of the C library, that it had no room to write. */
export function saysDiskFull(words: string): boolean {
  return /No space left on device|Disk quota exceeded/.test(words);
}

const FULL: ReadonlySet<string | undefined> = new Set(["ENOSPC", "EDQUOT"]);

/** Makes a FarmError of whatever was thrown; what nobody foresaw is a BUG, a full disk is not. */
export function toFarmError(thrown: unknown): FarmError {
  if (thrown instanceof FarmError) return thrown;
  if (isErrno(thrown) && FULL.has(thrown.code)) {
    return new FarmError("DISK_FULL", { detail: thrown.message, cause: thrown });
  }
  if (thrown instanceof Error && thrown.name === "AbortError") {
    return new FarmError("INTERRUPTED", { detail: "the work was stopped", cause: thrown });
  }
  return new FarmError("BUG", {
    detail: thrown instanceof Error ? thrown.message : wordsOf(thrown),
    cause: thrown,
  });
}

/** Not every value can be made text. */
function wordsOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `something was thrown that is no error (${typeof thrown})`;
  }
}

/**
 * An error as the fault of the one thing that was worked on: all others go on. Only a stop ends them too.
 * @throws FarmError once `signal` has fired
 */
export function ownError(thrown: unknown, signal: AbortSignal | undefined): FarmError {
  const error = toFarmError(thrown);
  if (signal?.aborted) throw error;
  return error;
}

/** Where in kmodfarm a BUG happened: lines for whoever reports it. Empty for every other code. */
export function traceOf(error: FarmError): string {
  if (error.blame !== "bug") return "";
  const { cause } = error;
  return (cause instanceof Error ? cause.stack : undefined) ?? error.stack ?? "";
}

/** Whether a thrown value is one of the operating system's errors (has an errno name in `code`). */
export function isErrno(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string";
}

/** Ends an exhaustive `switch`: reaching it is a bug the type checker should have found. */
export function assertNever(value: never): never {
  throw new FarmError("BUG", { detail: `unforeseen case: ${JSON.stringify(value)}` });
}
