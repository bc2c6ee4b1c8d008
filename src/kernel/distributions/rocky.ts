/**
 * Rocky Linux: RHEL's kernels; a minor release moves to the vault when the next one is out.
 */
import type { RpmDistribution, RpmRelease } from "./distribution.ts";
import { RHEL_MINORS, rhel } from "./rhel.ts";
import { repository, rpmRelease } from "./rpm-family.ts";

export const rocky: RpmDistribution = {
  ...rhel,
  id: "rocky",
  releases: RHEL_MINORS.map(release),
  releaseOf: (version) => (/^\d{1,2}\.\d{1,2}$/.test(version) ? release(version) : undefined),
};

function release(version: string): RpmRelease {
  const repositories = ["BaseOS", "AppStream", "RT", "NFV"].map((name) =>
    repository(
      name,
      `https://dl.rockylinux.org/pub/rocky/${version}/${name}/$basearch/os/`,
      `https://dl.rockylinux.org/vault/rocky/${version}/${name}/$basearch/os/`,
    ),
  );
  return rpmRelease("rocky", version, repositories);
}
