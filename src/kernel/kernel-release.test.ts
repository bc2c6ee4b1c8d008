import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedFile } from "../../test/support/shared.ts";
import { parseKernelRelease } from "./kernel-release.ts";

describe("parseKernelRelease", () => {
  test.each([
    ["6.1.0-47-amd64", "6.1.0", "47", "x86_64", "generic"],
    ["5.18.0-0.deb11.4-rt-amd64", "5.18.0", "0.deb11.4", "x86_64", "rt"],
    ["6.12.115+deb13.1-cloud-arm64", "6.12.115", "deb13.1", "aarch64", "cloud"],
    ["6.12.3+deb13-arm64-16k", "6.12.3", "deb13", "aarch64", "16k"],
    ["7.2-rc3-amd64", "7.2-rc3", "", "x86_64", "generic"],
    ["5.4.0-1021-aws", "5.4.0", "1021", undefined, "aws"],
    ["5.13.0-1008-intel-iotg", "5.13.0", "1008", undefined, "intel-iotg"],
    ["6.1.12-17.42.amzn2023.x86_64", "6.1.12", "17.42.amzn2023", "x86_64", "generic"],
    ["5.14.0-362.13.1.el9_3.x86_64+rt", "5.14.0", "362.13.1.el9_3", "x86_64", "rt"],
    ["4.18.0-147.rt24.93.el8.x86_64", "4.18.0", "147.rt24.93.el8", "x86_64", "rt"],
    ["5.4.17-2011.6.2.el8uek.x86_64", "5.4.17", "2011.6.2.el8uek", "x86_64", "uek"],
    ["5.14.0-1.el9.aarch64+64k", "5.14.0", "1.el9", "aarch64", "64k"],
    ["3.10.0-1160.el7.x86_64.debug", "3.10.0", "1160.el7", "x86_64", "debug"],
    ["4.14.102-11836.0.0-cos", "4.14.102", "11836.0.0", undefined, "cos"],
    ["5.14.21-150400.24.11-default", "5.14.21", "150400.24.11", undefined, "default"],
    ["6.4.1-arch1-1", "6.4.1", "arch1-1", undefined, "generic"],
    ["6.4.1-zen1-1-zen", "6.4.1", "zen1-1", undefined, "zen"],
    ["5.10.83-7.ph4-esx", "5.10.83", "7.ph4", undefined, "esx"],
    ["4.19.106-flatcar", "4.19.106", "", undefined, "flatcar"],
    ["6.8.0", "6.8.0", "", undefined, "generic"],
  ])("takes %s apart", (release, upstream, build, architecture, flavour) => {
    const parsed = parseKernelRelease(release);

    expect(parsed).toMatchObject({ upstream, build, flavour });
    expect(parsed?.architecture).toBe(architecture);
    expect(upstream.startsWith(parsed?.series ?? "-")).toBe(true);
  });

  test("knows the release of Ubuntu that some lists write behind", () => {
    expect(parseKernelRelease("5.15.0-1011-gke~20.04")).toMatchObject({ flavour: "gke", suite: "20.04" });
  });

  test("is undefined for what is no kernel release, and never throws", () => {
    expect(["", "linux", "6", "v6.1", "1.2.3.4.5.6.7"].map(parseKernelRelease)).toEqual(
      Array(5).fill(undefined),
    );
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^\d\.\d{1,2}[-.+~\w]{0,130}$/)), (text) => {
        const parsed = parseKernelRelease(text);

        if (parsed !== undefined) expect(text.startsWith(parsed.upstream)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("reads every one of 8,128 real releases", (context) => {
    const file = sharedFile("data/kernel-releases/KERNEL_VERSIONS");
    if (!existsSync(file)) return context.skip("the real releases are not beside this checkout");
    const releases = readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "");

    const bad = releases.filter((release) => {
      const parsed = parseKernelRelease(release);
      return parsed === undefined || !/^\d+\.\d+\.\d+$/.test(parsed.upstream) || parsed.flavour === "";
    });

    expect(releases).toHaveLength(8128);
    expect(bad).toEqual([]);
  });
});
