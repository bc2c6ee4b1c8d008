/**
 * A whole kernel list: what its entries make, what of them was dropped and why, and what it says to a catalog
 * that may have seen it before. A list is one source per distribution release, so that each is judged alone.
 */
import { cut } from "../base/copied.ts";
import { FarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import type { CrawlerName, ListedKernel } from "../kernel/distributions/distribution.ts";
import { type KernelId, kernelName } from "../kernel/kernel.ts";
import { nameFault } from "../kernel/nameable.ts";
import { distributionOfTarget, partsOfRelease } from "../kernel/release-rules.ts";
import { type Catalog, type CatalogKernel, type CatalogSource, sinceOf } from "./catalog.ts";
import {
  ARCHITECTURE_UNKNOWN,
  keepingUrls,
  kernelsOfEntry,
  type ListEntry,
  type PlacedKernel,
} from "./list-entry.ts";
import { countByArchitecture, type ReleaseReport, SUSPICIOUS_COUNT, SUSPICIOUS_SHARE } from "./merge.ts";

/** The source that a list is for one distribution release. */
function sourceOfList(list: string, distribution: string): string {
  return `${list}/${distribution}`;
}

export function isOfList(list: string, source: string): boolean {
  return source.startsWith(sourceOfList(list, ""));
}

export interface KernelList {
  /** The same every night: what was seen under it before is what may be missed now. */
  readonly id: string;
  readonly url: string;
  /** A person vouches for its digests. */
  readonly isTrusted: boolean;
  readonly entries: number;
  /** Sorted; each names its source `<list id>/<distribution release>`. */
  readonly kernels: readonly PlacedKernel[];
  readonly dropped: readonly Dropped[];
  /** What each entry names, by the list's own key: for comparing lists; empty unless requested. */
  readonly entriesByKey: ReadonlyMap<string, EntrySignature>;
}

/** An entry's URLs, and the names of their files: digests of the sets, not the sets. */
export interface EntrySignature {
  readonly target: string;
  readonly headers: number;
  readonly urls: string;
  readonly files: string;
}

/** Entries that no kernel could be made of. */
interface Dropped {
  readonly reason: string;
  readonly count: number;
  readonly examples: readonly string[];
}

export interface ListOptions {
  readonly url: string;
  readonly name?: string | undefined;
  /** Architecture of entries that do not show theirs; default: that of all the others. */
  readonly architecture?: ArchitectureName | undefined;
  readonly isTrusted?: boolean | undefined;
  /** Whether to keep what each entry names, which a list of many entries makes costly. */
  readonly keepEntries?: boolean | undefined;
}

/** Twenty times what all distributions together have ever published. */
const MOST = {
  entries: 200_000,
  URLs: 300_000,
  kernels: 200_000,
  packages: 1_000_000,
  /** Each is a source of its own in the catalog. Flatcar alone has many hundreds. */
  "distribution releases": 5_000,
} as const;
const EXAMPLES = 3;
const EXAMPLE_CHARACTERS = 100;

/** Takes entries as they are read. */
export class ListCollector {
  readonly #options: ListOptions;
  readonly #kernels = new Map<string, PlacedKernel>();
  /** What others say of where a kernel is, by its name. */
  readonly #moreUrls = new Map<string, Set<string>>();
  readonly #releases = new Set<string>();
  readonly #dropped = new Map<string, { count: number; examples: string[] }>();
  /** Entries that wait until the architecture of the list is known. */
  readonly #waiting: { entry: ListEntry; where: string }[] = [];
  readonly #byKey = new Map<string, EntrySignature>();
  #entries = 0;
  #read = 0;
  #urls = 0;
  #packages = 0;

  constructor(options: ListOptions) {
    this.#options = options;
  }

  /** @throws FarmError DOCUMENT_INVALID for a list that has more than any honest one */
  add(entry: ListEntry, where: string): void {
    this.#count();
    this.#read++;
    this.#urls += entry.headers.length;
    if (this.#urls > MOST.URLs) throw this.#tooMany("URLs");
    if (this.#options.keepEntries) this.#byKey.set(crawlerKey(entry), signatureOf(entry));
    this.#make(entry, where, this.#options.architecture, true);
  }

  /** @throws FarmError DOCUMENT_INVALID, likewise */
  drop(reason: string, where: string): void {
    this.#count();
    this.#drop(reason, where);
  }

  /** @throws FarmError DOCUMENT_INVALID where there is no entry, or not one that could be read */
  finish(format: string): KernelList {
    if (this.#entries === 0)
      throw new FarmError("DOCUMENT_INVALID", {
        detail: `${this.#options.url} is a ${format} list without a single entry`,
        hint: "A list that lost everything is not accepted, like a truncated one: fetch it again.",
      });
    const [[reason, { examples }] = ["", { examples: [] }]] = this.#dropped;
    if (this.#read === 0) {
      const detail = `${this.#options.url} is not a ${format} list: ${examples[0]} ${reason}`;
      throw new FarmError("DOCUMENT_INVALID", { detail });
    }
    const architectures = new Set([...this.#kernels.values()].map((kernel) => kernel.architecture));
    const only = architectures.size === 1 ? [...architectures][0] : undefined;
    for (const { entry, where } of this.#waiting) this.#make(entry, where, only, false);
    const id = this.#options.name ?? (only === undefined ? format : `${format}-${only}`);
    return {
      id,
      url: this.#options.url,
      isTrusted: this.#options.isTrusted ?? false,
      entries: this.#entries,
      kernels: [...this.#kernels]
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, kernel]) => {
          const more = this.#moreUrls.get(name);
          const whole = more === undefined ? kernel : keepingUrls(kernel, [...more]);
          return ofSource(whole, sourceOfList(id, kernel.distribution));
        }),
      dropped: [...this.#dropped]
        .map(([reason, rest]) => ({ reason, ...rest }))
        .toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
      entriesByKey: this.#byKey,
    };
  }

  #count(): void {
    if (++this.#entries > MOST.entries) throw this.#tooMany("entries");
  }

  #tooMany(what: keyof typeof MOST): FarmError {
    return new FarmError("DOCUMENT_INVALID", {
      detail: `${this.#options.url} has more than ${MOST[what]} ${what}, which no honest list has`,
      hint: "None of it was used. Do not trust the list, or split it.",
    });
  }

  #make(entry: ListEntry, where: string, architecture: ArchitectureName | undefined, mayWait: boolean): void {
    const made = kernelsOfEntry(entry, architecture);
    if (made.kind === "kernels")
      for (const kernel of made.kernels) {
        const fault = nameFault(kernel);
        if (fault === undefined) this.#keep(kernel);
        else this.#drop(fault, `${where} ${entry.kernelrelease}`);
      }
    else if (mayWait && made.reason === ARCHITECTURE_UNKNOWN) this.#waiting.push({ entry, where });
    else this.#drop(made.reason, `${where} ${entry.kernelrelease}`);
  }

  /**
   * Several entries may name one kernel: the one that says most of it counts, else the first by name. It keeps what the
   * others name too.
   */
  #keep(kernel: PlacedKernel): void {
    const name = kernelName(kernel);
    const known = this.#kernels.get(name);
    const rank = ({ missing, unbuildable, crawler }: PlacedKernel) =>
      `${unbuildable === undefined ? 0 : 1} ${missing.length} ${crawlerKey(crawler)}`;
    const isKnownBetter = known !== undefined && rank(kernel) >= rank(known);
    const other = isKnownBetter ? kernel : known;
    if (other !== undefined) {
      const more = this.#moreUrls.get(name) ?? new Set();
      this.#moreUrls.set(name, more);
      for (const url of urlsOf(other)) more.add(url);
    }
    if (isKnownBetter) return;
    this.#kernels.set(name, kernel);
    this.#releases.add(kernel.distribution);
    if (this.#releases.size > MOST["distribution releases"]) throw this.#tooMany("distribution releases");
    this.#packages += kernel.packages.headers.length - (known?.packages.headers.length ?? 0);
    if (this.#kernels.size > MOST.kernels) throw this.#tooMany("kernels");
    if (this.#packages > MOST.packages) throw this.#tooMany("packages");
  }

  #drop(reason: string, where: string): void {
    const known = this.#dropped.get(reason) ?? { count: 0, examples: [] };
    known.count++;
    if (known.examples.length < EXAMPLES) known.examples.push(cut(where, EXAMPLE_CHARACTERS));
    this.#dropped.set(reason, known);
  }
}

function urlsOf({ packages, crawler }: PlacedKernel): string[] {
  return [...packages.headers.map(({ path }) => path), ...(crawler.urls ?? [])];
}

function signatureOf({ target, headers }: ListEntry): EntrySignature {
  const digest = (values: readonly string[]) => sha256([...new Set(values)].sort().join("\n"));
  const files = headers.map((url) => url.slice(url.lastIndexOf("/") + 1));
  return { target, headers: headers.length, urls: digest(headers), files: digest(files) };
}

function ofSource(kernel: PlacedKernel, source: string): PlacedKernel {
  const headers = kernel.packages.headers.map((one) => ({ ...one, source }));
  return { ...kernel, packages: { ...kernel.packages, headers }, sources: [source] };
}

/** The list's own key of an entry: what Falco's tools look a kernel up by. */
export function crawlerKey({ target, kernelrelease, kernelversion }: CrawlerName): string {
  return `${target} ${kernelrelease} ${kernelversion}`;
}

/**
 * What the list says of each distribution release, those it has no more included: a release that vanished
 * is a loss, not silence.
 */
export function reportsOfList(
  list: KernelList,
  previous: Catalog,
  now: string,
  acceptWithdrawals = false,
): ReleaseReport[] {
  const isOwn = (id: string) => isOfList(list.id, id);
  const before = previous.sources.filter(({ id }) => isOwn(id));
  const known = Map.groupBy(
    previous.kernels.filter(({ sources }) => sources.some(isOwn)),
    ({ distribution }) => distribution,
  );
  const earlier = new Map(before.map((source) => [source.id, source]));
  const listed = Map.groupBy(list.kernels, ({ distribution }) => distribution);
  const keys = new Set(list.kernels.map(({ crawler }) => stableKey(crawler)));
  const releases = new Set([...listed.keys(), ...before.map(({ distribution }) => distribution)]);
  const vanished = acceptWithdrawals ? new Map<string, string>() : vanishedReleases(releases, listed, known);
  return [...releases].toSorted().map((distribution) => {
    const id = sourceOfList(list.id, distribution);
    const kernels = withRotatedFlavours(
      listed.get(distribution) ?? [],
      known.get(distribution) ?? [],
      keys,
      id,
    );
    const loss = vanished.get(distribution);
    const source: CatalogSource = {
      id,
      kind: "kernel-crawler",
      distribution,
      url: list.url,
      status: loss === undefined ? "ok" : "suspect",
      ...(list.isTrusted ? { trusted: true as const } : {}),
      ...(loss === undefined ? {} : { detail: loss }),
      checkedAt: now,
      since: sinceOf(id, earlier.get(id), { kernels: known.get(distribution) ?? [] }, now),
      kernels: countByArchitecture(kernels),
      cadence: [],
    };
    return { distribution, sources: [source], kernels, guests: [] };
  });
}

/** Without what formats changed over the years: photonOS became photon, oracle7 became ol. */
function stableKey(name: CrawlerName): string {
  return crawlerKey({ ...name, target: distributionOfTarget(name.target) });
}

/**
 * An entry that is still there has lost nothing. kernel-crawler names one flavour of Photon's kernels at
 * random, so those that it named before stay listed as long as their entry does.
 */
function withRotatedFlavours(
  listed: readonly PlacedKernel[],
  known: readonly CatalogKernel[],
  keys: ReadonlySet<string>,
  id: string,
): ListedKernel[] {
  const names = new Set(listed.map(kernelName));
  const rotated = known.filter(
    (kernel) =>
      kernel.crawler !== undefined &&
      kernel.sources.includes(id) &&
      keys.has(stableKey(kernel.crawler)) &&
      !names.has(kernelName(kernel)),
  );
  return [
    ...listed.map(({ distribution: _, ...kernel }) => kernel),
    ...rotated.map((kernel) => relisted(kernel, id)),
  ];
}

function relisted(kernel: CatalogKernel, id: string): ListedKernel {
  const {
    kversion,
    packageVersion,
    architecture,
    flavour,
    compiler,
    packages,
    inferred,
    unbuildable,
    crawler,
  } = kernel;
  return {
    ...{ kversion, packageVersion, architecture, flavour, compiler, packages },
    missing: kernel.missing ?? [],
    sources: [id],
    ...(inferred === undefined ? {} : { inferred }),
    ...(unbuildable === undefined ? {} : { unbuildable }),
    ...(crawler === undefined ? {} : { crawler }),
  };
}

/**
 * Distributions that are images have one kernel a release, so no release of theirs can lose two. Where such
 * releases are no longer listed, their kernels count together, against the whole distribution.
 */
function vanishedReleases(
  releases: ReadonlySet<string>,
  listed: ReadonlyMap<string, readonly KernelId[]>,
  known: ReadonlyMap<string, readonly CatalogKernel[]>,
): ReadonlyMap<string, string> {
  const had = (release: string) =>
    (known.get(release) ?? []).filter(({ withdrawnSince }) => withdrawnSince === undefined).length;
  const found = new Map<string, string>();
  for (const [id, group] of Map.groupBy(releases, (release) => partsOfRelease(release).id)) {
    const gone = group.filter(
      (release) => !listed.has(release) && had(release) > 0 && had(release) < SUSPICIOUS_COUNT,
    );
    const [lost, all] = [gone, group].map((some) => some.reduce((sum, release) => sum + had(release), 0)) as [
      number,
      number,
    ];
    if (lost < SUSPICIOUS_COUNT || lost < all * SUSPICIOUS_SHARE) continue;
    const detail = `${gone.length} releases of ${id} with ${lost} of its ${all} kernels are gone at once`;
    for (const release of gone) found.set(release, detail);
  }
  return found;
}

/** A list that changed how it says things, which is no news about any kernel. */
export interface FormatChange {
  readonly source: string;
  readonly kernels: number;
  readonly detail: string;
}

/** Half of a release's kernels said otherwise in the same way is a new format, not as many events. */
export function formatChangesOf(list: KernelList, previous: Catalog): FormatChange[] {
  const known = new Map(previous.kernels.map((kernel) => [kernelName(kernel), kernel]));
  const groups = Map.groupBy(list.kernels, ({ distribution }) => sourceOfList(list.id, distribution));
  return [...groups].flatMap(([source, kernels]) => {
    const pairs = kernels.flatMap((now) => {
      const before = known.get(kernelName(now));
      return before?.sources.includes(source) ? [{ before, now }] : [];
    });
    return FORMAT_CHANGES.flatMap(([detail, isChange]) => {
      const changed = pairs.filter(({ before, now }) => isChange(before, now)).length;
      return changed > 0 && changed * 2 >= pairs.length ? [{ source, kernels: changed, detail }] : [];
    });
  });
}

const FORMAT_CHANGES: readonly (readonly [string, (before: CatalogKernel, now: PlacedKernel) => boolean])[] =
  [
    ["header packages are named now", (before, now) => hasHeaders(now) && !hasHeaders(before)],
    ["header packages are no longer named", (before, now) => hasHeaders(before) && !hasHeaders(now)],
    [
      "kernels have different names",
      (before, now) => before.crawler !== undefined && crawlerKey(before.crawler) !== crawlerKey(now.crawler),
    ],
  ];

function hasHeaders({ packages }: Pick<PlacedKernel, "packages">): boolean {
  return packages.headers.length > 0;
}

/** The architecture that a list's file name or URL carries: `…_x86_64.json.gz`, `/aarch64/list.json`. */
export function architectureOfPlace(place: string): ArchitectureName | undefined {
  const found = ArchitectureName.options.filter((name) =>
    place.split(/[/\s]/).slice(-2).join("/").includes(name),
  );
  return found.length === 1 ? found[0] : undefined;
}
