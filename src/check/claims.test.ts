import { expect, test } from "vitest";
import { claimOf } from "./claims.ts";

test.each([
  ["lib/modules/6.1.0-56-amd64/kernel/drivers/block/loop.ko", "modules", "6.1.0-56-amd64", undefined],
  [
    "usr/lib/modules/6.12.5-200.fc41.x86_64/kernel/fs/ext4.ko.xz",
    "modules",
    "6.12.5-200.fc41.x86_64",
    undefined,
  ],
  ["6.1.0-56-amd64/kernel/arch/x86/kernel/msr.ko", "modules", "6.1.0-56-amd64", undefined],
  ["6.1.0-56-amd64/updates/dkms/scap.ko.zst", "modules", "6.1.0-56-amd64", undefined],
  [
    "view/doorbell/0.1.0/debian12/x86_64/6.1.0-56-amd64_6.1.192-2/doorbell.ko",
    "view",
    "6.1.0-56-amd64",
    "x86_64",
  ],
  ["0.1.0/debian12/aarch64/6.1.0-56-arm64/doorbell.ko", "view", "6.1.0-56-arm64", "aarch64"],
  [
    "1.0.0/almalinux9.4/x86_64/5.14.0-427.13.1.el9_4.x86_64/drv.ko",
    "view",
    "5.14.0-427.13.1.el9_4.x86_64",
    "x86_64",
  ],
  ["v4l2loopback/0.15.0/6.1.0-56-amd64/x86_64/module/v4l2loopback.ko", "dkms", "6.1.0-56-amd64", "x86_64"],
  ["driver/7.0.0/x86_64/falco_debian_6.1.0-9-amd64_1.ko", "bucket", "6.1.0-9-amd64", "x86_64"],
  ["falco_ubuntu-generic_5.15.0-76-generic_83.ko", "bucket", "5.15.0-76-generic", undefined],
  [
    "0.1.0/almalinux9.4/x86_64/5.14.0-427.13.1.el9_4.x86_64_5.14.0-427.13.1.el9_4/drv.ko",
    "view",
    "5.14.0-427.13.1.el9_4.x86_64",
    "x86_64",
  ],
  ["dkms/loop/original_module/6.1.0-56-amd64/x86_64/loop.ko", "dkms", "6.1.0-56-amd64", "x86_64"],
  ["3.15.0/collector-5.4.0-1043-azure~18.04.ko.gz", "bucket", "5.4.0-1043-azure", undefined],
  [
    "sysdig-probe-0.26.7-x86_64-4.15.0-72-generic-9e1a4f14cbb3b4ba2b9f3a52e2b8d2c4.ko",
    "bucket",
    "4.15.0-72-generic",
    "x86_64",
  ],
  [
    "falco-probe-0.17.1-x86_64-3.10.0-1062.el7.x86_64-9e1a4f14cbb3b4ba2b9f3a52e2b8d2c4.ko",
    "bucket",
    "3.10.0-1062.el7.x86_64",
    "x86_64",
  ],
])("the place %s claims the layout %s, and %s", (path, layout, release, architecture) => {
  expect(claimOf(path)).toMatchObject({ layout, release });
  expect(claimOf(path)?.architecture).toBe(architecture);
});

test.each(["loop.ko", "drivers/loop.ko", "a/b/c/d/loop.ko", "lib/modules/loop.ko", "x86_64/readme.ko"])(
  "the place %s claims nothing",
  (path) => {
    expect(claimOf(path)).toBeUndefined();
  },
);

test.each([
  ["almalinux_4.18.0-305.el8_4.x86_64_1", "almalinux", "4.18.0-305.el8_4.x86_64"],
  ["amazonlinux_4.9.17-8.31.amzn1.x86_64_1", "amazonlinux", "4.9.17-8.31.amzn1.x86_64"],
  ["amazonlinux2_4.14.193-149.317.amzn2.x86_64_1", "amazonlinux2", "4.14.193-149.317.amzn2.x86_64"],
  ["amazonlinux2022_5.10.96-90.460.amzn2022.x86_64_1", "amazonlinux2022", "5.10.96-90.460.amzn2022.x86_64"],
  ["amazonlinux2023_6.1.19-30.43.amzn2023.x86_64_1", "amazonlinux2023", "6.1.19-30.43.amzn2023.x86_64"],
  ["arch_6.4.1.arch1-1_1", "arch", "6.4.1.arch1-1"],
  ["bottlerocket_5.10.165_1_1.13.1-aws-k8s-1.23", "bottlerocket", "5.10.165"],
  ["centos_4.18.0-80.1.2.el8_0.x86_64_1", "centos", "4.18.0-80.1.2.el8_0.x86_64"],
  ["debian_5.18.16-1~bpo11+1-amd64_1", "debian", "5.18.16-1~bpo11+1-amd64"],
  ["fedora_5.11.12-300.fc34.x86_64_1", "fedora", "5.11.12-300.fc34.x86_64"],
  ["flatcar_3510.2.0_1", "flatcar", "3510.2.0"],
  ["minikube_5.10.57_1_1.26.0", "minikube", "5.10.57"],
  ["ol_5.4.17-2011.0.7.el7uek.x86_64_1", "ol", "5.4.17-2011.0.7.el7uek.x86_64"],
  ["oracle7_5.4.17-2011.0.7.el7uek.x86_64_1", "oracle7", "5.4.17-2011.0.7.el7uek.x86_64"],
  ["opensuse_5.14.21-150500.30.2.x86_64_1", "opensuse", "5.14.21-150500.30.2.x86_64"],
  ["photon_4.19.247-11.ph3.x86_64_1", "photon", "4.19.247-11.ph3.x86_64"],
  ["redhat_4.18.0-305.el8.x86_64_1", "redhat", "4.18.0-305.el8.x86_64"],
  ["rocky_5.14.0-162.6.1.el9_1.x86_64_1", "rocky", "5.14.0-162.6.1.el9_1.x86_64"],
  ["talos_5.15.64-talos_1_v1.2.0", "talos", "5.15.64-talos"],
  ["ubuntu-aws_5.15.0-102-aws_112~20.04.1", "ubuntu-aws", "5.15.0-102-aws"],
  ["ubuntu-hwe-5.4_5.4.0-128-hwe-5.4_144~18.04.1", "ubuntu-hwe-5.4", "5.4.0-128-hwe-5.4"],
  ["ubuntu-generic_5.8.0-050800-generic_202008022230", "ubuntu-generic", "5.8.0-050800-generic"],
])("a driver of Falco's bucket called falco_%s is for %s %s", (name, target, release) => {
  for (const path of [
    `falco_${name}.ko`,
    `x86_64/falco_${name}.ko.gz`,
    `4.0.0+driver/x86_64/my_own_${name}.ko`,
  ])
    expect(claimOf(path)).toMatchObject({ layout: "bucket", target, release });
});
