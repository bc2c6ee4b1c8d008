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
  ["driver/7.0.0/x86_64/falco_debian_6.1.0-9-amd64_1.ko", "falco", "6.1.0-9-amd64", "x86_64"],
  ["falco_ubuntu-generic_5.15.0-76-generic_83.ko", "falco", "5.15.0-76-generic", undefined],
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
