/**
 * Red Hat Enterprise Linux, and what its rebuilds take from it. Its repositories need a subscription, so they must
 * be configured.
 */
import { compareRpmVersions } from "../rpm-version.ts";
import type { RpmDistribution } from "./distribution.ts";
import { minors, readRpmPackage, rpmKernels, rpmPackageNames, rpmRelease } from "./rpm-family.ts";

/** Everything of a kernel is named after one of these; on aarch64 there are other page sizes too. */
export const RHEL_STEMS = [
  "kernel",
  "kernel-debug",
  "kernel-rt",
  "kernel-rt-debug",
  "kernel-64k",
  "kernel-64k-debug",
  "kernel-rt-64k",
  "kernel-rt-64k-debug",
];

/** Minor releases that have been: a later one is made of its version. */
export const RHEL_MINORS = [...minors(8, 3, 10), ...minors(9, 0, 8), ...minors(10, 0, 2)];

export const rhel: RpmDistribution = {
  id: "rhel",
  format: "rpm",
  keepsAbi: true,
  releases: ["7.9", ...RHEL_MINORS].map((version) => rpmRelease("rhel", version, [])),
  releaseOf: (version) => (/^\d{1,2}\.\d{1,2}$/.test(version) ? rpmRelease("rhel", version, []) : undefined),
  guestPackages: [],
  packageNames: rpmPackageNames(RHEL_STEMS),
  compareVersions: compareRpmVersions,
  readPackage: readRpmPackage,
  kernelsOf: (packages) => rpmKernels(RHEL_STEMS, packages),
};
