/**
 * The family of root methods: how a toolchain root comes to be from packages of one format.
 */

import { FarmError } from "../../../base/error.ts";
import type { KeySource, PackageTrust } from "../../../catalog/signing-keys.ts";
import type { ArchitectureName } from "../../../kernel/architecture.ts";
import type { RpmRepository } from "../../../kernel/distributions/distribution.ts";
import type { InstalledPackage } from "../../records.ts";
import type { WantedPackage } from "../image.ts";

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
}

export interface RpmMirror {
  readonly format: "rpm";
  /** os-release's VERSION_ID. */
  readonly version: string;
  readonly repositories: readonly RpmRepository[];
  readonly trust: PackageTrust;
}

/** Where the packages of a release's toolchain come from. */
export type ReleaseMirror = DebMirror | RpmMirror;

export interface RootSpec {
  /** For people: the release, and what of it. */
  readonly what: string;
  readonly builder: ArchitectureName;
  /** This machine runs that architecture's programs by emulation, which was looked at before. */
  readonly isEmulated: boolean;
  readonly packages: readonly WantedPackage[];
  /** Versions to ask for, by package name, as long as the mirror has them. */
  readonly lock: ReadonlyMap<string, string>;
  /** An empty directory's path, for the root. */
  readonly root: string;
  /** A directory for whatever the method needs meanwhile. */
  readonly work: string;
}

export interface MadeRoot {
  readonly packages: readonly InstalledPackage[];
  /** What a person should know of it, one line each. */
  readonly notes: readonly string[];
}

/** What a method works with beside its packages. */
export interface RootContext {
  /** The keys that a repository's packages must be signed with. @throws FarmError */
  readonly keysOf: (source: KeySource, signal?: AbortSignal) => Promise<Buffer>;
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
}

/** Lines of a name, a tab and a version, as both package tools can write them. */
export function installedList(text: string): InstalledPackage[] {
  const packages = text.split("\n").flatMap((line) => {
    const [name, version] = line.split("\t");
    return name && version ? [{ name, version }] : [];
  });
  return packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Neither the mirror nor this machine is at fault if no package of that name exists. */
export function packageUnknown(what: string, name: string): FarmError {
  return new FarmError("CONFIG_INVALID", {
    detail: `the toolchain root of ${what} needs the package ${name}, but its mirror has none of that name`,
    hint: "Correct the driver's `packages`, or the release's list under images/.",
  });
}

/** How long making a root may take: programs that are emulated run ten times as long. */
export function bootstrapTimeoutMs({ isEmulated }: Pick<RootSpec, "isEmulated">): number {
  return (isEmulated ? 90 : 20) * 60_000;
}
