/**
 * How kmodfarm comes to a runner.
 */
import { lines, type Step } from "./workflow.ts";

/** As scripts/setup.sh, for runners whose image has less than a machine of one's own. */
export const PACKAGES = [
  ...["bubblewrap", "busybox-static", "bzip2", "debian-archive-keyring", "dnf", "git", "gpg", "gpgv", "lz4"],
  ...[
    "mmdebstrap",
    "mount",
    "npm",
    "openssl",
    "qemu-system-arm",
    "qemu-system-x86",
    "rpm",
    "rpm2cpio",
    "ubuntu-keyring",
  ],
  ...["util-linux", "xz-utils", "zstd"],
];

/** @param package_ what npm installs */
export function installSteps(package_: string): Step[] {
  return [
    {
      name: "Install what kmodfarm needs",
      shell: "bash",
      run: lines(
        "sudo apt-get update",
        "sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\",
        `  ${PACKAGES.join(" ")}`,
      ),
    },
    {
      name: "Install kmodfarm",
      shell: "bash",
      env: { PACKAGE: package_ },
      run: 'sudo npm install --global --no-audit --no-fund "$PACKAGE"',
    },
  ];
}
