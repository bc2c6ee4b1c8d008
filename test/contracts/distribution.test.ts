import { describe, expect, test } from "vitest";
import type { Distribution } from "../../src/kernel/distributions/distribution.ts";
import {
  DISTRIBUTIONS,
  findRelease,
  requireRelease,
  versionOrder,
} from "../../src/kernel/distributions/index.ts";
import { makeListedPackage } from "../support/kernels.ts";
import { realNames } from "../support/versions.ts";
import { type DistributionSample, distributionContract, type PackageWords } from "./distribution.ts";

const OTHERS: readonly PackageWords[] = [
  ["kernel-headers", "5.14.0-427.13.1.el9_4", "x86_64"],
  ["kernel-devel-matched", "5.14.0-427.13.1.el9_4", "x86_64"],
  ["kernel-rt-devel-matched", "5.14.0-427.13.1.el9_4", "x86_64"],
  ["kernel-tools-libs-devel", "5.14.0-427.13.1.el9_4", "x86_64"],
  ["kernel-abi-stablelists", "5.14.0-427.13.1.el9_4", "all"],
  ["kernel-devel", "5.14.0-427.13.1.el9_4", "all"],
  ["kernel-core", "5.14.0-427.16.1.el9_4", "x86_64"],
];

/** Real names and versions, by the first release of each member. */
const SAMPLES: Readonly<Record<string, DistributionSample>> = {
  debian11: {
    packages: [
      [
        "linux-headers-6.1.0-56-cloud-amd64",
        "6.1.170-3",
        "x86_64",
        "linux-headers-6.1.0-56-common, linux-kbuild-6.1",
      ],
      ["linux-headers-6.1.0-56-common", "6.1.170-3", "all"],
      ["linux-kbuild-6.1", "6.1.170-3", "x86_64"],
      ["linux-image-6.1.0-56-cloud-amd64", "6.1.170-3", "x86_64"],
    ],
    kernels: [
      "6.1.0-56-cloud-amd64 cloud x86_64: linux-headers-6.1.0-56-cloud-amd64 linux-headers-6.1.0-56-common linux-kbuild-6.1 | linux-image-6.1.0-56-cloud-amd64 | linux-image-6.1.0-56-cloud-amd64",
    ],
    others: [["linux-headers-cloud-amd64", "6.1.170-3", "x86_64", "linux-headers-6.1.0-56-cloud-amd64"]],
    order: ["6.1.170-3~bpo11+1", "6.1.170-3"],
  },
  "ubuntu18.04": {
    packages: [
      [
        "linux-headers-5.15.0-100-generic",
        "5.15.0-100.110",
        "x86_64",
        "linux-headers-5.15.0-100, libc6, libelf1",
      ],
      ["linux-headers-5.15.0-100", "5.15.0-100.110", "all"],
      ["linux-image-5.15.0-100-generic", "5.15.0-100.110+1", "x86_64"],
      ["linux-image-unsigned-5.15.0-100-generic", "5.15.0-100.110", "x86_64"],
      ["linux-modules-5.15.0-100-generic", "5.15.0-100.110", "x86_64"],
      ["linux-modules-extra-5.15.0-100-generic", "5.15.0-100.110", "x86_64"],
      [
        "linux-headers-5.15.0-1021-aws",
        "5.15.0-1021.25~20.04.1",
        "x86_64",
        "linux-aws-5.15-headers-5.15.0-1021",
      ],
      ["linux-aws-5.15-headers-5.15.0-1021", "5.15.0-1021.25~20.04.1", "all"],
      ["linux-image-unsigned-5.15.0-1021-aws", "5.15.0-1021.25~20.04.1", "x86_64"],
      ["linux-headers-6.8.0-31-generic-64k", "6.8.0-31.31", "aarch64", "linux-headers-6.8.0-31"],
      ["linux-headers-6.8.0-31", "6.8.0-31.31", "all"],
    ],
    kernels: [
      "5.15.0-100-generic generic x86_64: linux-headers-5.15.0-100-generic linux-headers-5.15.0-100 | linux-image-5.15.0-100-generic | linux-modules-5.15.0-100-generic linux-modules-extra-5.15.0-100-generic",
      "5.15.0-1021-aws aws x86_64: linux-headers-5.15.0-1021-aws linux-aws-5.15-headers-5.15.0-1021 | linux-image-unsigned-5.15.0-1021-aws | ",
      "6.8.0-31-generic-64k generic-64k aarch64: linux-headers-6.8.0-31-generic-64k linux-headers-6.8.0-31 |  | ",
    ],
    others: [
      ["linux-headers-generic", "5.15.0.100.97", "x86_64", "linux-headers-5.15.0-100-generic"],
      ["linux-headers-generic-hwe-22.04", "6.5.0.26.26", "x86_64", "linux-headers-6.5.0-26-generic"],
      ["linux-headers-aws", "5.15.0.1021.20", "x86_64", "linux-headers-5.15.0-1021-aws"],
    ],
    order: ["5.15.0-26.26~20.04.1", "5.15.0-26.26"],
  },
  fedora36: {
    packages: [
      ["kernel-devel", "6.8.5-301.fc40", "x86_64", "6.8.5-301.fc40.x86_64"],
      ["kernel", "6.8.5-301.fc40", "x86_64"],
      ["kernel-core", "6.8.5-301.fc40", "x86_64"],
      ["kernel-modules", "6.8.5-301.fc40", "x86_64"],
      ["kernel-modules-core", "6.8.5-301.fc40", "x86_64"],
      ["kernel-modules-extra", "6.8.5-301.fc40", "x86_64"],
      ["kernel-debug-devel", "6.8.5-301.fc40", "x86_64", "6.8.5-301.fc40.x86_64+debug"],
      ["kernel-16k-devel", "6.9.0-0.rc1.20240325git4cece7649650.15.fc41", "aarch64"],
    ],
    kernels: [
      "6.8.5-301.fc40.x86_64 generic x86_64: kernel-devel | kernel-core | kernel-modules-core kernel-modules kernel-modules-extra",
      "6.8.5-301.fc40.x86_64+debug debug x86_64: kernel-debug-devel |  | ",
      "6.9.0-0.rc1.20240325git4cece7649650.15.fc41.aarch64+16k 16k aarch64: kernel-16k-devel |  | ",
    ],
    others: OTHERS,
    order: ["6.8.5-301.fc40", "6.8.10-300.fc40"],
  },
  "rhel7.9": {
    packages: [
      ["kernel-devel", "3.10.0-1160.el7", "x86_64"],
      ["kernel", "3.10.0-1160.el7", "x86_64"],
      ["kernel-debug-devel", "3.10.0-1160.el7", "x86_64"],
    ],
    kernels: [
      "3.10.0-1160.el7.x86_64 generic x86_64: kernel-devel | kernel | kernel",
      "3.10.0-1160.el7.x86_64.debug debug x86_64: kernel-debug-devel |  | ",
    ],
    others: OTHERS,
    order: ["3.10.0-1160.el7", "3.10.0-1160.2.1.el7"],
  },
  "almalinux8.3": {
    packages: [
      ["kernel-devel", "5.14.0-427.13.1.el9_4", "x86_64", "5.14.0-427.13.1.el9_4.x86_64"],
      ["kernel-rt-devel", "5.14.0-427.13.1.el9_4", "x86_64", "5.14.0-427.13.1.el9_4.x86_64+rt"],
      ["kernel-rt-core", "5.14.0-427.13.1.el9_4", "x86_64"],
      ["kernel-64k-devel", "5.14.0-427.13.1.el9_4", "aarch64"],
    ],
    kernels: [
      "5.14.0-427.13.1.el9_4.aarch64+64k 64k aarch64: kernel-64k-devel |  | ",
      "5.14.0-427.13.1.el9_4.x86_64 generic x86_64: kernel-devel |  | ",
      "5.14.0-427.13.1.el9_4.x86_64+rt rt x86_64: kernel-rt-devel | kernel-rt-core | ",
    ],
    others: OTHERS,
    order: ["4.18.0-553.el8_10", "4.18.0-553.77.1.el8_10"],
  },
  "rocky8.3": {
    packages: [
      ["kernel-rt-devel", "4.18.0-553.rt7.342.el8_10", "x86_64"],
      ["kernel-rt-debug-devel", "4.18.0-553.rt7.342.el8_10", "x86_64"],
    ],
    kernels: [
      "4.18.0-553.rt7.342.el8_10.x86_64 rt x86_64: kernel-rt-devel |  | ",
      "4.18.0-553.rt7.342.el8_10.x86_64+debug rt-debug x86_64: kernel-rt-debug-devel |  | ",
    ],
    others: OTHERS,
    order: ["5.14.0-70.13.1.el9_0", "5.14.0-427.13.1.el9_4"],
  },
  centos7: {
    packages: [["kernel-devel", "5.14.0-165.el9", "x86_64"]],
    kernels: ["5.14.0-165.el9.x86_64 generic x86_64: kernel-devel |  | "],
    others: OTHERS,
    order: ["5.14.0-70.el9", "5.14.0-165.el9"],
  },
  ol7: {
    packages: [
      ["kernel-uek-devel", "5.4.17-2136.311.6.el8uek", "x86_64"],
      ["kernel-uek", "5.4.17-2136.311.6.el8uek", "x86_64"],
      ["kernel-uek-devel", "5.15.0-206.153.7.el9uek", "aarch64", "5.15.0-206.153.7.el9uek.aarch64"],
      ["kernel-uek", "5.15.0-206.153.7.el9uek", "aarch64"],
      ["kernel-uek-core", "5.15.0-206.153.7.el9uek", "aarch64"],
      ["kernel-uek-modules", "5.15.0-206.153.7.el9uek", "aarch64"],
      ["kernel-uek64k-devel", "5.15.0-206.153.7.el9uek", "aarch64"],
      ["kernel-devel", "5.14.0-427.13.1.el9_4", "x86_64"],
    ],
    kernels: [
      "5.4.17-2136.311.6.el8uek.x86_64 uek x86_64: kernel-uek-devel | kernel-uek | kernel-uek",
      "5.14.0-427.13.1.el9_4.x86_64 generic x86_64: kernel-devel |  | ",
      "5.15.0-206.153.7.el9uek.aarch64 uek aarch64: kernel-uek-devel | kernel-uek-core | kernel-uek-modules",
      "5.15.0-206.153.7.el9uek.aarch64+64k uek64k aarch64: kernel-uek64k-devel |  | ",
    ],
    others: OTHERS,
    order: ["5.4.17-2136.311.6.el8uek", "5.15.0-206.153.7.el9uek"],
  },
  amazonlinux2: {
    packages: [
      ["kernel-devel", "4.14.173-137.229.amzn2", "x86_64"],
      ["kernel", "4.14.173-137.229.amzn2", "x86_64"],
      ["kernel-devel", "5.10.135-122.509.amzn2", "aarch64", "5.10.135-122.509.amzn2.aarch64"],
      ["kernel", "5.10.135-122.509.amzn2", "aarch64"],
    ],
    kernels: [
      "4.14.173-137.229.amzn2.x86_64 generic x86_64: kernel-devel | kernel | kernel",
      "5.10.135-122.509.amzn2.aarch64 generic aarch64: kernel-devel | kernel | kernel",
    ],
    others: OTHERS,
    order: ["4.14.173-137.229.amzn2", "4.14.285-215.501.amzn2"],
  },
  amazonlinux2023: {
    packages: [
      ["kernel-devel", "6.1.102-108.177.amzn2023", "x86_64"],
      ["kernel", "6.1.102-108.177.amzn2023", "x86_64"],
      ["kernel-modules-extra", "6.1.102-108.177.amzn2023", "x86_64"],
      ["kernel6.12-devel", "6.12.25-32.101.amzn2023", "x86_64"],
      ["kernel6.12", "6.12.25-32.101.amzn2023", "x86_64"],
      ["kernel6.18-devel", "6.18.3-9.112.amzn2023", "x86_64"],
      ["kernel6.18", "6.18.3-9.112.amzn2023", "x86_64"],
    ],
    kernels: [
      "6.1.102-108.177.amzn2023.x86_64 generic x86_64: kernel-devel | kernel | kernel kernel-modules-extra",
      "6.12.25-32.101.amzn2023.x86_64 generic x86_64: kernel6.12-devel | kernel6.12 | kernel6.12",
      "6.18.3-9.112.amzn2023.x86_64 generic x86_64: kernel6.18-devel | kernel6.18 | kernel6.18",
    ],
    others: [
      ...OTHERS,
      ["kernel-livepatch-6.1.102-108.177", "1.0-0.amzn2023", "x86_64"],
      ["kernel-livepatch-6.12.37-61.105", "1.0-0.amzn2023", "x86_64"],
      ["kernel6.12-tools-devel", "6.12.25-32.101.amzn2023", "x86_64"],
      ["kernel6.12-libbpf-devel", "6.12.25-32.101.amzn2023", "x86_64"],
      ["kernel6.12-headers", "6.12.25-32.101.amzn2023", "x86_64"],
    ],
    order: ["6.1.102-108.177.amzn2023", "6.1.102-111.182.amzn2023"],
  },
};

const nameOf = ({ releases }: Distribution) => releases[0]?.key ?? "";

for (const distribution of DISTRIBUTIONS) {
  const sample = SAMPLES[nameOf(distribution)];
  if (sample !== undefined) distributionContract(distribution, sample);
}

describe("the registry of distributions", () => {
  test("has a sample of every member", () => {
    expect(DISTRIBUTIONS.map(nameOf)).toEqual(Object.keys(SAMPLES));
  });

  test("has each release under one key", () => {
    const keys = DISTRIBUTIONS.flatMap(({ releases }) => releases.map(({ key }) => key));

    expect(new Set(keys).size).toBe(keys.length);
  });

  test("knows releases that are newer than this program, and nothing by half its name", () => {
    expect(
      ["almalinux9.17", "fedora61", "rhel11.0", "centos11", "ol11"].map(
        (key) => findRelease(key)?.release.key,
      ),
    ).toEqual(["almalinux9.17", "fedora61", "rhel11.0", "centos11", "ol11"]);
    const unknown = [
      "almalinux",
      "almalinux9",
      "rocky9.4.1",
      "amazonlinux",
      "amazonlinux2024",
      "amzn2",
      "ubuntu",
      "fedora",
    ];
    expect(unknown.map(findRelease)).toEqual(unknown.map(() => undefined));
    expect(() => requireRelease("amzn2")).toThrow(/'amzn2' is not.*amazonlinux2, amazonlinux2023/);
  });

  test("orders versions as the distribution does, and as Debian where nobody knows the distribution", () => {
    expect(versionOrder("almalinux9.4")("1.0^git1", "1.0")).toBeGreaterThan(0);
    expect(versionOrder("almalinux9.4")("1.05", "1.5")).toBe(0);
    expect(versionOrder("photon5.0")).toBe(versionOrder("debian12"));
  });
});

describe("the real lists", () => {
  const OF_RELEASE: readonly (readonly [string, RegExp])[] = [
    ["fedora40", /\.fc\d+$/],
    ["amazonlinux2023", /\.amzn2023$/],
    ["amazonlinux2", /\.amzn2$/],
    ["ol8", /\.el\d+uek$/],
    ["almalinux9.4", /\.el\d+(_\d+)?$/],
  ];

  test("every header package of an rpm distribution is the kernel that its name says", (context) => {
    const names = realNames("rpm").filter(({ name }) => name.endsWith("-devel"));
    if (names.length === 0) return context.skip("the real lists are not on this machine");
    const counts = OF_RELEASE.map(([key, marks]) => {
      const own = names.filter(({ version }) => marks.test(version));
      const packages = own.map(({ name, version, architecture }) =>
        makeListedPackage({ name, version, architecture: architecture as "x86_64" }),
      );

      const kernels = requireRelease(key).distribution.kernelsOf(packages);

      expect(kernels.map(({ kversion }) => kversion)).toEqual(
        own.map(({ version, architecture }) => `${version}.${architecture}`),
      );
      return kernels.length;
    });
    expect(Math.min(...counts)).toBeGreaterThan(0);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(900);
  });

  test("every header package of Ubuntu finds its common one", (context) => {
    const names = realNames("deb").filter(({ version }) => /^\d+\.\d+\.\d+-\d+\.\d+/.test(version));
    if (names.length === 0) return context.skip("the real lists are not on this machine");
    const commons = new Map(
      names
        .filter(({ architecture }) => architecture === "all")
        .map(({ name, version }) => [`${/headers-([\d.]+-\d+)$/.exec(name)?.[1]} ${version}`, name]),
    );
    const own = names.flatMap(({ name, version, architecture }) => {
      const abi = /^linux-headers-([\d.]+-\d+)-/.exec(name)?.[1];
      const common = commons.get(`${abi} ${version}`);
      const its = { amd64: "x86_64", arm64: "aarch64" }[architecture];
      return common === undefined || its === undefined
        ? []
        : [makeListedPackage({ name, version, architecture: its as "x86_64", depends: common })];
    });
    const packages = [...commons].map(([key, name]) =>
      makeListedPackage({ name, version: key.split(" ")[1] as string, architecture: "all" }),
    );

    const kernels = requireRelease("ubuntu22.04").distribution.kernelsOf([...own, ...packages]);

    expect(own.length).toBeGreaterThan(3000);
    expect(kernels.map(({ kversion }) => `linux-headers-${kversion}`)).toEqual(own.map(({ name }) => name));
    expect(kernels.flatMap(({ missing }) => missing)).toEqual([]);
    const flavours = new Set(kernels.map(({ flavour }) => flavour));
    expect([...flavours]).toEqual(
      expect.arrayContaining(["generic", "lowlatency", "aws", "azure", "gcp", "oracle"]),
    );
  });
});
