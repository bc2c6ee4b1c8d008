/**
 * The family of distributions: what a member must tell about its releases and how it packages kernels.
 */
import { z } from "zod";
import type { Paragraph } from "../../formats/deb822.ts";
import type { PrimaryPackage } from "../../formats/rpm-md.ts";
import type { ArchitectureName } from "../architecture.ts";
import { type Compiler, Package } from "../kernel.ts";
import type { ReleaseKeys } from "./rpm-keys.ts";

export interface Release {
  /** Distribution release key: `debian12`. */
  readonly key: string;
  /** os-release's VERSION_ID; `sid` where it has none. */
  readonly version: string;
  /** The word that apt knows it by; its version where there is no apt. */
  readonly codename: string;
}

export interface DebRelease extends Release {
  /** Suites that carry kernels for it, the toolchain's first. */
  readonly suites: readonly Suite[];
}

/** `ports` is where Ubuntu keeps what is not x86. */
export type Archive = "main" | "security" | "ports";

export interface Suite {
  readonly name: string;
  readonly archive: Archive;
  /** What that archive has of it; default: every architecture. */
  readonly architectures?: readonly ArchitectureName[];
}

export interface RpmRelease extends Release {
  /** Repositories that carry kernels for it; none where only subscribers may read them. */
  readonly repositories: readonly RpmRepository[];
  /** Whose signature its packages bear; none if unknown. */
  readonly keys?: ReleaseKeys;
}

export interface RpmRepository {
  readonly name: string;
  readonly location: RpmLocation;
}

/** Where an rpm-md repository lies; `$basearch` in a URL stands for the architecture. */
export interface RpmLocation {
  /** What the URLs lead to: the repository itself, or a list of mirrors that have it. */
  readonly kind: "baseurl" | "mirrorlist" | "metalink";
  /** The same thing in several places, the best first. */
  readonly urls: readonly string[];
}

/** A package as an index lists it, with the fields that say what it needs and gives. */
export const ListedPackage = Package.extend({
  /** The dependency field of a deb package. */
  depends: z.string(),
  /** What an rpm package says it gives, as far as that names a kernel release. */
  provides: z.array(z.object({ name: z.string(), version: z.string() })).optional(),
});
export type ListedPackage = z.infer<typeof ListedPackage>;

/** The package without what only its index has to know. */
export function plainPackage({ depends: _, provides: __, ...plain }: ListedPackage): Package {
  return plain;
}

/** A kernel as the indices of one distribution release list it, before the catalog adds its history. */
export interface ListedKernel {
  readonly kversion: string;
  readonly packageVersion: string;
  readonly architecture: ArchitectureName;
  readonly flavour: string;
  readonly compiler: Compiler | undefined;
  readonly packages: KernelPackages;
  /** Packages that it names and no index of its release has; without them it cannot be built. */
  readonly missing: readonly string[];
  /** Facts that only lists have; see CatalogKernel. */
  readonly inferred?: true;
  readonly unbuildable?: string;
  readonly crawler?: CrawlerName;
  /** Other header packages that claim to be for this very kernel, and were left out. */
  readonly rivals?: readonly string[];
  /** Ids of the sources that list its header package. */
  readonly sources: readonly string[];
}

/** What a kernel-crawler list calls a kernel. */
export interface CrawlerName {
  readonly target: string;
  readonly kernelrelease: string;
  readonly kernelversion: string;
  /** The kernel's configuration in base64, where the list has that instead of headers. */
  readonly kernelconfigdata?: string | undefined;
  /** URLs of its entry that no package of a kernel is fetched from: other mirrors, and files that are not needed. */
  readonly urls?: readonly string[] | undefined;
}

export interface KernelPackages {
  /** What building needs on a machine of the kernel's own architecture. */
  readonly headers: readonly Package[];
  /** The same build tools for builders of other architectures. */
  readonly crossTools: readonly Package[];
  /** Where the boot image is. Empty when no index has it. */
  readonly image: readonly Package[];
  /** Where the in-tree modules are. */
  readonly modules: readonly Package[];
}

interface AnyDistribution<R extends Release> {
  /** os-release's ID. */
  readonly id: string;
  /** The releases there are, oldest first. */
  readonly releases: readonly R[];
  /** Makes the release of a version that is newer than this program; default: there is none. */
  readonly releaseOf?: (version: string) => R | undefined;
  /** Its kernels keep the ABI of many symbols throughout a major release, as Enterprise Linux promises it. */
  readonly keepsAbi?: boolean;
  /**
   * What the release of kernel.org in its kernels proves (kernel/base.ts), and whether their package versions begin with
   * it. Default: nothing, because a frozen base gets backports.
   */
  readonly base?: { readonly isInVersion: boolean; readonly proves: "both" | "fixed" };
  /** Packages that make up the userland of the load test's guest. */
  readonly guestPackages: readonly string[];
  /** The order of its package versions. */
  readonly compareVersions: (a: string, b: string) => number;
  /** The kernels that all indices of one release list together. */
  readonly kernelsOf: (packages: readonly ListedPackage[]) => ListedKernel[];
}

export interface DebDistribution extends AnyDistribution<DebRelease> {
  readonly format: "deb";
  /** Public mirrors, used where neither the configuration nor the host names one. */
  readonly mirrors: Readonly<Partial<Record<Archive, string>> & Record<"main", string>>;
  /** Whether the mirrors that the host's own apt uses are mirrors of it. */
  readonly usesHostMirrors: boolean;
  /** The field of InRelease that names a suite as `dists/` does. */
  readonly suiteField: "Codename" | "Suite";
  /** What that field says of suites that are served under another name. */
  readonly suiteAliases?: Readonly<Record<string, string>>;
  /** How changelogs call suites that are served under another name. */
  readonly changelogSuites?: Readonly<Record<string, string>>;
  readonly keyring: { readonly path: string; readonly package: string };
  /** Where its compilers are: components, and whether a release's later suites have other versions of them. */
  readonly toolchain: { readonly components: readonly string[]; readonly isUpdated: boolean };
  /** Name prefixes of the packages that `kernelsOf` and the load test's guest need from an index. */
  readonly packagePrefixes: readonly string[];
  /** Makes a listed package of an index paragraph; undefined if it is not needed, or a field is missing or wrong. */
  readonly readPackage: (paragraph: Paragraph, source: string) => ListedPackage | undefined;
}

export interface RpmDistribution extends AnyDistribution<RpmRelease> {
  readonly format: "rpm";
  /** Names of the packages that `kernelsOf` needs from an index. */
  readonly packageNames: RegExp;
  /** Likewise for an entry of primary.xml. */
  readonly readPackage: (entry: PrimaryPackage, source: string) => ListedPackage | undefined;
}

export type Distribution = DebDistribution | RpmDistribution;
