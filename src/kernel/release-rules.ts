/**
 * The distribution release of a kernel that only a list names: rules that are certain, and `unknown` where
 * none is. docs/release-rules.md gives each with its grounds and an example that a test runs.
 */
import { findRelease } from "./distributions/index.ts";
import { parseKernelRelease } from "./kernel-release.ts";
import { PathSegment } from "./path-segment.ts";

/** What a list says of a kernel and of its header package. */
export interface ReleaseEvidence {
  /** kernel-crawler's and driverkit's word for the distribution: `ubuntu-aws`, `oracle7`. */
  readonly target: string;
  /** `uname -r`; for distributions that are images, whatever the list has instead. */
  readonly kversion: string;
  readonly packageVersion: string;
  /** Debian's and Ubuntu's source package (`linux-aws-5.4`), from the pool directory of the header package. */
  readonly sourcePackage?: string | undefined;
  /** The list's own version field: `1_1.26.0`. */
  readonly listVersion?: string | undefined;
}

export type InferredRelease =
  | { readonly release: string; readonly inferred: true }
  /** No rule is certain: listed, never built. */
  | { readonly release: "unknown" };

interface Rule {
  readonly targets: RegExp;
  /** The release key, or undefined where the rule does not speak. */
  readonly release: (evidence: ReleaseEvidence) => string | undefined;
}

export function inferRelease(evidence: ReleaseEvidence): InferredRelease {
  for (const rule of RULES) {
    if (!rule.targets.test(evidence.target)) continue;
    const release = rule.release(evidence);
    if (release !== undefined && PathSegment.safeParse(release).success) return { release, inferred: true };
  }
  return { release: "unknown" };
}

/** os-release's id of a list's target: `oracle7` → `ol`, `ubuntu-aws` → `ubuntu`. */
export function distributionOfTarget(target: string): string {
  if (/^ubuntu(-|$)/.test(target)) return "ubuntu";
  if (/^amazonlinux\d*$/.test(target)) return "amazonlinux";
  if (/^(oracle|ol)\d*$/.test(target)) return "ol";
  return ALIASES.get(target.toLowerCase()) ?? target;
}

const ALIASES = new Map([
  ["redhat", "rhel"],
  ["photonos", "photon"],
  ["amzn", "amazonlinux"],
]);

/** os-release's ID and VERSION_ID of a release key: `almalinux9.4` → almalinux, 9.4; amazonlinux2 → amzn, 2. */
export function partsOfRelease(key: string): ReleaseParts {
  const known = parts.get(key);
  if (known !== undefined) return known;
  const made = takeApart(key);
  if (parts.size < REMEMBERED_KEYS) parts.set(key, made);
  return made;
}

export interface ReleaseParts {
  readonly id: string;
  readonly version: string;
  /** Releases of rpm kernels name the build, those of deb kernels do not. */
  readonly format: "deb" | "rpm" | "other";
}

/** Asked for every element of a matrix; catalogs have few releases. */
const parts = new Map<string, ReleaseParts>();
const REMEMBERED_KEYS = 10_000;

function takeApart(key: string): ReleaseParts {
  const known = findRelease(key);
  if (known !== undefined)
    return { id: known.distribution.id, version: known.release.version, format: known.distribution.format };
  const [, word = key, version = ""] = /^(.*?[a-z])((?:v?\d[\w.]*)?)$/.exec(key) ?? [];
  const id = word === "amazonlinux" ? "amzn" : word;
  const isDeb = id === "debian" || id === "ubuntu";
  return { id, version, format: isDeb ? "deb" : RPM_DISTRIBUTIONS.has(id) ? "rpm" : "other" };
}

const RPM_DISTRIBUTIONS = new Set([
  ...["alinux", "almalinux", "amzn", "centos", "fedora", "ol", "opensuse-leap", "opensuse-tumbleweed"],
  ...["photon", "rhel", "rocky", "sles"],
]);

/** A rule that is one expression on one field; `$1` and `$2` of the key are its groups. */
function pattern(
  targets: RegExp,
  field: "kversion" | "packageVersion" | "listVersion",
  expression: RegExp,
  key: string,
): Rule {
  const release = (evidence: ReleaseEvidence) => {
    const match = expression.exec(evidence[field] ?? "");
    return match === null ? undefined : key.replace(/\$(\d)/g, (_, group) => match[Number(group)] ?? "");
  };
  return { targets, release };
}

const RULES: readonly Rule[] = [
  pattern(/^amazonlinux/, "kversion", /\.amzn(1|2|20\d\d)\./, "amazonlinux$1"),
  pattern(/^fedora$/, "kversion", /\.fc(\d{1,3})\./, "fedora$1"),
  pattern(/^almalinux$/, "kversion", /\.el(\d{1,2})_(\d{1,2})(?=[._])/, "almalinux$1.$2"),
  pattern(/^rocky$/, "kversion", /\.el(\d{1,2})_(\d{1,2})(?=[._])/, "rocky$1.$2"),
  pattern(/^(redhat|rhel)$/, "kversion", /\.el(\d{1,2})_(\d{1,2})(?=[._])/, "rhel$1.$2"),
  // CentOS' VERSION_ID has no minor version, and Oracle serves every minor version from one repository.
  pattern(/^centos$/, "kversion", /\.el(\d{1,2})(?=[._])/, "centos$1"),
  pattern(/^(oracle|ol)\d*$/, "kversion", /\.el(\d{1,2})(?:uek)?(?=[._])/, "ol$1"),
  pattern(/^photon(OS)?$/, "kversion", /\.ph(\d{1,2})(?=[.-]|$)/, "photon$1.0"),
  pattern(/^alinux$/, "kversion", /\.al8\./, "alinux3"),
  pattern(/^alinux$/, "kversion", /\.al7\./, "alinux2.1903"),
  pattern(/^opensuse/, "kversion", /-lp15(\d)\./, "opensuse-leap15.$1"),
  pattern(/^opensuse/, "kversion", /-150([3-9])00\./, "opensuse-leap15.$1"),
  pattern(/^sles$/, "kversion", /-150([1-9])00\./, "sles15.$1"),
  pattern(/^flatcar$/, "kversion", /^(\d+\.\d+\.\d+)$/, "flatcar$1"),
  pattern(/^minikube$/, "listVersion", /^\d+_(\d+\.\d+\.\d+.*)$/, "minikube$1"),
  pattern(/^talos$/, "listVersion", /^\d+_(v\d+\.\d+\.\d+.*)$/, "talos$1"),
  pattern(/^bottlerocket$/, "listVersion", /^\d+_(\d+\.\d+\.\d+)-/, "bottlerocket$1"),
  pattern(/^arch$/, "kversion", /^\d/, "arch"),
  { targets: /^debian$/, release: debianRelease },
  { targets: /^ubuntu(-|$)/, release: ubuntuRelease },
];

/** Not an object: words of a list are looked up in it. */
function table(entries: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  return new Map(Object.entries(entries));
}

/** Series that one stable release of Debian has as its own; unsuffixed uploads of others went to sid. */
const DEBIAN_SERIES = table({
  "3.2": "7",
  "3.16": "8",
  "4.9": "9",
  "4.19": "10",
  "5.10": "11",
  "6.1": "12",
  "6.12": "13",
});

const DEBIAN_STABLE = new Set(DEBIAN_SERIES.values());

/** `~bpo12+1`, `~deb10u3`, `+deb9u2~deb8u1`: the last mark wins; then `0.deb11.4`, `+deb13` of the release. */
function debianRelease({ packageVersion, kversion }: ReleaseEvidence): string | undefined {
  const mark = [...packageVersion.matchAll(/[~+](?:bpo|deb)(\d{1,2})(?=[u+.]|$)/g)].at(-1);
  if (mark !== undefined) return `debian${mark[1]}`;
  // The mark of a release still in the making says where a kernel is to go, not where it has arrived.
  const named = /(?:\+deb|\.deb)(\d{1,2})(?=[.-])/.exec(kversion)?.[1];
  if (named !== undefined && DEBIAN_STABLE.has(named)) return `debian${named}`;
  const plain = /^(\d+\.\d+)(?:\.\d+)*-\d+$/.exec(packageVersion);
  if (plain === null) return undefined;
  const stable = DEBIAN_SERIES.get(plain[1] as string);
  return stable === undefined ? "debiansid" : `debian${stable}`;
}

/** Series of Ubuntu's long-term releases. */
const UBUNTU_LTS = table({
  "3.13": "14.04",
  "4.4": "16.04",
  "4.15": "18.04",
  "5.4": "20.04",
  "5.15": "22.04",
  "6.8": "24.04",
  "7.0": "26.04",
});

/** Series of the releases between them. */
const UBUNTU_INTERIM = table({
  ...{ "3.16": "14.10", "3.19": "15.04", "4.2": "15.10", "4.8": "16.10", "4.10": "17.04", "4.13": "17.10" },
  ...{ "4.18": "18.10", "5.0": "19.04", "5.3": "19.10", "5.8": "20.10", "5.11": "21.04", "5.13": "21.10" },
  ...{ "5.19": "22.10", "6.2": "23.04", "6.5": "23.10", "6.11": "24.10", "6.14": "25.04", "6.17": "25.10" },
});

/** Series that a source package carries in its name (linux-oem-5.6), with the long-term release it is made for. */
const UBUNTU_NAMED = table({
  ...{ "4.15": "18.04", "5.0": "18.04", "5.3": "18.04", "5.6": "20.04", "5.8": "20.04", "5.10": "20.04" },
  ...{ "5.11": "20.04", "5.13": "20.04", "5.14": "20.04", "5.17": "22.04", "5.19": "22.04", "6.0": "22.04" },
  ...{ "6.1": "22.04", "6.2": "22.04", "6.5": "22.04", "6.11": "24.04", "6.14": "24.04", "6.17": "24.04" },
});

const UBUNTU_CODENAMES = table({
  ...{ precise: "12.04", trusty: "14.04", xenial: "16.04", bionic: "18.04", focal: "20.04", jammy: "22.04" },
});

function ubuntuRelease(evidence: ReleaseEvidence): string | undefined {
  // 5.8.0-050800-generic: a build of the plain kernel, of no release.
  if (/^\d+\.\d+\.\d+-0\d{5}/.test(evidence.kversion)) return undefined;
  const mark = /~(\d\d\.\d\d|[a-z]+)/.exec(evidence.packageVersion)?.[1];
  if (mark !== undefined) {
    const version = UBUNTU_CODENAMES.get(mark) ?? (/^\d/.test(mark) ? mark : undefined);
    return version === undefined ? undefined : `ubuntu${version}`;
  }
  const series = parseKernelRelease(evidence.kversion)?.series;
  if (series === undefined) return undefined;
  const version = ubuntuBySeries(series, sourceOf(evidence));
  return version === undefined ? undefined : `ubuntu${version}`;
}

/** Which release a series without any mark belongs to, given the source package that built it. */
function ubuntuBySeries(series: string, source: string): string | undefined {
  const named = /-(\d+\.\d+)$/.exec(source)?.[1];
  if (named !== undefined) return named === series ? UBUNTU_NAMED.get(series) : undefined;
  // linux-hwe served 5.3 to 18.04 only, the last of it without a mark.
  if (source === "linux-hwe") return series === "5.3" ? "18.04" : undefined;
  if (/^linux-(hwe|lts)|-edge$|-osp1$/.test(source)) return undefined;
  // linux-aws 4.4 was built for 14.04 and for 16.04 under like numbers.
  const lts = UBUNTU_LTS.get(series);
  if (lts !== undefined) return source === "linux-aws" && series === "4.4" ? undefined : lts;
  // Before 5.8 the clouds' unnamed sources also carried newer series to long-term releases.
  const [major = 0, minor = 0] = series.split(".").map(Number);
  const isOwn =
    source === "linux" || source === "linux-lowlatency" || major > 5 || (major === 5 && minor >= 8);
  return isOwn ? UBUNTU_INTERIM.get(series) : undefined;
}

function sourceOf({ sourcePackage, target }: ReleaseEvidence): string {
  if (sourcePackage !== undefined) return sourcePackage;
  const flavour = target.slice("ubuntu-".length);
  return flavour === "" || flavour === "generic" ? "linux" : `linux-${flavour}`;
}
