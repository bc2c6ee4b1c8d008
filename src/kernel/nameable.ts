/**
 * Kernels as files and documents name them. What a source calls a kernel is a stranger's word: one that no file can be
 * named after is left out where it is read, because what is kept must be readable again.
 */
import type { KernelId } from "./kernel.ts";
import { isPathSegment } from "./path-segment.ts";
import { partsOfRelease } from "./release-rules.ts";

/**
 * The last part of an artifact's path. Where a release does not name the build, as Debian's and Ubuntu's, the package
 * version stands beside it, with a `+` behind its epoch.
 */
export function leafOf(kernel: KernelId): string {
  if (namesBuild(kernel)) return kernel.kversion;
  return `${kernel.kversion}_${kernel.packageVersion.replace(":", "+")}`;
}

/** Why a kernel cannot be kept; undefined if it can. */
export function nameFault(kernel: KernelId & { readonly flavour: string }): string | undefined {
  const { distribution, kversion, flavour } = kernel;
  const names = { "distribution release": distribution, "kernel release": kversion, flavour };
  const bad = Object.entries(names).find(([, name]) => !isPathSegment(name));
  if (bad !== undefined) return `its ${bad[0]} is not a safe name`;
  return isPathSegment(leafOf(kernel)) ? undefined : "its release and version are not a safe name";
}

/**
 * Whether the release of an rpm kernel is its package's `version-release`, then the architecture, a flavour or
 * both: strict enough that one release can only come of one package version.
 */
function namesBuild({ distribution, kversion, packageVersion }: KernelId): boolean {
  const isVersion =
    /^[^-]+-[^-]+$/.test(packageVersion) && !/\.(x86_64|aarch64)([+._]|$)/.test(packageVersion);
  if (!isVersion || !kversion.startsWith(packageVersion) || partsOfRelease(distribution).format !== "rpm")
    return false;
  return /^(\.(x86_64|aarch64)([+._].+)?|-[a-z]\w*)?$/.test(kversion.slice(packageVersion.length));
}
