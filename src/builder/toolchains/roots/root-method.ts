/**
 * The family of root methods: how a toolchain root comes to be from packages of one format.
 */

import { rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../../base/error.ts";
import { copyFileIn } from "../../../base/strange-tree.ts";
import type { KeySource, PackageTrust } from "../../../catalog/signing-keys.ts";
import type { ArchitectureName } from "../../../kernel/architecture.ts";
import type { RpmRepository } from "../../../kernel/distributions/distribution.ts";
import type { InstalledPackage } from "../../records.ts";
import type { WantedPackage } from "../image.ts";
import type { PackageFile } from "../root-record.ts";

/** One line of an apt sources list. */
export interface AptLine {
  readonly url: string;
  readonly suite: string;
  readonly components: readonly string[];
}

export interface DebMirror {
  readonly format: "deb";
  /** The suite's own first. */
  readonly lines: readonly [AptLine, ...AptLine[]];
  readonly keyring: string;
  readonly acceptExpired: boolean;
  /** Its packages may not be passed on. Default: no. */
  readonly isPrivate?: boolean;
}

export interface RpmMirror {
  readonly format: "rpm";
  /** os-release's VERSION_ID. */
  readonly version: string;
  readonly repositories: readonly RpmRepository[];
  readonly trust: PackageTrust;
  /** As above. */
  readonly isPrivate?: boolean;
}

/** Where the packages of a release's toolchain come from. */
export type ReleaseMirror = DebMirror | RpmMirror;

/** Where a root is made, and for what machine. */
export interface RootPlace {
  /** For people: the release, and what of it. */
  readonly what: string;
  readonly builder: ArchitectureName;
  /** This machine runs that architecture's programs by emulation, which was looked at before. */
  readonly isEmulated: boolean;
  /** An empty directory's path, for the root. */
  readonly root: string;
  /** A directory for whatever the method needs meanwhile. */
  readonly work: string;
}

export interface RootSpec extends RootPlace {
  readonly packages: readonly WantedPackage[];
  /** Versions to ask for, by package name, as long as the mirror has them. */
  readonly lock: ReadonlyMap<string, string>;
  /** An empty directory for the packages themselves, each under its SHA-256. */
  readonly kept: string;
}

export interface MadeRoot {
  readonly packages: readonly InstalledPackage[];
  /** The same packages as they came. */
  readonly files: readonly PackageFile[];
  /** What a person should know of it, one line each. */
  readonly notes: readonly string[];
}

/** What a method works with beside its packages. */
export interface RootContext {
  /** The keys that a repository's packages must be signed with. @throws FarmError */
  readonly keysOf: (source: KeySource, signal?: AbortSignal) => Promise<Buffer>;
  /** Told what takes long. */
  readonly say?: (text: string) => void;
}

export interface RootMethod<M extends ReleaseMirror = ReleaseMirror> {
  readonly format: M["format"];
  /** What it always asks its tool for: part of what a root is. */
  readonly options: readonly string[];
  /**
   * Makes the root; its files are the box's still.
   * @throws FarmError CONFIG_INVALID, TOOL_MISSING, TOOL_FAILED, REMOTE_UNAVAILABLE, SIGNATURE_INVALID, TIMED_OUT
   */
  readonly make: (spec: RootSpec, mirror: M, context: RootContext, signal?: AbortSignal) => Promise<MadeRoot>;
  /**
   * Makes the root again of the very packages that it was made of, files of this machine, without a network.
   * @throws FarmError TOOL_MISSING, TOOL_FAILED, TIMED_OUT
   */
  readonly remake: (
    place: RootPlace,
    packages: readonly string[],
    signal?: AbortSignal,
  ) => Promise<readonly InstalledPackage[]>;
}

/** Lines of a name, a version and an architecture, with tabs between, as both package tools can write them. */
export function installedList(text: string): (InstalledPackage & Pick<PackageFile, "architecture">)[] {
  const packages = text.split("\n").flatMap((line) => {
    const [name, version, architecture] = line.split("\t");
    return name && version && architecture ? [{ name, version, architecture }] : [];
  });
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** A package that was fetched. */
export interface FetchedPackage extends Omit<PackageFile, "sha256" | "size"> {
  /** Below the directory that the box worked in. */
  readonly path: string;
}

/** Packages are no larger than what a store reads back. */
const PACKAGE_LIMIT_BYTES = 1 << 30;

/** Copies the packages of a root out of the box, whose programs may have put anything in their place. */
export async function keepFiles(
  packages: readonly FetchedPackage[],
  { what, work, kept }: Pick<RootSpec, "what" | "work" | "kept">,
): Promise<PackageFile[]> {
  const files: PackageFile[] = [];
  for (const { path, ...fetched } of packages) {
    const copy = join(kept, "copy");
    const sha256 = copyFileIn(work, path, copy, PACKAGE_LIMIT_BYTES);
    if (sha256 === undefined)
      throw new FarmError("TOOL_FAILED", {
        detail: `the package ${fetched.name} of the toolchain root of ${what} is not where it was fetched to`,
      });
    const { size } = await stat(copy);
    await rename(copy, join(kept, sha256));
    files.push({ ...fetched, sha256, size });
  }
  return files;
}

/** Neither the mirror nor this machine is at fault if no package of that name exists. */
export function packageUnknown(what: string, name: string): FarmError {
  return new FarmError("CONFIG_INVALID", {
    detail: `the toolchain root of ${what} needs the package ${name}, but its mirror has none of that name`,
    hint: "Correct the driver's `packages`, or the release's list under images/.",
  });
}

/** How long making a root may take: programs that are emulated run ten times as long. */
export function bootstrapTimeoutMs({ isEmulated }: Pick<RootPlace, "isEmulated">): number {
  return (isEmulated ? 90 : 20) * 60_000;
}
