/**
 * Kernels that users will have one day: which of those that are still to come matter, by their versions and not by where
 * they lie, and how often modules were proven before users had a kernel.
 */
import { type CatalogKernel, compareKernels } from "../catalog/catalog.ts";
import { versionOrder } from "../kernel/distributions/index.ts";
import { kernelName } from "../kernel/kernel.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";
import { compareUpstreamVersions, type UpstreamVersion } from "../kernel/upstream-version.ts";
import { kernelSeries } from "../matrix/select.ts";
import type { HistoryEntry } from "../registry/documents.ts";
import { type Summary, summarize } from "./statistics.ts";

/** What is known of kernels, beside the catalog. */
export interface KernelsKnown {
  readonly isUpcoming: (kernel: CatalogKernel) => boolean;
  /** Undefined where nothing says which release of kernel.org a kernel was made from. */
  readonly versionOf: (kernel: CatalogKernel) => UpstreamVersion | undefined;
}

export interface Coming {
  readonly kernel: CatalogKernel;
  /** The newest kernel of each release whose users it is ahead of. */
  readonly aheadOf: readonly CatalogKernel[];
  /** A newer one of its series that is still to come as well: that is the one which will arrive. */
  readonly supersededBy?: CatalogKernel;
}

/**
 * Kernels that are ahead of what users have: of the newest kernel of their own release, and where that has none for users,
 * of the newest of every release. A suite's name says nothing: backports may be ahead of a frozen sid.
 */
export function comingKernels(kernels: readonly CatalogKernel[], known: KernelsKnown): Coming[] {
  const listed = kernels.filter(({ withdrawnSince }) => withdrawnSince === undefined);
  const families = Map.groupBy(listed, ({ distribution, architecture, flavour }) =>
    [partsOfRelease(distribution).id, architecture, flavour].join("/"),
  );
  return [...families.values()].flatMap((family) => comingIn(family, known));
}

function comingIn(family: readonly CatalogKernel[], known: KernelsKnown): Coming[] {
  const { upcoming = [], current = [] } = Object.groupBy(family, (kernel) =>
    known.isUpcoming(kernel) ? "upcoming" : "current",
  );
  const newest = new Map(
    current.toSorted(compareKernels).map((kernel) => [kernel.distribution, kernel] as const),
  );
  const isNewer = (one: CatalogKernel, other: CatalogKernel) => (compare(one, other, known) ?? 0) > 0;
  const ahead = upcoming.flatMap((kernel) => {
    const aheadOf = [...newest.values()].filter((other) => isNewer(kernel, other));
    const own = newest.get(kernel.distribution);
    const rivals = own === undefined ? [...newest.values()] : [own];
    const isAhead = rivals.every((other) => (compare(kernel, other, known) ?? 1) > 0);
    return isAhead ? [{ kernel, aheadOf }] : [];
  });
  const ordered = ahead.toSorted((a, b) => compare(a.kernel, b.kernel, known) ?? 0);
  return ordered.map(({ kernel, aheadOf }) => {
    const [supersededBy] = ahead
      .map((other) => other.kernel)
      .filter((other) => isOfSeries(other, kernel, known) && isNewer(other, kernel))
      .toSorted((a, b) => compare(b, a, known) ?? 0);
    return { kernel, aheadOf, ...(supersededBy === undefined ? {} : { supersededBy }) };
  });
}

/** By releases of kernel.org; within one release of a distribution also by its own. Undefined for what does not compare. */
function compare(one: CatalogKernel, other: CatalogKernel, { versionOf }: KernelsKnown): number | undefined {
  const [a, b] = [versionOf(one), versionOf(other)];
  const isSameRelease = one.distribution === other.distribution;
  const byUpstream = a === undefined || b === undefined ? undefined : compareUpstreamVersions(a, b);
  if (!isSameRelease || (byUpstream !== undefined && byUpstream !== 0)) return byUpstream;
  return versionOrder(one.distribution)(one.packageVersion, other.packageVersion);
}

function isOfSeries(one: CatalogKernel, other: CatalogKernel, { versionOf }: KernelsKnown): boolean {
  const [a, b] = [versionOf(one), versionOf(other)];
  if (a !== undefined && b !== undefined) return a.series === b.series;
  return (
    one.distribution === other.distribution && kernelSeries(one.kversion) === kernelSeries(other.kversion)
  );
}

/** One kernel that users got while this farm watched, and one driver series. */
interface Arrived {
  readonly driver: string;
  readonly series: string;
  readonly kernel: string;
  readonly arrived: string;
  /** The proof that came first: for this very kernel, or for another one that was made from the same release. */
  readonly proven?: { readonly kernel: string; readonly at: string };
}

export interface Readiness {
  /** Drivers' kernels that users got while this farm watched. */
  readonly kernels: number;
  /** How many of them had loaded modules before that day. */
  readonly proven: number;
  /** How long before, in days. */
  readonly lead: Summary;
  /** Kernels that were there at their source's first answer: since when users have them nobody knows. */
  readonly unseen: number;
  readonly rows: readonly Arrived[];
}

/** A driver series on a kernel that was ever tried: where none was, nothing was promised. */
export interface Tried {
  readonly driver: string;
  readonly series: string;
  /** `kernelName` */
  readonly kernel: string;
}

/** How often the modules of a kernel were proven before users had it. */
export function readinessOf(
  kernels: readonly CatalogKernel[],
  history: readonly HistoryEntry[],
  tried: readonly Tried[],
  known: KernelsKnown,
): Readiness {
  const byName = new Map(kernels.map((kernel) => [kernelName(kernel), kernel]));
  const proofs = Map.groupBy(
    history.flatMap(({ driver, series, kernel: name, loaded }) => {
      const kernel = byName.get(name);
      return kernel === undefined || loaded === undefined ? [] : [{ driver, series, kernel, name, loaded }];
    }),
    ({ driver, series }) => `${driver}/${series}`,
  );
  const wanted = new Map(
    [...history, ...tried].map((one) => [`${one.driver}/${one.series}/${one.kernel}`, one]),
  );
  const rows: Arrived[] = [];
  const unseen = new Set<string>();
  for (const { driver, series, kernel: name } of wanted.values()) {
    const kernel = byName.get(name);
    if (kernel === undefined || known.isUpcoming(kernel)) continue;
    const arrived = arrivalOf(kernel);
    if (arrived === undefined) {
      unseen.add(name);
      continue;
    }
    const [first] = (proofs.get(`${driver}/${series}`) ?? [])
      .filter((proof) => proof.loaded < arrived && isSameBuild(proof.kernel, kernel, known))
      .toSorted((a, b) => (a.loaded < b.loaded ? -1 : 1));
    const proven = first === undefined ? {} : { proven: { kernel: first.name, at: first.loaded } };
    rows.push({ driver, series, kernel: name, arrived, ...proven });
  }
  const leads = rows.flatMap(({ arrived, proven }) =>
    proven === undefined ? [] : [{ kind: "exact" as const, days: daysFrom(proven.at, arrived) }],
  );
  return { kernels: rows.length, proven: leads.length, lead: summarize(leads), unseen: unseen.size, rows };
}

/** When users got a kernel, as far as that was seen. */
function arrivalOf({ arrived, unseenAt, firstListed, firstSeen }: CatalogKernel): string | undefined {
  return arrived ?? (unseenAt === undefined ? undefined : (firstListed ?? firstSeen));
}

/** The same kernel, or one of the same release of kernel.org that the same distribution made for the same machines. */
function isSameBuild(one: CatalogKernel, other: CatalogKernel, { versionOf }: KernelsKnown): boolean {
  if (kernelName(one) === kernelName(other)) return true;
  const [a, b] = [versionOf(one), versionOf(other)];
  return (
    a !== undefined &&
    b !== undefined &&
    compareUpstreamVersions(a, b) === 0 &&
    partsOfRelease(one.distribution).id === partsOfRelease(other.distribution).id &&
    one.architecture === other.architecture &&
    one.flavour === other.flavour
  );
}

const DAY_MS = 86_400_000;

function daysFrom(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / DAY_MS;
}
