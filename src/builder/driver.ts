/**
 * A driver as the configuration describes it: its source, and how that becomes modules.
 */

import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import type { LoadSettings } from "./load-settings.ts";
import type { Compression, OriginRecord, RecipeBuild } from "./records.ts";
import type { SourceTree } from "./source-tree.ts";

export interface DriverBuild {
  /** A tree with a Kbuild or Makefile, or one with a dkms.conf. */
  readonly kind: "kbuild" | "dkms";
  /** Where in the tree its Kbuild, Makefile or dkms.conf is; default: at the top. */
  readonly directory?: string;
  /** Shell lines before everything else, as configure-style trees want them. */
  readonly prepare?: readonly string[];
  /** Shell lines in place of the usual `make`. */
  readonly make?: readonly string[];
  /** Packages that the build needs in the toolchain root. */
  readonly packages: readonly string[];
  /** What the source's own package depends on: had where the release has it. */
  readonly depends?: readonly string[];
  /** Patterns of further files to keep: firmware, tables. */
  readonly files: readonly string[];
  /** Whether debugging information is taken out; default: as dkms.conf says, else no. */
  readonly strip?: boolean;
  readonly compress?: Compression;
}

/** Another driver that a driver needs, in the version that it needs it in. */
export interface Need {
  readonly name: string;
  readonly version: string;
}

/** A module of a needed driver, as nodes insert it. */
interface NeededModule {
  readonly name: string;
  readonly sha256: Digest;
  readonly bytes: Buffer;
}

/** A needed driver with its modules for one kernel. */
export interface NeededDriver extends Need {
  /** What its dkms.conf calls it. */
  readonly packageName?: string;
  readonly source: SourceTree;
  /** Its source may not be passed on. */
  readonly isPrivate?: boolean;
  readonly modules: readonly NeededModule[];
  /** Whether nodes get those modules. */
  readonly isStable: boolean;
}

/** All modules of others that a driver's own come after. */
export function neededModules({
  needed = [],
}: {
  readonly needed?: readonly NeededDriver[];
}): NeededModule[] {
  return needed.flatMap(({ modules }) => modules);
}

/** A driver version whose source has been read. */
export interface LoadedDriver {
  readonly name: string;
  readonly version: string;
  readonly source: SourceTree;
  /** Its source may not be passed on: registries name it, and keep it where nobody else reads. */
  readonly isPrivate?: boolean;
  /** Where it came from; no part of any recipe. */
  readonly origin: OriginRecord;
  /** Modules it must give; empty: all it gives. */
  readonly modules: readonly string[];
  readonly build: DriverBuild;
  /** What its dkms.conf calls it, as far as that can be told before it is run. */
  readonly packageName?: string;
  /** The drivers that it needs and those that they need, each after those that it needs itself. */
  readonly needs?: readonly Need[];
  /** The modules of all these for the kernel that it is built for. */
  readonly needed?: readonly NeededDriver[];
  /** The version that its modules must declare, if configured. */
  readonly moduleVersion?: string;
  /** The script of its tree that tries its modules out while they are in a kernel. */
  readonly smoke?: string;
  /** What its modules need to be tried out. */
  readonly load?: LoadSettings;
}

/** How the configuration says it; what it leaves out the tree itself tells. */
export interface BuildSettings {
  readonly directory?: string | undefined;
  readonly strip?: boolean | undefined;
  readonly compress?: Compression | undefined;
  readonly build?: DriverBuild["kind"] | undefined;
  readonly prepare?: ShellLines | undefined;
  readonly make?: ShellLines | undefined;
  readonly packages?: readonly string[] | undefined;
  readonly files?: readonly string[] | undefined;
}
type ShellLines = string | readonly string[];

/**
 * How a tree is built. What its package depends on counts where no packages are configured.
 * @throws FarmError DRIVER_INVALID when nothing in it can be
 */
export function driverBuild(
  tree: SourceTree,
  settings: BuildSettings,
  depends: readonly string[] = [],
): DriverBuild {
  const { directory, prepare, make, strip, compress, packages = [], files = [] } = settings;
  const has = (name: string) =>
    tree.files.some(({ path }) => path === (directory === undefined ? name : `${directory}/${name}`));
  const kind = settings.build ?? (has("dkms.conf") && make === undefined ? "dkms" : "kbuild");
  const wanted = kind === "dkms" ? ["dkms.conf"] : ["Kbuild", "Makefile", "GNUmakefile"];
  // What a configure step will make cannot be seen yet.
  const isMade = kind === "kbuild" && (make !== undefined || prepare !== undefined);
  if (!isMade && !wanted.some(has)) {
    const place = directory === undefined ? "at its top" : `in ${directory}`;
    throw new FarmError("DRIVER_INVALID", {
      detail:
        kind === "dkms"
          ? `${tree.directory} has no dkms.conf ${place}`
          : `${tree.directory} has neither a Kbuild, a Makefile nor a dkms.conf ${place}`,
    });
  }
  return {
    kind,
    packages,
    files,
    ...(depends.length === 0 || settings.packages !== undefined ? {} : { depends }),
    ...(directory === undefined ? {} : { directory }),
    ...(prepare === undefined ? {} : { prepare: [prepare].flat() }),
    ...(make === undefined ? {} : { make: [make].flat() }),
    ...(strip === undefined ? {} : { strip }),
    ...(compress === undefined ? {} : { compress }),
  };
}

/** What the release's own list of packages has beside the compiler, and a compressor that bytes depend on. */
const COMPRESSORS: Readonly<Record<Compression, readonly string[]>> = {
  xz: ["xz-utils", "xz"],
  zstd: ["zstd"],
  gz: ["gzip"],
};

/** Packages beside compiler and make that can change the bytes of this driver's output. */
export function ownPackages({ packages, depends = [], compress }: DriverBuild): string[] {
  return [...packages, ...depends, ...(compress === undefined ? [] : COMPRESSORS[compress])];
}

export function recipeBuild(build: DriverBuild): RecipeBuild | undefined {
  const { kind, directory, prepare, make, files, strip, compress } = build;
  const parts = {
    ...(kind === "dkms" ? { kind } : {}),
    ...(directory === undefined ? {} : { directory }),
    ...(prepare === undefined ? {} : { prepare }),
    ...(make === undefined ? {} : { make }),
    ...(files.length === 0 ? {} : { files }),
    ...(strip === undefined || (!strip && kind === "kbuild") ? {} : { strip }),
    ...(compress === undefined ? {} : { compress }),
  };
  return Object.keys(parts).length === 0 ? undefined : parts;
}
