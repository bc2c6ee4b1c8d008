/**
 * What distributions with rpm have in common: entries of primary.xml, and kernels as `-devel` packages that say
 * themselves which `uname -r` they are for.
 */
import type { PrimaryPackage } from "../../formats/rpm-md.ts";
import type { ArchitectureName } from "../architecture.ts";
import { Package } from "../kernel.ts";
import { PathSegment } from "../path-segment.ts";
import {
  type ListedKernel,
  type ListedPackage,
  plainPackage,
  type RpmLocation,
  type RpmRelease,
  type RpmRepository,
} from "./distribution.ts";
import { releaseKeys } from "./rpm-keys.ts";

/** Of a kernel release. */
const LONGEST = 128;

/** Makes a listed package of an entry; undefined when a needed field is missing or wrong. */
export function readRpmPackage(entry: PrimaryPackage, source: string): ListedPackage | undefined {
  const { name, architecture, epoch, version, release, sha256, size } = entry;
  const path = pathOf(entry);
  const parsed = Package.safeParse({
    name,
    version: `${epoch === "0" || epoch === "" ? "" : `${epoch}:`}${version}-${release}`,
    architecture: architecture === "noarch" ? "all" : architecture,
    ...(sha256 === undefined ? {} : { sha256 }),
    size,
    path,
    source,
  });
  if (path === undefined || !parsed.success || !PathSegment.safeParse(`${version}-${release}`).success)
    return undefined;
  // A package has one such name, and one more for each flavour that it stands in for.
  const provides = entry.provides
    .filter(({ name: given, version: release }) => given.endsWith("-uname-r") && release.length <= LONGEST)
    .slice(0, 16);
  return { ...parsed.data, depends: "", ...(provides.length === 0 ? {} : { provides }) };
}

/** Below the repository, or up from it (Amazon keeps packages beside its repositories), or a whole URL. */
function pathOf({ href, base }: PrimaryPackage): string | undefined {
  const path = decoded(href);
  const segments = path?.replace(/^(?:\.\/)+|^(?:\.\.\/)+/, "").split("/") ?? [];
  if (!segments.every((segment) => PathSegment.safeParse(segment).success)) return undefined;
  if (base === undefined) return path;
  return /^https?:\/\/[^/?#]/.test(base) && URL.canParse(base) ? new URL(href, `${base}/`).href : undefined;
}

function decoded(href: string): string | undefined {
  try {
    return decodeURIComponent(href);
  } catch {
    return undefined;
  }
}

const PARTS = "-devel|-core|-modules|-modules-core|-modules-extra";

/** Names of every package of a kernel. A stem (`kernel`, `kernel-rt`) is an expression for what they begin with. */
export function rpmPackageNames(stems: readonly string[]): RegExp {
  return new RegExp(`^(?:${stems.join("|")})(?:${PARTS})?$`);
}

/**
 * The kernels of a release: its `<stem>-devel` packages. As much work as there are packages, however many of them claim one
 * kernel.
 */
export function rpmKernels(stems: readonly string[], packages: readonly ListedPackage[]): ListedKernel[] {
  const expression = new RegExp(`^(${stems.join("|")})-devel$`);
  const byIdentity = new Map<string, ListedPackage>();
  for (const one of packages) {
    const identity = identityOf(one.name, one);
    if (!byIdentity.has(identity)) byIdentity.set(identity, one);
  }
  // By kernel, and by the name of the package that claims it.
  const claims = new Map<string, Map<string, { kernel: ListedKernel; sources: Set<string> }>>();
  for (const devel of packages) {
    const stem = expression.exec(devel.name)?.[1];
    if (stem === undefined || devel.architecture === "all") continue;
    const kversion = kversionOf(stem, devel, devel.architecture);
    if (!PathSegment.safeParse(kversion).success) continue;
    const key = `${kversion} ${devel.version} ${devel.architecture}`;
    const ofKernel = claims.get(key) ?? new Map();
    claims.set(key, ofKernel);
    const known = ofKernel.get(devel.name);
    if (known !== undefined) known.sources.add(devel.source);
    else
      ofKernel.set(devel.name, {
        kernel: kernelOf(stem, kversion, devel, byIdentity),
        sources: new Set([devel.source]),
      });
  }
  return [...claims.values()].map((ofKernel) =>
    plainest([...ofKernel.values()].map(({ kernel, sources }) => ({ ...kernel, sources: [...sources] }))),
  );
}

/** So many names of rivals are reported, which are a few at most. */
const MOST_RIVALS = 8;

/**
 * Of packages of several names that claim one kernel, as where the debug kernel says the plain one's `uname -r`: the plainest
 * name counts; the others are reported.
 */
function plainest(claims: readonly ListedKernel[]): ListedKernel {
  const nameOf = ({ packages }: ListedKernel) => packages.headers[0]?.name ?? "";
  const isPlain = ({ flavour }: ListedKernel) => (flavour === "generic" ? 1 : 0);
  const [kept, ...left] = claims.toSorted(
    (a, b) =>
      isPlain(b) - isPlain(a) || nameOf(a).length - nameOf(b).length || (nameOf(a) < nameOf(b) ? -1 : 1),
  ) as [ListedKernel, ...ListedKernel[]];
  return left.length === 0 ? kept : { ...kept, rivals: left.map(nameOf).toSorted().slice(0, MOST_RIVALS) };
}

function identityOf(
  name: string,
  { version, architecture }: Pick<ListedPackage, "version" | "architecture">,
) {
  return `${name} ${version} ${architecture}`;
}

/** The package's own word on `uname -r`, else what its name and version make it. */
function kversionOf(stem: string, devel: ListedPackage, architecture: ArchitectureName): string {
  const said = devel.provides?.find(({ name }) => name.endsWith("-devel-uname-r"))?.version;
  if (said !== undefined && PathSegment.safeParse(said).success) return said;
  return `${devel.version.replace(/^\d+:/, "")}.${architecture}${suffixOf(stem, devel.version)}`;
}

/** `kernel-64k` is `+64k`, up to Enterprise Linux 7 `.64k`. A real-time kernel of its own version has its word there. */
export function suffixOf(stem: string, version: string): string {
  const words = stem.replace(/^kernel[\d.]*-?(?:uek-?)?/, "").split("-");
  const variant = words.filter((word) => !(word === "rt" && /\.rt\d/.test(version))).join("-");
  if (variant === "") return "";
  return `${/\.el[67](?!\d)/.test(version) ? "." : "+"}${variant}`;
}

function kernelOf(
  stem: string,
  kversion: string,
  devel: ListedPackage,
  byIdentity: ReadonlyMap<string, ListedPackage>,
): ListedKernel {
  const find = (part: string): Package[] => {
    const found = byIdentity.get(identityOf(`${stem}${part}`, devel));
    return found === undefined ? [] : [plainPackage(found)];
  };
  const core = find("-core");
  const whole = find("");
  return {
    kversion,
    packageVersion: devel.version,
    architecture: devel.architecture as ArchitectureName,
    flavour: stem.replace(/^kernel[\d.]*-?/, "") || "generic",
    compiler: undefined,
    packages: {
      headers: [plainPackage(devel)],
      crossTools: [],
      // Where the image has a package of its own, the one with the plain name is empty.
      image: core.length > 0 ? core : whole,
      modules: [
        ...(core.length > 0 ? [] : whole),
        ...["-modules-core", "-modules", "-modules-extra"].flatMap(find),
      ],
    },
    missing: [],
    sources: [devel.source],
  };
}

/** The release of a version, with its repositories. */
export function rpmRelease(id: string, version: string, repositories: readonly RpmRepository[]): RpmRelease {
  const keys = releaseKeys(id, version);
  return {
    key: `${id}${version}`,
    version,
    codename: version,
    repositories,
    ...(keys === undefined ? {} : { keys }),
  };
}

/** A repository at one of several places. */
export function repository(name: string, ...urls: string[]): RpmRepository {
  return { name, location: { kind: "baseurl", urls } };
}

export function listedRepository(name: string, kind: RpmLocation["kind"], url: string): RpmRepository {
  return { name, location: { kind, urls: [url] } };
}

/** `minors(9, 0, 6)`: 9.0 to 9.6. */
export function minors(major: number, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `${major}.${first + index}`);
}
