/**
 * What lists of kernels, and buckets of drivers made from them, call a kernel, against what its nodes call it. A list
 * of Debian has package versions, SUSE's nodes leave a number out, Ubuntu's lists have words of their own for flavours.
 */
import { distributionOfTarget } from "./release-rules.ts";

/** `possible`: the name fits and does not say it all, so that it proves nothing. */
export type Fit = "same" | "possible" | "other";

/** Whether the kernel that a list calls `name` may be the one whose `uname -r` is `release`. */
export function fitOfListedName(target: string, name: string, release: string): Fit {
  if (letters(withoutSuite(name)) === letters(release)) return "same";
  const rule = RULES.get(distributionOfTarget(target));
  if (rule === undefined) return "possible";
  return rule(withoutSuite(name), release);
}

/** Distributions whose releases are a package version with the architecture behind it. */
const NAMED_BY_MACHINE = ["almalinux", "alinux", "amazonlinux", "centos", "fedora", "ol", "rhel", "rocky"];

export function isNamedByMachine(distribution: string): boolean {
  return NAMED_BY_MACHINE.includes(distribution);
}

/** A rule has what is not the same already. */
type Rule = (name: string, release: string) => Fit;

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ["debian", debianFit],
  ["ubuntu", ubuntuFit],
  ["arch", (name, release) => startsLike(archRelease(name), release)],
  ["photon", (name, release) => startsLike(withoutMachine(name), release)],
  ["opensuse", suseFit],
  ["opensuse-leap", suseFit],
  ["opensuse-tumbleweed", suseFit],
  ["sles", suseFit],
  // A flavour that has no entry of its own: 5.14.0-70.el9.aarch64 also stands for …aarch64+64k.
  ...NAMED_BY_MACHINE.map((id): [string, Rule] => [
    id,
    (name, release) => (release.startsWith(`${name}+`) ? "possible" : "other"),
  ]),
  ...["bottlerocket", "minikube"].map((id): [string, Rule] => [id, () => "other"]),
]);

/** Some tools write `+` and `~` as they are, others do not. */
function letters(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9]/g, "");
}

/** `5.4.0-1043-azure~18.04`: some put Ubuntu's version behind the release. */
function withoutSuite(name: string): string {
  return name.replace(/~\d\d\.\d\d$/, "");
}

function withoutMachine(name: string): string {
  return name.replace(/\.(x86_64|aarch64)$/, "");
}

function startsLike(expected: string, release: string): Fit {
  if (release === expected) return "same";
  return release.startsWith(`${expected}-`) ? "possible" : "other";
}

/** `6.1.192-2-amd64` is the package version of a kernel that calls itself 6.1.0-56-amd64; since 13, 6.12.107+deb13-amd64. */
function debianFit(name: string, release: string): Fit {
  const [listed, own] = [name, release].map((one) => DEBIAN.exec(one));
  const isOther = (part: number) => listed?.[part] !== own?.[part];
  if (listed == null || own == null || isOther(SERIES) || isOther(FLAVOUR)) return "other";
  return isOther(PATCH) && own[PATCH] !== "0" ? "other" : "possible";
}

const DEBIAN = /^(\d+\.\d+)(?:\.(\d+))?[^a-z].*?-((?:[a-z][a-z0-9-]*-)?(?:amd64|arm64).*)$/;
const [SERIES, PATCH, FLAVOUR] = [1, 2, 3] as const;

/** `5.4.0-128-hwe-5.4` is 5.4.0-128-generic or -lowlatency, `5.4.0-1078-gcp-5.4` is 5.4.0-1078-gcp. */
function ubuntuFit(name: string, release: string): Fit {
  const [listed, own] = [name, release].map((one) => /^(\d+\.\d+\.\d+-\d+)-([a-z].*)$/.exec(one));
  if (listed?.[1] === undefined || listed[1] !== own?.[1]) return "other";
  const [word = "", flavour = ""] = [listed[2], own[2]];
  const isOfHwe = /^hwe\b/.test(word) && /^(generic|lowlatency)\b/.test(flavour);
  return isOfHwe || word.startsWith(`${flavour}-`) ? "possible" : "other";
}

/** SUSE's nodes leave the rebuild number out: 5.14.21-150500.30.2 runs as 5.14.21-150500.30-default. */
function suseFit(name: string, release: string): Fit {
  return startsLike(withoutMachine(name).replace(/\.\d+$/, ""), release);
}

/**
 * Arch's package version as its nodes say it, without the flavour behind it: 5.18.arch1-1 → 5.18.0-arch1-1, since the
 * kernel itself always counts three numbers.
 */
export function archRelease(version: string): string {
  return version
    .replace(/[.]((?:arch|zen|hardened|realtime)\d+-)/, "-$1")
    .replace(/^(\d+\.\d+)(?=-)/, "$1.0");
}
