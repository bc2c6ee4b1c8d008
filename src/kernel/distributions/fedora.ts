/**
 * Fedora: one kernel per release and update, found through the metalinks that also vouch for what mirrors serve.
 */
import type { RpmDistribution, RpmRelease } from "./distribution.ts";
import { RHEL_STEMS, rhel } from "./rhel.ts";
import { listedRepository, rpmKernels, rpmPackageNames, rpmRelease } from "./rpm-family.ts";

const STEMS = [...RHEL_STEMS, "kernel-16k", "kernel-16k-debug"];
const [FIRST, LAST] = [36, 45];

export const fedora: RpmDistribution = {
  ...rhel,
  keepsAbi: false,
  base: { isInVersion: true, proves: "both" },
  id: "fedora",
  releases: Array.from({ length: LAST - FIRST + 1 }, (_, index) => release(String(FIRST + index))),
  releaseOf: (version) => (/^\d{2,3}$/.test(version) ? release(version) : undefined),
  packageNames: rpmPackageNames(STEMS),
  kernelsOf: (packages) => rpmKernels(STEMS, packages),
};

function release(version: string): RpmRelease {
  const metalink = "https://mirrors.fedoraproject.org/metalink?arch=$basearch&repo=";
  return rpmRelease("fedora", version, [
    listedRepository("releases", "metalink", `${metalink}fedora-${version}`),
    listedRepository("updates", "metalink", `${metalink}updates-released-f${version}`),
  ]);
}
