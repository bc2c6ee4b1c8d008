/**
 * Ubuntu: releases, suites, and how its many kernels are named. Every flavour of every series has its own source
 * package; nothing in the archive says which compiler built it.
 */
import { ARCHITECTURES, type ArchitectureName } from "../architecture.ts";
import { compareDebVersions } from "../deb-version.ts";
import { DEB_GUEST, type DebNaming, debKernels, readDebPackage } from "./deb-family.ts";
import type { DebDistribution, DebRelease, Suite } from "./distribution.ts";

const NAMING: DebNaming = {
  // 5.15.0-1021-aws; metapackages are linux-headers-generic, linux-headers-generic-hwe-22.04.
  kversion: /^\d+\.\d+\.\d+-\d+-[a-z]/,
  // linux-headers-5.15.0-100, linux-aws-headers-5.15.0-1021, linux-hwe-5.15-headers-5.15.0-58
  common: /^linux-(?:[a-z0-9.-]+-)?headers-\d+\.\d+\.\d+-\d+$/,
  boot: (kversion) =>
    [`linux-image-${kversion}`, `linux-image-unsigned-${kversion}`].map((image) => ({
      image,
      modules: [`linux-modules-${kversion}`, `linux-modules-extra-${kversion}`],
    })),
  // A second signing of the same build appends +1.
  imageFits: (version, headers) => version === headers || version.startsWith(`${headers}+`),
  flavourOf: (kversion) => kversion.replace(/^\d+\.\d+\.\d+-\d+-/, ""),
};

const WANTED =
  /^(?:linux-headers-\d.*|linux-.+-headers-\d.*|linux-image-(?:unsigned-)?\d.*|linux-modules-(?:extra-)?\d.*)$/;

function isWanted(name: string): boolean {
  return WANTED.test(name) || DEB_GUEST.includes(name);
}

export const ubuntu: DebDistribution = {
  id: "ubuntu",
  format: "deb",
  releases: [
    release("18.04", "bionic"),
    release("20.04", "focal"),
    release("22.04", "jammy"),
    release("24.04", "noble"),
    release("26.04", "resolute"),
  ],
  mirrors: {
    main: "http://archive.ubuntu.com/ubuntu",
    security: "http://security.ubuntu.com/ubuntu",
    ports: "http://ports.ubuntu.com/ubuntu-ports",
  },
  usesHostMirrors: false,
  suiteField: "Suite",
  keyring: { path: "/usr/share/keyrings/ubuntu-archive-keyring.gpg", package: "ubuntu-keyring" },
  toolchain: { components: ["main", "universe"], isUpdated: true },
  packagePrefixes: ["linux-", ...DEB_GUEST.map((name) => `${name}\n`)],
  // Its kernels count on from the release that they began with; headers say which one they are by now.
  base: { isInVersion: false, proves: "fixed" },
  guestPackages: DEB_GUEST,
  compareVersions: compareDebVersions,
  readPackage: (paragraph, source) =>
    isWanted(paragraph.get("Package") ?? "") ? readDebPackage(paragraph, source) : undefined,
  kernelsOf: (packages) => debKernels(NAMING, packages),
};

function release(version: string, codename: string): DebRelease {
  const x86: ArchitectureName[] = ["x86_64"];
  const others = ARCHITECTURES.map(({ name }) => name).filter((name) => !x86.includes(name));
  const suites = [codename, `${codename}-updates`, `${codename}-security`].flatMap((name): Suite[] => [
    { name, archive: name.endsWith("-security") ? "security" : "main", architectures: x86 },
    { name, archive: "ports", architectures: others },
  ]);
  return { key: `ubuntu${version}`, version, codename, suites };
}
