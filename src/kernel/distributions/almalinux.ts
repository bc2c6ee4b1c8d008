/**
 * AlmaLinux: RHEL's kernels; a minor release moves to the vault when the next one is out.
 */
import type { RpmDistribution, RpmRelease } from "./distribution.ts";
import { RHEL_MINORS, rhel } from "./rhel.ts";
import { repository, rpmRelease } from "./rpm-family.ts";

export const almalinux: RpmDistribution = {
  ...rhel,
  id: "almalinux",
  releases: RHEL_MINORS.map(release),
  releaseOf: (version) => (/^\d{1,2}\.\d{1,2}$/.test(version) ? release(version) : undefined),
};

function release(version: string): RpmRelease {
  const repositories = ["BaseOS", "AppStream", "RT", "NFV"].map((name) =>
    repository(
      name,
      `https://repo.almalinux.org/almalinux/${version}/${name}/$basearch/os/`,
      `https://vault.almalinux.org/${version}/${name}/$basearch/os/`,
    ),
  );
  return rpmRelease("almalinux", version, repositories);
}
