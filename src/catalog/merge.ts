/**
 * The append-only union: what sources say tonight, laid over everything ever seen. No kernel ever leaves.
 */
import { defined } from "../base/defined.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { ListedKernel } from "../kernel/distributions/distribution.ts";
import { factsOf, type KnownFacts, NOTHING_KNOWN, withAllLearned } from "../kernel/facts.ts";
import { isBuildTool, type KernelId, kernelName, type Package } from "../kernel/kernel.ts";
import type { Described } from "./annotated.ts";
import {
  type Catalog,
  type CatalogKernel,
  type CatalogSource,
  compareKernels,
  type GuestTools,
  upcomingIn,
  wordOf,
  worthOf,
} from "./catalog.ts";

/** What one night's look at all sources of one distribution release found. */
export interface ReleaseReport {
  readonly distribution: string;
  /** What was asked for: of kernels of other architectures nothing was learned. Default: all. */
  readonly architectures?: readonly ArchitectureName[];
  /** One per configured source, whatever its state. */
  readonly sources: readonly CatalogSource[];
  readonly kernels: readonly ListedKernel[];
  readonly guests: readonly GuestTools[];
}

export interface MergeOptions {
  readonly now: string;
  /** What was learned of kernels: which of them cannot be fetched. Default: nothing. */
  readonly facts?: KnownFacts;
  /** Take shrunken sources at their word this once. */
  readonly acceptWithdrawals?: boolean;
}

/** Share and number of a release's kernels whose loss makes a source suspect. */
export const SUSPICIOUS_SHARE = 0.1;
export const SUSPICIOUS_COUNT = 2;

export function mergeCatalog(
  previous: Catalog,
  reports: readonly ReleaseReport[],
  options: MergeOptions,
): Catalog {
  const reported = new Map(reports.map((report) => [report.distribution, report]));
  const isReported = ({ distribution, architecture }: CatalogKernel) =>
    reported.has(distribution) && (reported.get(distribution)?.architectures?.includes(architecture) ?? true);
  const asked = new Set(reports.flatMap((report) => report.sources.map(({ id }) => id)));
  const untouched = {
    // A report speaks of its own sources only: a list says nothing about what a repository serves.
    sources: previous.sources.filter(({ id }) => !asked.has(id)),
    kernels: previous.kernels.filter((kernel) => !isReported(kernel)),
    guests: previous.guests.filter((guest) => !reported.has(guest.distribution)),
  };
  const known = Map.groupBy(previous.kernels.filter(isReported), ({ distribution }) => distribution);
  const earlier = new Map(previous.sources.map((source) => [source.id, source]));
  const merged = reports.map((report) =>
    mergeRelease({ earlier, guests: previous.guests }, known.get(report.distribution) ?? [], report, options),
  );
  return {
    schema: "kmodfarm.catalog/1",
    sources: [...untouched.sources, ...merged.flatMap((one) => one.sources)].toSorted((a, b) =>
      a.id < b.id ? -1 : 1,
    ),
    guests: [...untouched.guests, ...merged.flatMap((one) => one.guests)],
    kernels: [...untouched.kernels, ...merged.flatMap((one) => one.kernels)].toSorted(compareKernels),
  };
}

interface Earlier {
  readonly earlier: ReadonlyMap<string, CatalogSource>;
  readonly guests: readonly GuestTools[];
}

function mergeRelease(
  { earlier, guests }: Earlier,
  kernels: readonly CatalogKernel[],
  report: ReleaseReport,
  options: MergeOptions,
) {
  const { distribution } = report;
  const known = new Map(kernels.map((kernel) => [kernelName(kernel), kernel]));
  const listed = new Map(report.kernels.map((kernel) => [kernelName({ ...kernel, distribution }), kernel]));
  const sources = report.sources.map((source) => judgeLoss(source, known, listed, options));
  const state = new Map(sources.map((source) => [source.id, source]));
  const worth: Worth = (packages) =>
    worthOf(packages, ({ source }) => wordOf(state.get(source) ?? earlier.get(source)));

  const merged = [...new Set([...known.keys(), ...listed.keys()])].map((name) => {
    const now = listed.get(name);
    const before = known.get(name);
    return now === undefined
      ? absent(before as CatalogKernel, state, options.now)
      : present(now, before, { distribution, earlier, state, worth, options });
  });
  return { sources, kernels: merged, guests: mergeGuests(guests, report) };
}

/** A source that is well but lost an unusual share of the kernels it had is suspect, and its loss is not believed. */
function judgeLoss(
  source: CatalogSource,
  known: ReadonlyMap<string, CatalogKernel>,
  listed: ReadonlyMap<string, ListedKernel>,
  { acceptWithdrawals }: MergeOptions,
): CatalogSource {
  if (source.status !== "ok" || acceptWithdrawals) return source;
  const had = [...known].filter(
    ([, kernel]) => kernel.sources.includes(source.id) && kernel.withdrawnSince === undefined,
  );
  const gone = had.filter(([name]) => !listed.get(name)?.sources.includes(source.id));
  // A kernel that moved to another source of its release (security → main) is not lost.
  const lost = gone.filter(([name]) => !listed.has(name));
  if (lost.length < SUSPICIOUS_COUNT || lost.length < had.length * SUSPICIOUS_SHARE) return source;
  const [name] = lost[0] as [string, CatalogKernel];
  const detail = `${lost.length} of its ${had.length} kernels are gone at once (${name}, …)`;
  const fresh = [...listed].filter(([name, { sources }]) => !known.has(name) && sources.includes(source.id));
  const kept = [...had, ...fresh].map(([, kernel]) => kernel);
  return { ...source, status: "suspect", detail, kernels: countByArchitecture(kept) };
}

interface Night {
  readonly distribution: string;
  readonly earlier: ReadonlyMap<string, CatalogSource>;
  readonly state: ReadonlyMap<string, CatalogSource>;
  readonly worth: Worth;
  readonly options: MergeOptions;
}

function present(
  listed: ListedKernel,
  before: CatalogKernel | undefined,
  { distribution, earlier, state, worth, options: { now, facts = NOTHING_KNOWN } }: Night,
): CatalogKernel {
  const listing = listed.sources.flatMap((id) => state.get(id) ?? []);
  const dates = listing.flatMap((source) => source.metadataDate ?? []);
  // While one of its suites is out of reach, what was known of its packages is better than half of it.
  const isHalf = listed.missing.length > 0 && before !== undefined && before.missing === undefined;
  // What a list says does not replace packages that somebody vouches for, nor such that have digests if it has none.
  const reliable = reliability(listed.packages, worth);
  const reliableBefore = before === undefined ? 0 : reliability(before.packages, worth);
  const isWorse = reliableBefore > reliable;
  const isGone = before !== undefined && factsOf(facts, before).fetching?.notFetchableSince !== undefined;
  const isKept = before !== undefined && (isHalf || isWorse);
  const pinned = isKept ? before.packages : pinTools(listed, isGone ? undefined : before, worth);
  const missing = isKept ? (before.missing ?? []) : listed.missing;
  const { kversion, packageVersion, architecture, unbuildable } = listed;
  // Who vouches for packages also knows better what they are.
  const { flavour, inferred } = before !== undefined && isWorse ? before : listed;
  // What this source does not say another one may have said, unless this one is better or vouches: then its headers do.
  const isFinal = reliable > reliableBefore || reliable === VOUCHED;
  const compiler = (isWorse ? undefined : listed.compiler) ?? (isFinal ? undefined : before?.compiler);
  const crawler = listed.crawler ?? before?.crawler;
  // Who announces a kernel before its repository has it would else decide how old it is.
  const wasAnnounced =
    before !== undefined && worth(before.packages.headers) === 0 && worth(listed.packages.headers) > 0;
  return {
    ...{ kversion, packageVersion, architecture, flavour, distribution },
    ...(compiler === undefined ? {} : { compiler }),
    packages: pinned,
    ...(inferred === undefined ? {} : { inferred }),
    ...(unbuildable === undefined || isWorse ? {} : { unbuildable }),
    ...(crawler === undefined ? {} : { crawler }),
    ...(missing.length === 0 ? {} : { missing: [...missing] }),
    sources: [
      ...new Set([...listed.sources, ...(before?.sources ?? []).filter((id) => !state.has(id))]),
    ].sort(),
    firstSeen: before === undefined || wasAnnounced ? now : before.firstSeen,
    ...(before === undefined || wasAnnounced ? appearance(listing, earlier) : keptAppearance(before)),
    ...arrival(listing, before, earlier, now),
    lastSeen: dates.sort().at(-1) ?? now,
    ...expiry(listing),
  };
}

type Appearance = Pick<CatalogKernel, "unseenAt" | "firstListed">;

function keptAppearance({ unseenAt, firstListed }: CatalogKernel): Appearance {
  return defined({ unseenAt, firstListed });
}

/** Since when a new kernel can have been listed, and by which metadata. Of a source that answers for the first time nobody knows. */
function appearance(
  listing: readonly CatalogSource[],
  earlier: ReadonlyMap<string, CatalogSource>,
): Appearance {
  const looks = listing.flatMap(({ id }) => {
    const before = earlier.get(id);
    // Of a failed look only the metadata before it says what was not there.
    return (before?.status === "ok" ? before.checkedAt : before?.metadataDate) ?? [];
  });
  const unseenAt = looks.length < listing.length ? undefined : looks.toSorted()[0];
  if (unseenAt === undefined) return {};
  const firstListed = listing.flatMap(({ metadataDate }) => metadataDate ?? []).toSorted()[0];
  return defined({ unseenAt, firstListed });
}

/** When a source that is not upcoming first listed a kernel of upcoming ones. One that is only called otherwise by now is no news. */
function arrival(
  listing: readonly CatalogSource[],
  before: CatalogKernel | undefined,
  earlier: ReadonlyMap<string, CatalogSource>,
  now: string,
): Pick<CatalogKernel, "arrived"> {
  if (before === undefined) return {};
  if (before.arrived !== undefined) return { arrived: before.arrived };
  if (!upcomingIn([...earlier.values()])(before)) return {};
  const reached = listing.filter(({ id, upcoming }) => upcoming !== true && !before.sources.includes(id));
  const [first] = reached.map(({ metadataDate }) => metadataDate ?? now).toSorted();
  return defined({ arrived: first });
}

/** A kernel that only expired metadata lists is stale since the day that metadata ran out. */
function expiry(listing: readonly CatalogSource[]): { staleSince?: string } {
  if (listing.length === 0 || listing.some((source) => source.status !== "expired")) return {};
  const since = listing
    .flatMap((source) => source.validUntil ?? source.metadataDate ?? [])
    .sort()
    .at(-1);
  return since === undefined ? {} : { staleSince: since };
}

/**
 * Build tools that several kernels share (one linux-kbuild-6.1 serves a hundred) are pinned to the ones a
 * kernel was first seen with, or each upload of them would rebuild all of those kernels. The pin is given
 * up when they can no longer be fetched.
 */
function pinTools(
  listed: ListedKernel,
  before: CatalogKernel | undefined,
  worth: Worth,
): CatalogKernel["packages"] {
  const fresh = {
    headers: [...listed.packages.headers],
    crossTools: [...listed.packages.crossTools],
    image: [...listed.packages.image],
    modules: [...listed.packages.modules],
  };
  if (before === undefined) return fresh;
  const pin = (now: CatalogKernel["packages"]["headers"], then: CatalogKernel["packages"]["headers"]) =>
    now.map(
      (one) =>
        then.find(
          (old) =>
            old.name === one.name &&
            old.architecture === one.architecture &&
            isBuildTool(old) &&
            worth([old]) >= worth([one]),
        ) ?? one,
    );
  return {
    ...fresh,
    headers: pin(fresh.headers, before.packages.headers),
    crossTools: pin(fresh.crossTools, before.packages.crossTools),
  };
}

/** What the sources of packages are worth. */
type Worth = (packages: readonly Package[]) => number;

const VOUCHED = 3;

/** 0: any bytes could be these packages; 1: only some bytes; then what a repository says, and what somebody vouches for. */
function reliability({ headers }: { readonly headers: readonly Package[] }, worth: Worth): number {
  if (headers.length === 0 || headers.some(({ sha256 }) => sha256 === undefined)) return 0;
  return 1 + worth(headers);
}

function absent(
  before: CatalogKernel,
  state: ReadonlyMap<string, CatalogSource>,
  now: string,
): CatalogKernel {
  if (before.sources.some((id) => !state.has(id))) return before; // Somebody who was not asked may still list it.
  const doubtful = before.sources.some((id) => {
    const status = state.get(id)?.status;
    return status === "failed" || status === "suspect" || status === "expired";
  });
  if (doubtful) return { ...before, staleSince: before.staleSince ?? now };
  const { staleSince: _, ...rest } = before;
  return { ...rest, withdrawnSince: before.withdrawnSince ?? now };
}

function mergeGuests(previous: readonly GuestTools[], report: ReleaseReport): GuestTools[] {
  const old = previous.filter(
    (guest) =>
      guest.distribution === report.distribution &&
      !report.guests.some((fresh) => fresh.architecture === guest.architecture),
  );
  return [...old, ...report.guests].toSorted((a, b) => (a.architecture < b.architecture ? -1 : 1));
}

/** How many kernels each architecture has in a listing. */
export function countByArchitecture(
  kernels: readonly { architecture: ArchitectureName }[],
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { architecture } of kernels) counts[architecture] = (counts[architecture] ?? 0) + 1;
  return counts;
}

/**
 * Adds another catalog, as it is. What both know stays as the first knows it; what only the other knows comes with the
 * sources that tell where its packages are, and with what was learned of it.
 */
export function uniteCatalogs(ours: Described, theirs: Described): Described {
  const known = new Set(ours.catalog.kernels.map(kernelName));
  const isFresh = (one: KernelId) => !known.has(kernelName(one));
  const addedBy = <T>(own: readonly T[], other: readonly T[], key: (value: T) => string): T[] => {
    const keys = new Set(own.map(key));
    return [...own, ...other.filter((value) => !keys.has(key(value)))];
  };
  const catalog: Catalog = {
    schema: "kmodfarm.catalog/1",
    sources: addedBy(ours.catalog.sources, theirs.catalog.sources, ({ id }) => id).toSorted((a, b) =>
      a.id < b.id ? -1 : 1,
    ),
    guests: addedBy(
      ours.catalog.guests,
      theirs.catalog.guests,
      ({ distribution, architecture }) => `${distribution}/${architecture}`,
    ),
    kernels: [...ours.catalog.kernels, ...theirs.catalog.kernels.filter(isFresh)].toSorted(compareKernels),
  };
  return { catalog, facts: withAllLearned(ours.facts, theirs.facts.filter(isFresh)) };
}

/** Stands before the ids of sources that only others' catalogs speak of; no source of our own has such an id. */
const IMPORTED = "import:";

/**
 * Another farm's catalog as what it is to us: claims. It names sources as it likes, ours too, so these get ids and a kind of
 * their own. What it says of guests, and of the content of packages, is left out: it would decide load tests, and which
 * compiler is used for packages that their repository lists later.
 */
export function asClaims({ catalog }: Described): Described {
  const { sources, kernels } = catalog;
  const claimed = {
    ...catalog,
    sources: sources.map(importedSource),
    guests: [],
    kernels: kernels.map(importedKernel),
  };
  return { catalog: claimed, facts: [] };
}

/** When another farm looked says nothing of when we did. */
function importedSource({
  trusted: _,
  unsigned: __,
  since: ___,
  id,
  ...source
}: CatalogSource): CatalogSource {
  return { ...source, id: importedId(id), kind: "import" };
}

function importedKernel(imported: CatalogKernel): CatalogKernel {
  const { packages, sources, unseenAt: _, firstListed: __, arrived: ___, ...kernel } = imported;
  const { headers, crossTools, image, modules } = packages;
  const named = (all: readonly Package[]) => all.map((one) => ({ ...one, source: importedId(one.source) }));
  return {
    ...kernel,
    packages: {
      headers: named(headers),
      crossTools: named(crossTools),
      image: named(image),
      modules: named(modules),
    },
    sources: sources.map(importedId),
  };
}

function importedId(id: string): string {
  return id.startsWith(IMPORTED) ? id : `${IMPORTED}${id}`;
}
