/**
 * One entry of a kernel list — what kernel-crawler calls a driverkit configuration — and the kernels it
 * stands for. An entry of Debian or Ubuntu names the header packages of several flavours at once.
 */
import type { ArchitectureName } from "../kernel/architecture.ts";
import { compareDebVersions } from "../kernel/deb-version.ts";
import type { CrawlerName, ListedKernel } from "../kernel/distributions/distribution.ts";
import { type HeaderFile, kernelOfHeaders, type NamedKernel, parseHeaderUrl } from "../kernel/header-file.ts";
import type { Compiler, Package } from "../kernel/kernel.ts";
import { isNamedByMachine } from "../kernel/listed-name.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { distributionOfTarget, inferRelease } from "../kernel/release-rules.ts";

export interface ListEntry extends CrawlerName {
  /** URLs; empty where the list has none. */
  readonly headers: readonly string[];
  /** Where the entry names one itself. */
  readonly architecture?: ArchitectureName | undefined;
  /** What only richer lists have. */
  readonly distributionVersion?: string | undefined;
  readonly compiler?: Compiler | undefined;
  readonly files?: ReadonlyMap<string, { readonly size: number; readonly sha256: string }> | undefined;
}

/** A kernel of a list with the distribution release that it belongs to, or `unknown`. */
export interface PlacedKernel extends ListedKernel {
  readonly distribution: string;
  readonly crawler: CrawlerName;
}

export type EntryKernels =
  | { readonly kind: "kernels"; readonly kernels: readonly PlacedKernel[] }
  | { readonly kind: "bad"; readonly reason: string };

/** Why an entry cannot be used, in cases that the caller can fix. */
export const ARCHITECTURE_UNKNOWN = "names no architecture; give it with --arch";

/** `architecture` is that of the list, where the entry does not show its own. */
export function kernelsOfEntry(entry: ListEntry, architecture: ArchitectureName | undefined): EntryKernels {
  const files: HeaderFile[] = [];
  const others: string[] = [];
  for (const url of [...entry.headers].sort()) {
    const file = parseHeaderUrl(url);
    if (file === undefined) return bad("has a URL that is not of a kernel header package");
    if (files.some((known) => isSameFile(known, file))) others.push(file.url);
    else files.push(file);
  }
  const distribution = distributionOfTarget(entry.target);
  const named = files.flatMap((file) => {
    const kernel = kernelOfHeaders(file, distribution);
    return kernel === undefined ? [] : [{ file, kernel }];
  });
  if (named.length === 0) return kernelsWithoutHeaders(entry, distribution, files, architecture);
  if (named.some(({ kernel, file }) => !isOfEntry(entry, distribution, kernel, file)))
    return bad("has headers of a different kernel than it names");
  const kernels = named.map(({ file, kernel }) => kernelOf(entry, file, kernel, files));
  const fetched = new Set(kernels.flatMap(({ packages }) => packages.headers.map(({ path }) => path)));
  return {
    kind: "kernels",
    kernels: withUrls(kernels, [
      ...others,
      ...files.map(({ url }) => url).filter((url) => !fetched.has(url)),
    ]),
  };
}

/** What no kernel of an entry has, its first one keeps, so that nothing of a list is lost. */
function withUrls(kernels: readonly PlacedKernel[], urls: readonly string[]): readonly PlacedKernel[] {
  const [first, ...rest] = kernels;
  return first === undefined || urls.length === 0 ? kernels : [keepingUrls(first, urls), ...rest];
}

/** The same kernel, with more URLs that an entry of it names. */
export function keepingUrls(kernel: PlacedKernel, urls: readonly string[]): PlacedKernel {
  const own = new Set(kernel.packages.headers.map(({ path }) => path));
  const more = [...new Set([...(kernel.crawler.urls ?? []), ...urls])].filter((url) => !own.has(url)).sort();
  return more.length === 0 ? kernel : { ...kernel, crawler: { ...kernel.crawler, urls: more } };
}

function bad(reason: string): EntryKernels {
  return { kind: "bad", reason };
}

/** The same package from two mirrors. */
function isSameFile(a: HeaderFile, b: HeaderFile): boolean {
  return a.name === b.name && a.version === b.version && a.architecture === b.architecture;
}

/** Debian's entries are called by package versions, Ubuntu's by words of the crawler; rpm names are exact. */
function isOfEntry(
  { kernelrelease }: ListEntry,
  distribution: string,
  { kversion }: NamedKernel,
  { format, version }: HeaderFile,
): boolean {
  if (kversion === undefined) return kernelrelease.startsWith(version);
  if (!PathSegment.safeParse(kversion).success) return false;
  if (distribution === "debian") return kernelrelease.startsWith(version) || kernelrelease === kversion;
  if (distribution === "ubuntu") return kernelrelease.startsWith(/^[\d.]+-\d+/.exec(kversion)?.[0] ?? "\n");
  return format === "deb" || kernelrelease.startsWith(version);
}

function kernelOf(
  entry: ListEntry,
  own: HeaderFile,
  { kversion, flavour }: NamedKernel,
  files: readonly HeaderFile[],
): PlacedKernel {
  const { found, missing } =
    own.format === "deb" ? sharedDebs(kversion ?? "", own, files, entry) : sharedRpms(entry, own, files);
  return {
    ...placeOf(entry, kversion ?? own.version, own.version, own.sourcePackage),
    kversion: kversion ?? UNKNOWN,
    ...(kversion === undefined ? { unbuildable: NAME_UNKNOWN } : {}),
    packageVersion: own.version,
    architecture: own.architecture as ArchitectureName,
    flavour,
    compiler: entry.compiler,
    packages: packagesOf([own, ...found].map((file) => packageOf(file, entry))),
    missing,
    sources: [],
    crawler: nameOf(entry),
  };
}

function placeOf(entry: ListEntry, kversion: string, packageVersion: string, sourcePackage?: string) {
  const { target, kernelversion: listVersion, distributionVersion } = entry;
  if (distributionVersion !== undefined)
    return { distribution: `${distributionOfTarget(target)}${distributionVersion}` };
  const { release, ...how } = inferRelease({ target, kversion, packageVersion, sourcePackage, listVersion });
  return { distribution: release, ...how };
}

function nameOf({ target, kernelrelease, kernelversion, kernelconfigdata }: ListEntry): CrawlerName {
  return {
    target,
    kernelrelease,
    kernelversion,
    ...(kernelconfigdata === undefined ? {} : { kernelconfigdata }),
  };
}

function packageOf({ url, name, version, architecture }: HeaderFile, { files }: ListEntry): Package {
  return { name, version, architecture, source: "", path: url, ...files?.get(url) };
}

function packagesOf(headers: Package[]): ListedKernel["packages"] {
  return { headers, crossTools: [], image: [], modules: [] };
}

interface Shared {
  readonly found: readonly HeaderFile[];
  readonly missing: readonly string[];
}

/** SUSE keeps what its flavours share in a package for all architectures, which may be another rebuild of the same sources. */
function sharedRpms({ target }: ListEntry, own: HeaderFile, files: readonly HeaderFile[]): Shared {
  const shared = files.filter(({ architecture }) => architecture === "all");
  const sources = ({ version }: HeaderFile) => version.replace(/\.\d+$/, "");
  const exact = shared.filter(({ version }) => version === own.version);
  const found = exact.length > 0 ? exact : shared.filter((file) => sources(file) === sources(own));
  return { found, missing: isSuse(target) && found.length === 0 ? ["kernel-devel"] : [] };
}

function isSuse(target: string): boolean {
  return /^(opensuse|sles$)/.test(distributionOfTarget(target));
}

function sharedDebs(
  kversion: string,
  own: HeaderFile,
  files: readonly HeaderFile[],
  entry: ListEntry,
): Shared {
  const ofArchitecture = files.filter(
    ({ architecture }) => architecture === "all" || architecture === own.architecture,
  );
  return distributionOfTarget(entry.target) === "ubuntu"
    ? sharedOfUbuntu(kversion, own, ofArchitecture, entry)
    : sharedOfDebian(kversion, ofArchitecture);
}

/** `linux-headers-5.4.0-42`, `linux-aws-headers-5.4.0-1021`: of the same build as the flavour's own. */
function sharedOfUbuntu(
  kversion: string,
  own: HeaderFile,
  files: readonly HeaderFile[],
  { target }: ListEntry,
): Shared {
  const abi = /^[\d.]+-\d+/.exec(kversion)?.[0] ?? "";
  const found = files.filter(
    ({ name, version }) => version === own.version && name.endsWith(`headers-${abi}`) && name !== own.name,
  );
  const word = target.slice("ubuntu-".length);
  const expected = ["", "generic"].includes(word) ? `linux-headers-${abi}` : `linux-${word}-headers-${abi}`;
  return { found, missing: found.length === 0 ? [expected] : [] };
}

/** Headers common to flavours (rt had some of its own for long), and the build tools of the series. */
function sharedOfDebian(kversion: string, files: readonly HeaderFile[]): Shared {
  const found: HeaderFile[] = [];
  const missing: string[] = [];
  const commons = files.flatMap((file) => {
    const match = /^linux-headers-(.+)-common(?:-(.+))?$/.exec(file.name);
    return match !== null && kversion.startsWith(`${match[1]}-`) ? [{ file, flavour: match[2] }] : [];
  });
  const common =
    commons.find(({ flavour }) => flavour !== undefined && kversion.includes(`-${flavour}-`)) ??
    commons.find(({ flavour }) => flavour === undefined);
  const abi = kversion.replace(/-(?:[a-z][a-z0-9-]*-)?(?:amd64|arm64).*$/, "");
  if (common === undefined) missing.push(`linux-headers-${abi}-common`);
  else found.push(common.file);
  const tools = files
    .filter(({ name }) => isToolsOf(name, kversion))
    .toSorted((a, b) => b.name.length - a.name.length || compareDebVersions(b.version, a.version));
  if (tools[0] === undefined) missing.push(`linux-kbuild-${/^\d+\.\d+/.exec(kversion)?.[0]}`);
  else found.push(tools[0]);
  return { found, missing };
}

/** `linux-kbuild-5.10` belongs to 5.10.0-17-amd64, `linux-kbuild-7.3.4+deb13` to 7.3.4+deb13-amd64. */
function isToolsOf(name: string, kversion: string): boolean {
  const of = /^linux-kbuild-(\d.*)$/.exec(name)?.[1];
  return of !== undefined && kversion.startsWith(of) && !/^\d/.test(kversion.slice(of.length));
}

/** Entries that name a configuration, an image, or nothing: kept as far as their kernel release is certain. */
function kernelsWithoutHeaders(
  entry: ListEntry,
  distribution: string,
  files: readonly HeaderFile[],
  listArchitecture: ArchitectureName | undefined,
): EntryKernels {
  const { kernelrelease, kernelversion, kernelconfigdata } = entry;
  const match = /^(.+)\.(x86_64|aarch64)$/.exec(kernelrelease);
  const architecture =
    files.map((file) => file.architecture).find((one) => one !== "all") ??
    (match?.[2] as ArchitectureName | undefined) ??
    entry.architecture ??
    listArchitecture;
  const isImage = files[0]?.format === "image" || distribution === "flatcar";
  const isRelease =
    kernelconfigdata !== undefined || isImage || (match !== null && isNamedByMachine(distribution));
  if (!isRelease) return bad("has no header packages, without which its kernel release is unknown");
  if (files.length > 0 && !isImage) return bad("has no headers of its own flavour");
  if (architecture === undefined) return bad(ARCHITECTURE_UNKNOWN);
  const packageVersion = kernelconfigdata === undefined ? (match?.[1] ?? kernelrelease) : kernelversion;
  const why = isImage ? IMAGE_ONLY : kernelconfigdata === undefined ? undefined : CONFIGURATION_ONLY;
  const flavour = /uek\.\w+$/.test(kernelrelease) ? "uek" : flavourOfVersion(distribution, kernelversion);
  const kernel: PlacedKernel = {
    ...placeOf(entry, kernelrelease, packageVersion),
    kversion: isImage ? UNKNOWN : kernelrelease,
    packageVersion,
    architecture,
    flavour,
    compiler: entry.compiler,
    packages: packagesOf(files.map((file) => packageOf(file, entry))),
    missing: why === undefined ? [flavour === "uek" ? "kernel-uek-devel" : "kernel-devel"] : [],
    sources: [],
    crawler: nameOf(entry),
    ...(why === undefined ? {} : { unbuildable: why }),
  };
  return { kind: "kernels", kernels: [kernel] };
}

/** In place of a kernel release that cannot be known from a list. */
const UNKNOWN = "unknown";
const NAME_UNKNOWN = "its package version does not show its release on nodes (uname -r)";
const CONFIGURATION_ONLY = "the list has its configuration, but no header packages";
const IMAGE_ONLY = "the list has only an image, which contains its headers and its kernel release";

/** Bottlerocket's variants: `1_1.16.0-aws-k8s-1.27`. */
function flavourOfVersion(distribution: string, kernelversion: string): string {
  const variant = distribution === "bottlerocket" ? /^[^-]+-(.+)$/.exec(kernelversion)?.[1] : undefined;
  return variant ?? "generic";
}
