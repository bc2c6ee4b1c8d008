import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { kernelOfHeaders, parseHeaderUrl } from "./header-file.ts";

const POOL = "http://mirror.example/pool/main/l";

describe("parseHeaderUrl", () => {
  test.each([
    [
      `${POOL}/linux-aws/linux-headers-5.4.0-1021-aws_5.4.0-1021.21_amd64.deb`,
      "linux-headers-5.4.0-1021-aws",
      "5.4.0-1021.21",
      "x86_64",
      "linux-aws",
    ],
    [
      `${POOL}/linux/linux-headers-5.10.0-17-common_5.10.136-1%7edeb10u3_all.deb`,
      "linux-headers-5.10.0-17-common",
      "5.10.136-1~deb10u3",
      "all",
      "linux",
    ],
    [
      "https://m.example/p/kernel-devel-6.1.12-17.42.amzn2023.aarch64.rpm",
      "kernel-devel",
      "6.1.12-17.42.amzn2023",
      "aarch64",
      undefined,
    ],
    [
      "https://m.example/p/kernel6.12-devel-6.12.1-2.amzn2023.x86_64.rpm",
      "kernel6.12-devel",
      "6.12.1-2.amzn2023",
      "x86_64",
      undefined,
    ],
    [
      "https://m.example/p/kernel-6.1.12-17.42.amzn2023.x86_64.rpm",
      "kernel",
      "6.1.12-17.42.amzn2023",
      "x86_64",
      undefined,
    ],
    [
      "https://m.example/p/kernel-devel-5.14.21-150400.22.1.noarch.rpm",
      "kernel-devel",
      "5.14.21-150400.22.1",
      "all",
      undefined,
    ],
    [
      "https://m.example/l/linux-lts-headers-6.1.38-1-x86_64.pkg.tar.zst",
      "linux-lts-headers",
      "6.1.38-1",
      "x86_64",
      undefined,
    ],
    [
      "https://stable.example/amd64-usr/2605.2.0/flatcar_developer_container.bin.bz2",
      "flatcar_developer_container",
      "2605.2.0",
      "x86_64",
      undefined,
    ],
  ])("reads %s", (url, name, version, architecture, sourcePackage) => {
    const file = parseHeaderUrl(url);

    expect(file).toMatchObject({ name, version, architecture });
    expect(file?.sourcePackage).toBe(sourcePackage);
  });

  test("resolves `..`, and writes every + as stores need it", () => {
    const url =
      "https://m.example/a/guids/12/x86_64/../../../blobstore/9/kernel-devel-1.0+x-1.fc40.x86_64.rpm";

    expect(parseHeaderUrl(url)?.url).toBe(
      "https://m.example/a/blobstore/9/kernel-devel-1.0%2Bx-1.fc40.x86_64.rpm",
    );
    expect(parseHeaderUrl(parseHeaderUrl(url)?.url ?? "")).toEqual(parseHeaderUrl(url));
  });

  test.each([
    ["another protocol", "file:///etc/kernel-devel-1-1.fc40.x86_64.rpm"],
    ["a password", "http://u:p@m.example/kernel-devel-1-1.fc40.x86_64.rpm"],
    ["a NUL", "http://m.example/kernel-devel-1-1.fc40\0.x86_64.rpm"],
    ["a NUL in disguise", "http://m.example/kernel-devel-1-1.fc40%00.x86_64.rpm"],
    ["a slash in disguise", "http://m.example/kernel-devel-1-1%2f..%2fx.x86_64.rpm"],
    ["half an escape", "http://m.example/kernel-devel-1-1.fc40%2.x86_64.rpm"],
    ["a backslash", "http:\\\\m.example\\kernel-devel-1-1.fc40.x86_64.rpm"],
    ["a space", "http://m.example/kernel-devel-1-1 .x86_64.rpm"],
    ["another package", "http://m.example/Linux-PAM-devel-1.4.0-3.ph4.x86_64.rpm"],
    ["another part of a kernel", "http://m.example/kernel-modules-1-1.fc40.x86_64.rpm"],
    ["another machine", "http://m.example/kernel-devel-1-1.fc40.ppc64le.rpm"],
    ["no file", "http://m.example/"],
    ["a megabyte", `http://m.example/${"a".repeat(1 << 20)}`],
  ])("refuses %s", (_, url) => {
    expect(parseHeaderUrl(url)).toBeUndefined();
  });

  test("gives names that are safe, or nothing, and never throws", () => {
    const name = fc.stringMatching(
      /^(kernel-devel|linux-headers)-[\w.%+~/\\-]{0,40}(\.x86_64\.rpm|_amd64\.deb)$/,
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.webUrl(),
          name.map((file) => `http://m.example/p/${file}`),
          fc.string(),
        ),
        (url) => {
          const file = parseHeaderUrl(url);
          if (file === undefined) return;

          expect(`${file.name}${file.version}`).toMatch(/^[\w.+~-]+$/);
          expect(new URL(file.url).pathname).not.toContain("/../");
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("kernelOfHeaders", () => {
  const kernelOf = (file: string, distribution: string) => {
    const parsed = parseHeaderUrl(`${POOL}/linux/${file}`);
    expect(parsed).toBeDefined();
    return parsed && kernelOfHeaders(parsed, distribution);
  };

  test.each([
    ["linux-headers-5.10.0-17-amd64_5.10.136-1_amd64.deb", "debian", "5.10.0-17-amd64", "generic"],
    ["linux-headers-5.10.0-17-cloud-amd64_5.10.136-1_amd64.deb", "debian", "5.10.0-17-cloud-amd64", "cloud"],
    ["linux-headers-6.12.3+deb13-arm64-16k_6.12.3-1_arm64.deb", "debian", "6.12.3+deb13-arm64-16k", "16k"],
    ["linux-headers-5.4.0-1021-aws_5.4.0-1021.21_amd64.deb", "ubuntu", "5.4.0-1021-aws", "aws"],
    [
      "linux-headers-5.11.0-61-generic-64k_5.11.0-61.61_arm64.deb",
      "ubuntu",
      "5.11.0-61-generic-64k",
      "generic-64k",
    ],
    ["kernel-devel-5.14.0-427.13.1.el9_4.x86_64.rpm", "almalinux", "5.14.0-427.13.1.el9_4.x86_64", "generic"],
    ["kernel-rt-devel-4.18.0-147.rt24.93.el8.x86_64.rpm", "centos", "4.18.0-147.rt24.93.el8.x86_64", "rt"],
    ["kernel-rt-devel-5.14.0-362.13.1.el9_3.x86_64.rpm", "rhel", "5.14.0-362.13.1.el9_3.x86_64+rt", "rt"],
    [
      "kernel-64k-devel-5.14.0-427.13.1.el9_4.aarch64.rpm",
      "rocky",
      "5.14.0-427.13.1.el9_4.aarch64+64k",
      "64k",
    ],
    ["kernel-debug-devel-3.10.0-1160.el7.x86_64.rpm", "centos", "3.10.0-1160.el7.x86_64.debug", "debug"],
    ["kernel-uek-devel-5.4.17-2011.6.2.el8uek.x86_64.rpm", "ol", "5.4.17-2011.6.2.el8uek.x86_64", "uek"],
    ["kernel-lt-devel-5.4.100-1.el8.elrepo.x86_64.rpm", "centos", "5.4.100-1.el8.elrepo.x86_64", "lt"],
    ["kernel6.12-devel-6.12.1-2.amzn2023.x86_64.rpm", "amazonlinux", "6.12.1-2.amzn2023.x86_64", "generic"],
    ["linux-devel-4.19.190-2.ph3.x86_64.rpm", "photon", "4.19.190-2.ph3", "generic"],
    ["linux-aws-devel-5.10.83-7.ph4.x86_64.rpm", "photon", "5.10.83-7.ph4-aws", "aws"],
    [
      "kernel-default-devel-5.14.21-150400.24.11.1.x86_64.rpm",
      "opensuse",
      "5.14.21-150400.24.11-default",
      "default",
    ],
    ["linux-headers-6.4.1.arch1-1-x86_64.pkg.tar.zst", "arch", "6.4.1-arch1-1", "generic"],
    ["linux-lts-headers-6.1.38-1-x86_64.pkg.tar.zst", "arch", "6.1.38-1-lts", "lts"],
    ["linux-zen-headers-6.4.1.zen1-1-x86_64.pkg.tar.zst", "arch", "6.4.1-zen1-1-zen", "zen"],
  ])("%s of %s is for %s (%s)", (file, distribution, kversion, flavour) => {
    expect(kernelOf(file, distribution)).toEqual({ kversion, flavour });
  });

  test.each([
    ["linux-headers-5.10.0-17-common_5.10.136-1_all.deb", "debian"],
    ["linux-headers-3.16.0-6-common_3.16.56-1+deb8u1_amd64.deb", "debian"],
    ["linux-headers-5.10.0-17-all-amd64_5.10.136-1_amd64.deb", "debian"],
    ["linux-kbuild-5.10_5.10.136-1_amd64.deb", "debian"],
    ["linux-headers-5.4.0-42_5.4.0-42.46_all.deb", "ubuntu"],
    ["linux-gcp-headers-4.15.0-1008_4.15.0-1008.8_amd64.deb", "ubuntu"],
    ["kernel-devel-5.14.21-150400.22.1.noarch.rpm", "opensuse"],
  ])("%s of %s is of no single kernel", (file, distribution) => {
    expect(kernelOf(file, distribution)).toBeUndefined();
  });
});
