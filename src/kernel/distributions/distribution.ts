/**
 * The family of distributions: what a member must tell about its releases and how it packages kernels.
 */
import type { Paragraph } from "../../formats/deb822.ts";
import type { ArchitectureName } from "../architecture.ts";
import type { Compiler, Package } from "../kernel.ts";

export interface Release {
  /** Distribution release key: `debian12`. */
  readonly key: string;
  /** os-release's VERSION_ID; `sid` where it has none. */
  readonly version: string;
  readonly codename: string;
  /** Suites that carry kernels for it, the toolchain's first. */
  readonly suites: readonly Suite[];
}

interface Suite {
  readonly name: string;
  readonly archive: "main" | "security";
}

/** A package as an index lists it, with the fields that say what it needs. */
export interface ListedPackage extends Package {
  readonly depends: string;
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
}

interface KernelPackages {
  /** What building needs on a machine of the kernel's own architecture. */
  readonly headers: readonly Package[];
  /** The same build tools for builders of other architectures. */
  readonly crossTools: readonly Package[];
  /** Where the boot image is. Empty when no index has it. */
  readonly image: readonly Package[];
  /** Where the in-tree modules are. */
  readonly modules: readonly Package[];
}

export interface Distribution {
  /** os-release's ID. */
  readonly id: string;
  readonly format: "deb";
  readonly releases: readonly Release[];
  /** Public mirrors, used where neither the configuration nor the host names one. */
  readonly mirrors: Readonly<Record<Suite["archive"], string>>;
  readonly keyring: { readonly path: string; readonly package: string };
  /** Name prefixes of the packages that `kernelsOf` and the load test's guest need from an index. */
  readonly packagePrefixes: readonly string[];
  /** Packages that make up the userland of the load test's guest. */
  readonly guestPackages: readonly string[];
  /** Makes a listed package of an index paragraph; undefined when a needed field is missing or wrong. */
  readPackage(paragraph: Paragraph, source: string): ListedPackage | undefined;
  /** The kernels that all indices of one release list together. */
  kernelsOf(packages: readonly ListedPackage[]): ListedKernel[];
}
