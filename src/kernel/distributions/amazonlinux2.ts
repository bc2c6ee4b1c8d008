/**
 * Amazon Linux 2: kernel 4.14 in its core, later ones as extras, each in a repository of its own. Every publication
 * has a new place, which `mirror.list` names.
 */
import type { RpmDistribution } from "./distribution.ts";
import { rhel } from "./rhel.ts";
import { listedRepository, rpmKernels, rpmPackageNames, rpmRelease } from "./rpm-family.ts";

const STEMS = ["kernel"];
const PLACE = "http://amazonlinux.default.amazonaws.com/2";

export const amazonlinux2: RpmDistribution = {
  ...withoutLater(rhel),
  keepsAbi: false,
  base: { isInVersion: true, proves: "fixed" },
  id: "amzn",
  releases: [
    {
      ...rpmRelease("amzn", "2", [
        listedRepository("core", "mirrorlist", `${PLACE}/core/latest/$basearch/mirror.list`),
        ...["kernel-5.4", "kernel-5.10", "kernel-5.15"].map((extra) =>
          listedRepository(extra, "mirrorlist", `${PLACE}/extras/${extra}/latest/$basearch/mirror.list`),
        ),
      ]),
      key: "amazonlinux2",
    },
  ],
  packageNames: rpmPackageNames(STEMS),
  kernelsOf: (packages) => rpmKernels(STEMS, packages),
};

/** Amazon's later releases are distributions of their own. */
function withoutLater({ releaseOf: _, ...rest }: RpmDistribution): RpmDistribution {
  return rest;
}
