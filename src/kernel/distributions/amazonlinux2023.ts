/**
 * Amazon Linux 2023: later kernels carry their version in their package names (`kernel6.12-devel`).
 */
import { amazonlinux2 } from "./amazonlinux2.ts";
import type { RpmDistribution } from "./distribution.ts";
import { listedRepository, rpmKernels, rpmPackageNames } from "./rpm-family.ts";

const STEMS = ["kernel(?:\\d+\\.\\d+)?"];

export const amazonlinux2023: RpmDistribution = {
  ...amazonlinux2,
  releases: [
    {
      key: "amazonlinux2023",
      version: "2023",
      codename: "2023",
      repositories: [
        listedRepository(
          "core",
          "mirrorlist",
          "https://cdn.amazonlinux.com/al2023/core/mirrors/latest/$basearch/mirror.list",
        ),
      ],
    },
  ],
  packageNames: rpmPackageNames(STEMS),
  kernelsOf: (packages) => rpmKernels(STEMS, packages),
};
