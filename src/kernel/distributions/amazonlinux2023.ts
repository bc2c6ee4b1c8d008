/**
 * Amazon Linux 2023: later kernels carry their version in their package names (`kernel6.12-devel`).
 */
import { amazonlinux2 } from "./amazonlinux2.ts";
import type { RpmDistribution } from "./distribution.ts";
import { listedRepository, rpmKernels, rpmPackageNames, rpmRelease } from "./rpm-family.ts";

const STEMS = ["kernel(?:\\d+\\.\\d+)?"];

export const amazonlinux2023: RpmDistribution = {
  ...amazonlinux2,
  releases: [
    {
      ...rpmRelease("amzn", "2023", [
        listedRepository(
          "core",
          "mirrorlist",
          "https://cdn.amazonlinux.com/al2023/core/mirrors/latest/$basearch/mirror.list",
        ),
      ]),
      key: "amazonlinux2023",
    },
  ],
  packageNames: rpmPackageNames(STEMS),
  kernelsOf: (packages) => rpmKernels(STEMS, packages),
};
