/**
 * Oracle Linux: RHEL's kernels beside Oracle's own (UEK). One repository serves all minor releases of a major one,
 * so the major one is the release here.
 */
import type { RpmDistribution, RpmRelease } from "./distribution.ts";
import { RHEL_STEMS, rhel } from "./rhel.ts";
import { readRpmPackage, repository, rpmKernels, rpmPackageNames, rpmRelease } from "./rpm-family.ts";

const STEMS = [...RHEL_STEMS, "kernel-uek", "kernel-uek-debug", "kernel-uek64k", "kernel-uek64k-debug"];

export const oracle: RpmDistribution = {
  ...rhel,
  id: "ol",
  releases: [
    release("7", "latest", "UEKR3", "UEKR4", "UEKR5", "UEKR6"),
    release("8", "baseos/latest", "UEKR6", "UEKR7"),
    release("9", "baseos/latest", "appstream", "UEKR7", "UEKR8"),
    release("10", "baseos/latest", "appstream", "UEKR8"),
  ],
  releaseOf: (version) =>
    /^\d{2}$/.test(version) ? release(version, "baseos/latest", "appstream") : undefined,
  packageNames: rpmPackageNames(STEMS),
  readPackage: readRpmPackage,
  kernelsOf: (packages) => rpmKernels(STEMS, packages),
};

function release(version: string, ...places: string[]): RpmRelease {
  const repositories = places.map((place) =>
    repository(
      place.replace("/", "-"),
      `https://yum.oracle.com/repo/OracleLinux/OL${version}/${place}/$basearch/`,
    ),
  );
  return rpmRelease("ol", version, repositories);
}
