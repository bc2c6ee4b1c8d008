/**
 * The catalog: every kernel that a source ever listed, and what sources say of it; nothing else. What is learned from the
 * packages themselves is in `kernel/facts.ts`.
 */

import { z } from "zod";
import { didYouMean } from "../base/closest.ts";
import { FarmError } from "../base/error.ts";
import { smallest } from "../base/extremes.ts";
import { canonicalJson } from "../base/json.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { versionOrder } from "../kernel/distributions/index.ts";
import { Compiler, KernelId, kernelName, Package } from "../kernel/kernel.ts";
import { PathSegment } from "../kernel/path-segment.ts";

const Time = z.iso.datetime();

export const CatalogKernel = KernelId.extend({
  flavour: PathSegment,
  compiler: Compiler.optional(),
  packages: z.object({
    headers: z.array(Package),
    crossTools: z.array(Package),
    image: z.array(Package),
    modules: z.array(Package),
  }),
  /** Its distribution release follows from a rule, not from a repository that serves just that release. */
  inferred: z.literal(true).optional(),
  /** Why nothing can be built for it, whatever is fetched: a list gives its configuration only, say. */
  unbuildable: z.string().optional(),
  /** What a kernel-crawler list calls it. */
  crawler: z
    .object({
      target: z.string(),
      kernelrelease: z.string(),
      kernelversion: z.string(),
      kernelconfigdata: z.string().optional(),
      urls: z.array(z.string()).readonly().optional(),
    })
    .optional(),
  /** Packages it needs that no index lists; it cannot be built while there are any. */
  missing: z.array(z.string()).optional(),
  /** Ids of the sources that list it now, or listed it last. */
  sources: z.array(z.string()),
  /** When we first saw it: in a repository, or as good, where one lists it. */
  firstSeen: Time,
  /**
   * The last look at its sources in which they did not list it, so that it was published between this and `firstSeen`.
   * Absent where one of them listed it at its first answer: then nobody knows how long it was there.
   */
  unseenAt: Time.optional(),
  /** The suite's own date when it was first listed; absent where `unseenAt` is. */
  firstListed: Time.optional(),
  /** Of a kernel that only upcoming sources had listed: the date of the first other one that did. */
  arrived: Time.optional(),
  /** Date of the newest metadata that listed it. */
  lastSeen: Time,
  /** Its sources are healthy and no longer list it. */
  withdrawnSince: Time.optional(),
  /** Its sources are failing or out of date, so it is unknown whether it still exists. */
  staleSince: Time.optional(),
});
export type CatalogKernel = z.infer<typeof CatalogKernel>;

const SourceStatus = z.enum([
  "ok",
  /** Past its Valid-Until or older than its own cadence; used only where configuration accepts it. */
  "expired",
  /** It lost an unusual share of a release's kernels, or went back in time. */
  "suspect",
  "failed",
  /** The server has no such suite, and never had since we know it. */
  "notServed",
]);

export const CatalogSource = z.object({
  id: z.string(),
  kind: z.enum(["apt", "rpm-md", "kernel-crawler", "import"]),
  distribution: z.string(),
  url: z.string(),
  status: SourceStatus,
  /** Configuration accepts that its metadata is expired. */
  accepted: z.boolean().optional(),
  detail: z.string().optional(),
  /** When we last asked. The only clock in this document that moves on a night without news. */
  checkedAt: Time,
  /** Its first good answer to us. */
  since: Time.optional(),
  metadataDate: Time.optional(),
  validUntil: Time.optional(),
  digest: z.string().optional(),
  /** Its metadata is unsigned: its digests prove only that nothing was damaged on the way. */
  unsigned: z.literal(true).optional(),
  /** Of a list: a person vouches for its digests. */
  trusted: z.literal(true).optional(),
  /** Configuration says that its kernels are still to come: no user has them yet. */
  upcoming: z.literal(true).optional(),
  /** The advisories that came with its metadata, below `url`. */
  updateinfo: z.object({ path: z.string(), sha256: z.string() }).optional(),
  /** Kernels it lists, by architecture. */
  kernels: z.record(z.string(), z.int()),
  /** Dates of the last metadata we got, oldest first: its cadence. */
  cadence: z.array(Time),
});
export type CatalogSource = z.infer<typeof CatalogSource>;

/**
 * What a source's word on where packages come from is worth. A claim is that of whoever wrote it, or is on the way of it:
 * lists, and what others' catalogs say of whatever source. A repository that a person configured is better than any of
 * them; only one whose metadata is signed vouches for its packages, or a list for which a person does.
 */
const WORDS = ["claim", "repository", "vouching"] as const;
type Word = (typeof WORDS)[number];

export function wordOf(source: Pick<CatalogSource, "kind" | "trusted" | "unsigned"> | undefined): Word {
  if (source?.kind === "apt" || source?.kind === "rpm-md")
    return source.unsigned === true ? "repository" : "vouching";
  return source?.kind === "kernel-crawler" && source.trusted === true ? "vouching" : "claim";
}

/** How good the poorest word on packages is, from 0; the poorest of all where there is no package. */
export function worthOf(packages: readonly Package[], wordOn: (one: Package) => Word): number {
  if (packages.length === 0) return 0;
  return smallest(packages.map((one) => WORDS.indexOf(wordOn(one))));
}

/** Whether all header packages of a kernel, or of an element, are of repositories, or as good. */
export function inRepositories(
  sources: readonly CatalogSource[],
): (one: { readonly packages: { readonly headers: readonly Package[] } }) => boolean {
  const known = new Map(sources.map((source) => [source.id, source]));
  return ({ packages: { headers } }) => worthOf(headers, ({ source }) => wordOf(known.get(source))) > 0;
}

/** Whether some source's word counts for every one of some packages; false where there is no package. */
export function vouchedBy(sources: readonly CatalogSource[]): (packages: readonly Package[]) => boolean {
  const known = new Map(sources.map((source) => [source.id, source]));
  return (packages) =>
    packages.length > 0 && packages.every(({ source }) => wordOf(known.get(source)) === "vouching");
}

/** Whether no user has a kernel yet: only sources list it whose kernels are still to come. */
export function upcomingIn(
  sources: readonly Pick<CatalogSource, "id" | "upcoming">[],
): (kernel: Pick<CatalogKernel, "sources">) => boolean {
  const upcoming = new Set(sources.flatMap((source) => (source.upcoming === true ? [source.id] : [])));
  return (kernel) => kernel.sources.length > 0 && kernel.sources.every((id) => upcoming.has(id));
}

/** The userland that a release brings for testing its kernels. */
export const GuestTools = z.object({
  distribution: PathSegment,
  architecture: ArchitectureName,
  /** Every listed build of each package, newest first: the newest need not be fetchable. */
  packages: z.array(Package),
});
export type GuestTools = z.infer<typeof GuestTools>;

export const Catalog = z.object({
  schema: z.literal("kmodfarm.catalog/1"),
  sources: z.array(CatalogSource),
  guests: z.array(GuestTools),
  kernels: z.array(CatalogKernel),
});
export type Catalog = z.infer<typeof Catalog>;

export const EMPTY_CATALOG: Catalog = { schema: "kmodfarm.catalog/1", sources: [], guests: [], kernels: [] };

/** Oldest first within each distribution release, architecture and flavour, in the distribution's own version order. */
export function compareKernels(a: CatalogKernel, b: CatalogKernel): number {
  const place =
    order(a.distribution, b.distribution) ||
    order(a.architecture, b.architecture) ||
    order(a.flavour, b.flavour);
  if (place !== 0) return place;
  const compare = versionOrder(a.distribution);
  return (
    compare(a.packageVersion, b.packageVersion) ||
    compare(a.kversion, b.kversion) ||
    // Versions that the distribution calls equal (1.05, 1.5) still stand in one order.
    order(a.packageVersion, b.packageVersion) ||
    order(a.kversion, b.kversion)
  );
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two catalogs, or their sources alone, say the same, whenever they were made. */
export function sameFacts<T extends Pick<Catalog, "sources">>(a: T, b: T): boolean {
  const timeless = (catalog: T) => ({
    ...catalog,
    sources: catalog.sources.map((source) => ({ ...source, checkedAt: undefined })),
  });
  return canonicalJson(timeless(a)) === canonicalJson(timeless(b));
}

/**
 * The one kernel that `DISTRIBUTION/ARCHITECTURE/RELEASE[_PACKAGEVERSION]`, or any shorter end of it, means.
 * @throws FarmError KERNEL_UNKNOWN, KERNEL_AMBIGUOUS naming the candidates
 */
export function findKernel(catalog: Catalog, query: string): CatalogKernel {
  const parts = query.split("/");
  // Releases of rpm kernels have underscores of their own: nothing is cut at one.
  const name = parts.at(-1) ?? "";
  const places = new Set(parts.slice(0, -1));
  const found = catalog.kernels.filter(
    (kernel) =>
      (name === kernel.kversion || name === `${kernel.kversion}_${kernel.packageVersion}`) &&
      [...places].every((place) => place === kernel.distribution || place === kernel.architecture),
  );
  const [only] = found;
  if (only === undefined)
    throw new FarmError("KERNEL_UNKNOWN", {
      detail: `the catalog has no kernel '${query}'${likelyKernel(catalog, name, places)}`,
    });
  if (found.length > 1) {
    const names = found.slice(0, 6).map(kernelName).join(", ");
    throw new FarmError("KERNEL_AMBIGUOUS", { detail: `'${query}' may mean any of ${names}` });
  }
  return only;
}

/** Of the release and architecture that were named, if any were. */
function likelyKernel({ kernels }: Catalog, name: string, places: ReadonlySet<string>): string {
  const isThere = ({ distribution, architecture }: CatalogKernel) =>
    [...places].every((place) => place === distribution || place === architecture);
  const elsewhere = kernels.find((kernel) => kernel.kversion === name && !isThere(kernel));
  if (elsewhere !== undefined) return `; ${kernelName(elsewhere)} has that name`;
  const there = kernels.filter(isThere);
  const names = new Set((there.length > 0 ? there : kernels).map(({ kversion }) => kversion));
  return didYouMean(name, [...names]);
}

/** When a source first answered; of one that answered before that was kept, when we first saw a kernel of it. */
export function sinceOf(
  id: string,
  before: CatalogSource | undefined,
  { kernels }: Pick<Catalog, "kernels">,
  now: string,
): string {
  if (before?.since !== undefined) return before.since;
  const own = kernels.filter(({ sources }) => sources.includes(id)).map(({ firstSeen }) => firstSeen);
  return own.toSorted()[0] ?? now;
}
