/**
 * The release of kernel.org that a kernel was made from: read from three places, which need not agree, and compared; and
 * what that proves of the fixes in it. Distributions name their kernels as they like: a number in a name proves nothing.
 */
import { findRelease } from "./distributions/index.ts";
import type { Learned } from "./facts.ts";
import type { KernelId } from "./kernel.ts";
import { parseUpstreamVersion, showUpstreamVersion } from "./upstream-version.ts";

/** Where it lies below a kernel's headers; it is made from the numbers in the kernel's own Makefile. */
export const VERSION_FILE = "include/generated/uapi/linux/version.h";

/** What that file says: `6.1.170`; undefined where it does not say enough. It cannot say that it is a candidate. */
export function upstreamOfHeader(header: string): string | undefined {
  const number = (name: string) => {
    const digits = new RegExp(`^#define[ \\t]+LINUX_VERSION_${name}[ \\t]+(\\d{1,9})[ \\t]*$`, "m").exec(
      header,
    )?.[1];
    return digits === undefined ? undefined : Number(digits);
  };
  const [major, patch, sub] = [number("MAJOR"), number("PATCHLEVEL"), number("SUBLEVEL")];
  if (major !== undefined && patch !== undefined && sub !== undefined) return `${major}.${patch}.${sub}`;
  const code = number("CODE");
  // Kernels before 5.12 have the code alone, in which 255 stands for everything from there on.
  if (code === undefined || code >= 2 ** 24 || (code & 255) === 255) return undefined;
  return [code >> 16, (code >> 8) & 255, code & 255].join(".");
}

/** What the Makefile at the top of a kernel's source says: `6.1.170`, `7.3.0-rc7`; undefined if it says anything twice. */
export function upstreamOfMakefile(makefile: string): string | undefined {
  const lines = makefile.split("\n");
  const assigned = (name: string) => {
    const expression = new RegExp(`^${name}[ \\t]*:?=([^\\n]*)$`);
    const found = lines.flatMap((line) => expression.exec(line)?.[1]?.trim() ?? []);
    const [value = ""] = found;
    return found.length === 1 && /^\S{0,64}$/.test(value) ? value : undefined;
  };
  const numbers = ["VERSION", "PATCHLEVEL", "SUBLEVEL"].map(assigned);
  if (numbers.some((one) => one === undefined || !/^\d{1,5}$/.test(one))) return undefined;
  // Distributions put words of their own there.
  const candidate = /^-rc\d{1,3}$/.exec(assigned("EXTRAVERSION") ?? "")?.[0] ?? "";
  const text = `${numbers.map(Number).join(".")}${candidate}`;
  return parseUpstreamVersion(text) === undefined ? undefined : text;
}

/**
 * What the version of a package says, of a distribution that names its kernels after the release: `6.1.170-3`,
 * `7.3~rc7-1~exp1`, `6.12.90-2~bpo12+1`, `6.5.6-200.fc38`, `6.8.0-0.rc3.26.fc40`.
 */
export function upstreamOfPackage(version: string): string | undefined {
  const [, numbers, candidate = "", rpm] =
    /^(?:\d{1,9}:)?(\d{1,3}\.\d{1,3}(?:\.\d{1,5}){0,2})(~rc\d{1,3})?(?:$|[-+~](?:0\.(rc\d{1,3})\.)?)/.exec(
      version,
    ) ?? [];
  if (numbers === undefined) return undefined;
  const text = `${numbers}${rpm === undefined ? candidate.replace("~", "-") : `-${rpm}`}`;
  return parseUpstreamVersion(text) === undefined ? undefined : text;
}

/** One place's word on it. */
export interface BaseClaim {
  readonly from: "makefile" | "header" | "package";
  readonly version: string;
}

/** The release that a kernel was made from. */
export interface Base extends BaseClaim {
  /** Other places that say otherwise: nothing may be concluded from it then. */
  readonly disputed?: readonly BaseClaim[];
}

/** Of several words on one kernel the first counts; undefined if nobody says anything. */
export function agreedBase(claims: readonly BaseClaim[]): Base | undefined {
  const read = claims.flatMap((claim) => {
    const version = parseUpstreamVersion(claim.version);
    return version === undefined ? [] : [{ claim, version }];
  });
  const [first] = read;
  if (first === undefined) return undefined;
  const others = read.filter(({ claim, version }) => {
    const isSame = version.series === first.version.series && version.patch === first.version.patch;
    // A header says the same of a release and of its candidates.
    const isBlind = claim.from === "header" || first.claim.from === "header";
    return !isSame || (!isBlind && version.prerelease !== first.version.prerelease);
  });
  const candidate = read.find(({ version }) => version.prerelease !== undefined)?.version.prerelease;
  const version = { ...first.version, ...(candidate === undefined ? {} : { prerelease: candidate }) };
  return {
    version: showUpstreamVersion(version),
    from: first.claim.from,
    ...(others.length === 0 ? {} : { disputed: others.map(({ claim }) => claim) }),
  };
}

/**
 * `both`: what the release has fixed is fixed, what it has not is open, as far as the changelog does not say otherwise.
 * `fixed`: fixes are backported to it as well, so that only the first half holds. `none`: its base is frozen while
 * thousands of patches come and go, and proves nothing in either direction.
 */
export type BaseProof = "both" | "fixed" | "none";

export function baseProof(distribution: string): BaseProof {
  return findRelease(distribution)?.distribution.base?.proves ?? "none";
}

/** Undefined where nobody says it, and where it would prove nothing. */
export function baseOf(
  { distribution, packageVersion }: Pick<KernelId, "distribution" | "packageVersion">,
  { headers }: Pick<Learned, "headers"> = {},
): Base | undefined {
  const base = findRelease(distribution)?.distribution.base;
  if (base === undefined) return undefined;
  const claims: BaseClaim[] = [];
  const claim = (from: BaseClaim["from"], version: string | undefined) => {
    if (version !== undefined) claims.push({ from, version });
  };
  claim("makefile", headers?.makefile);
  claim("header", headers?.upstream);
  if (base.isInVersion) claim("package", upstreamOfPackage(packageVersion));
  return agreedBase(claims);
}
