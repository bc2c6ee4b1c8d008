/**
 * Debian: releases, suites, and how its kernel packages are named.
 */
import { compareDebVersions } from "../deb-version.ts";
import { DEB_GUEST, type DebNaming, debKernels, readDebPackage } from "./deb-family.ts";
import type { DebDistribution, DebRelease } from "./distribution.ts";

const NAMING: DebNaming = {
  kversion: /^\d/,
  // Metapackages (`linux-headers-amd64`) depend on other header packages only.
  common: /^linux-headers-.+-common(-.+)?$/,
  tools: /^linux-kbuild-/,
  boot: (kversion) => [
    // From 7.x on the boot image, the modules, and the list of what is built in are packages of their own; before, one
    // holds all.
    ...[`linux-binary-${kversion}`, `linux-binary-unsigned-${kversion}`].map((image) => ({
      image,
      modules: [`linux-modules-${kversion}`, `linux-base-${kversion}`],
    })),
    ...[`linux-image-${kversion}`, `linux-image-${kversion}-unsigned`].map((image) => ({
      image,
      modules: [image],
    })),
  ],
  flavourOf,
};

export const debian: DebDistribution = {
  id: "debian",
  format: "deb",
  releases: [
    release("11", "bullseye"),
    release("12", "bookworm"),
    release("13", "trixie"),
    release("14", "forky"),
    { key: "debiansid", version: "sid", codename: "sid", suites: [{ name: "sid", archive: "main" }] },
  ],
  mirrors: { main: "http://ftp.debian.org/debian", security: "http://security.debian.org/debian-security" },
  usesHostMirrors: true,
  suiteField: "Codename",
  suiteAliases: { experimental: "rc-buggy" },
  changelogSuites: { unstable: "sid" },
  keyring: { path: "/usr/share/keyrings/debian-archive-keyring.gpg", package: "debian-archive-keyring" },
  toolchain: { components: ["main"], isUpdated: false },
  packagePrefixes: [
    "linux-headers-",
    "linux-kbuild-",
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
    ...DEB_GUEST.map((name) => `${name}\n`),
  ],
  base: { isInVersion: true, proves: "both" },
  guestPackages: DEB_GUEST,
  compareVersions: compareDebVersions,
  readPackage: readDebPackage,
  kernelsOf: (packages) => debKernels(NAMING, packages),
};

function release(version: string, codename: string): DebRelease {
  return {
    key: `debian${version}`,
    version,
    codename,
    suites: [
      { name: codename, archive: "main" },
      { name: `${codename}-updates`, archive: "main" },
      { name: `${codename}-security`, archive: "security" },
      { name: `${codename}-backports`, archive: "main" },
    ],
  };
}

/** `6.1.0-56-cloud-amd64` is cloud, `…-arm64-16k` is 16k, `…-amd64` is generic; other words are Debian's own. */
function flavourOf(kversion: string): string {
  const match = /-(?:([a-z]+(?:-[a-z]+)*)-)?(?:amd64|arm64)(?:-(.+))?$/.exec(kversion);
  return [match?.[1], match?.[2]].filter((word) => word !== undefined).join("-") || "generic";
}
