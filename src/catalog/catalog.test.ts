import { describe, expect, test } from "vitest";
import { makeCatalog, makeKernel, makeSource } from "../../test/support/kernels.ts";
import { compareKernels, findKernel, sameFacts } from "./catalog.ts";

describe("findKernel", () => {
  const KERNELS = [
    makeKernel({ kversion: "6.1.0-56-amd64", packageVersion: "6.1.170-3" }),
    makeKernel({ kversion: "6.1.0-56-amd64", packageVersion: "6.1.172-1" }),
    makeKernel({ kversion: "6.12.30-amd64", distribution: "debiansid" }),
    makeKernel({ kversion: "6.12.30-amd64", distribution: "debian14" }),
    makeKernel({ kversion: "6.1.0-56-arm64", architecture: "aarch64" }),
    makeKernel({
      kversion: "5.14.0-427.el9_4.x86_64",
      packageVersion: "5.14.0-427.el9_4",
      distribution: "almalinux9.4",
    }),
  ];
  const catalog = makeCatalog(KERNELS);

  test.each([
    ["debian12/x86_64/6.1.0-56-amd64_6.1.170-3", 0],
    ["6.1.0-56-amd64_6.1.172-1", 1],
    ["debiansid/6.12.30-amd64", 2],
    ["debian14/x86_64/6.12.30-amd64", 3],
    ["aarch64/6.1.0-56-arm64", 4],
    ["6.1.0-56-arm64", 4],
    ["5.14.0-427.el9_4.x86_64", 5],
    ["almalinux9.4/x86_64/5.14.0-427.el9_4.x86_64_5.14.0-427.el9_4", 5],
  ])("knows %s", (query, index) => {
    expect(findKernel(catalog, query)).toBe(KERNELS[index]);
  });

  test.each([
    ["6.1.0-56-amd64", "debian12/x86_64/6.1.0-56-amd64_6.1.172-1"],
    ["x86_64/6.12.30-amd64", "debiansid/x86_64/6.12.30-amd64_6.1.170-3"],
  ])("names the candidates of %s", (query, candidate) => {
    expect(() => findKernel(catalog, query)).toThrow(
      expect.objectContaining({
        code: "KERNEL_AMBIGUOUS",
        message: expect.stringContaining(candidate),
      }),
    );
  });

  test.each([
    ["debian12/x86_64/6.1.0-65-amd64", " (did you mean '6.1.0-56-amd64'?)"],
    ["6.12.31-amd64", " (did you mean '6.12.30-amd64'?)"],
    ["nothing/like/it", ""],
  ])("says which kernel %s may be", (query, said) => {
    expect(() => findKernel(catalog, query)).toThrow(
      expect.objectContaining({ message: `the catalog has no kernel '${query}'${said}` }),
    );
  });

  test("says where a kernel is that is not where it was looked for", () => {
    expect(() => findKernel(catalog, "ubuntu24.04/6.12.30-amd64")).toThrow(
      /no kernel 'ubuntu24\.04\/6\.12\.30-amd64'; debian\w+\/x86_64\/6\.12\.30-amd64\S* has that name/,
    );
  });

  test.each([
    "",
    "6.1.0",
    "debian13/6.1.0-56-arm64",
    "6.1.0-56-arm64_1",
    "5.14.0-427.el9",
    "debian12/aarch64/",
  ])("does not know %j", (query) => {
    expect(() => findKernel(catalog, query)).toThrow(expect.objectContaining({ code: "KERNEL_UNKNOWN" }));
  });
});

describe("compareKernels", () => {
  test("puts the oldest first by Debian's order, within release, architecture and flavour", () => {
    const kernels = [
      makeKernel({ kversion: "6.1.0-9-amd64", packageVersion: "6.1.9-1" }),
      makeKernel({ kversion: "6.1.0-10-amd64", packageVersion: "6.1.9-2~bpo1" }),
      makeKernel({ kversion: "6.1.0-10-amd64", packageVersion: "6.1.9-2" }),
      makeKernel({ kversion: "6.1.0-10-amd64", packageVersion: "6.1.10-1" }),
      makeKernel({ kversion: "6.1.0-1-rt-amd64", packageVersion: "6.1.1-1", flavour: "rt" }),
      makeKernel({ kversion: "6.1.0-1-amd64", packageVersion: "6.1.1-1", distribution: "debian13" }),
    ];

    expect(kernels.toReversed().toSorted(compareKernels)).toEqual(kernels);
  });

  test("puts the oldest first by rpm's order where the distribution has that one", () => {
    // For Debian ^ is a sign like others, and comes after the point.
    const versions = ["5.14.0-70.el9", "5.14.0-427.13.1.el9_4", "5.14.0^git1-1.el9", "5.14.0.1-1.el9"];
    const kernels = versions.map((packageVersion) =>
      makeKernel({ kversion: `${packageVersion}.x86_64`, packageVersion, distribution: "almalinux9.4" }),
    );

    const sorted = kernels.toReversed().toSorted(compareKernels);

    expect(sorted.map(({ packageVersion }) => packageVersion)).toEqual(versions);
    const asDebian = kernels
      .map((kernel) => ({ ...kernel, distribution: "debian12" }))
      .toSorted(compareKernels);
    expect(asDebian.map(({ packageVersion }) => packageVersion)).not.toEqual(versions);
  });
});

describe("sameFacts", () => {
  test("does not care when we looked, but about everything that we saw", () => {
    const catalog = makeCatalog([makeKernel()]);

    const later = makeCatalog([makeKernel()], [makeSource({ checkedAt: "2027-01-01T00:00:00.000Z" })]);
    const worse = makeCatalog([makeKernel()], [makeSource({ status: "failed" })]);

    expect(sameFacts(catalog, later)).toBe(true);
    expect(sameFacts(catalog, worse)).toBe(false);
    expect(sameFacts(catalog, makeCatalog([makeKernel({ withdrawnSince: "x" })]))).toBe(false);
  });
});
