/**
 * Which DKMS a release has: its ways differ between versions, and what builds there is what it builds.
 */

/** The version of each release's own `dkms` package, as the release was published or last updated it. */
const DKMS_VERSIONS: ReadonlyMap<string, string> = new Map([
  ["debian11", "2.8.4"],
  ["debian12", "3.0.10"],
  ["debian13", "3.2.2"],
  ["debian14", "3.2.2"],
  ["debiansid", "3.2.2"],
  ["ubuntu18.04", "2.3"],
  ["ubuntu20.04", "2.8.1"],
  ["ubuntu22.04", "2.8.7"],
  ["ubuntu24.04", "3.0.11"],
]);

/** Fedora and EPEL follow upstream; for releases that have none, this is what a person would install. */
export const NEWEST_DKMS = "3.4.3";

/** The version of DKMS that is followed for kernels of a release (`debian12`, `almalinux9.4`). */
export function dkmsVersion(release: string): string {
  return DKMS_VERSIONS.get(release) ?? NEWEST_DKMS;
}
