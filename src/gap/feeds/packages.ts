/** Which packages of a distribution are its kernel, and what feeds call its releases. */

/** Source packages of Debian and Ubuntu, kernel packages of rpm distributions, and packages that patch a running kernel. */
const KERNEL =
  /^(?:linux(?:-(?!base$|firmware|atm|libc|tools|doc|headers|image|modules|source|perf|support|kbuild|compiler|meta|signed)[a-z0-9.+-]+)?|kernel(?:-(?:rt|64k|uek|lts|ml|default|azure|rt_debug|kvmsmall|core|livepatch-.+))?|kpatch-patch-.+)$/;

export function isKernelPackage(name: string): boolean {
  return KERNEL.test(name);
}

/** They patch a running kernel and say nothing of others. */
export function isLivePatchPackage(name: string): boolean {
  return /^(?:kernel-livepatch-|kpatch-patch-)/.test(name);
}

const OSV_NAMES: ReadonlyMap<string, string> = new Map([
  ["Debian", "debian"],
  ["Ubuntu", "ubuntu"],
  ["AlmaLinux", "almalinux"],
  ["Rocky Linux", "rocky"],
  ["openSUSE", "opensuse"],
  ["SUSE", "suse"],
  ["Red Hat", "rhel"],
]);

/** `AlmaLinux:8`, `Ubuntu:22.04:LTS`, `Ubuntu:Pro:18.04:LTS` → as catalogs call the release; others as they are. */
export function releaseOfEcosystem(ecosystem: string): string {
  const [name = "", ...rest] = ecosystem.split(":");
  const known = OSV_NAMES.get(name);
  const version = rest.find((part) => /^\d/.test(part));
  return known === undefined || version === undefined ? ecosystem : `${known}${version}`;
}
