/**
 * The changelogs of Debian-like kernels: when each version was uploaded, and what it took in. The newest one of a source
 * package has all of its older uploads, so a few packages of a megabyte say it of a whole archive.
 */
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { FarmError, toFarmError } from "../../base/error.ts";
import { type Catalog, type CatalogKernel, compareKernels } from "../../catalog/catalog.ts";
import { type Changelog, type ChangelogEntry, readDebChangelog } from "../../formats/deb-changelog.ts";
import type { Inputs } from "../../inputs/inputs.ts";
import { packageFormat } from "../../inputs/package-format.ts";
import { upstreamOfPackage } from "../../kernel/base.ts";
import { findRelease } from "../../kernel/distributions/index.ts";
import {
  changelogFacts,
  factsOf,
  fetchingFacts,
  type KernelFacts,
  type KnownFacts,
} from "../../kernel/facts.ts";
import { kernelName, type Package } from "../../kernel/kernel.ts";

/** A changelog as it was found. */
interface FoundChangelog {
  /** `changelog/debian12/linux/6.1` */
  readonly feed: string;
  readonly distribution: string;
  /** The package that it was in. */
  readonly from: Package;
  readonly changelog: Changelog;
}

export interface LearnedChangelogs {
  readonly found: readonly FoundChangelog[];
  readonly facts: readonly KernelFacts[];
  /** How many kernels have no packages on their mirror, as far as anybody asked. */
  readonly unfetchable: number;
  /** Kernels whose packages could not be read this time. */
  readonly failed: readonly { readonly kernel: string; readonly error: FarmError }[];
}

/** Learns it of every listed kernel of which it is not known yet. */
export async function learnChangelogs(
  catalog: Catalog,
  known: KnownFacts,
  inputs: Pick<Inputs, "stream">,
  now: Date,
  signal: AbortSignal,
): Promise<LearnedChangelogs> {
  const wanted = catalog.kernels
    .filter((kernel) => isWanted(kernel, known))
    .toSorted(compareKernels)
    .reverse();
  const [found, facts, failed] = [
    new Map<string, FoundChangelog>(),
    [] as KernelFacts[],
    [] as LearnedChangelogs["failed"][number][],
  ];
  let unfetchable = 0;
  const done = new Set<CatalogKernel>();
  for (const kernel of wanted) {
    if (done.has(kernel)) continue;
    done.add(kernel);
    const { distribution } = kernel;
    try {
      const one = await changelogOf(kernel, inputs, signal);
      const [newest] = one?.changelog.entries ?? [];
      if (one === undefined || newest === undefined) {
        facts.push(...learned(kernel, {}));
        continue;
      }
      const feed = feedName(distribution, newest);
      const entries = new Map(one.changelog.entries.map((entry) => [entry.version, entry]));
      const isNewer = !found.has(feed);
      if (isNewer) found.set(feed, { feed, distribution, ...one });
      for (const other of wanted) {
        if (other.distribution !== distribution || (done.has(other) && other !== kernel)) continue;
        const entry = entries.get(other.packageVersion);
        const parent = entry ?? entries.get(withoutRebuild(other.packageVersion));
        if (parent === undefined && other !== kernel) continue;
        done.add(other);
        facts.push(
          ...learned(other, parent === undefined ? {} : { source: parent.source, feed, ...dayOf(entry) }),
        );
      }
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code === "INTERRUPTED") throw error;
      if (error.code === "NOT_FETCHABLE") {
        unfetchable++;
        facts.push(fetchingFacts(kernel, "notFetchable", now.toISOString()));
      } else failed.push({ kernel: kernelName(kernel), error });
    }
  }
  return { found: [...found.values()], facts, unfetchable, failed };
}

function isWanted(kernel: CatalogKernel, known: KnownFacts): boolean {
  const { changelog, fetching } = factsOf(known, kernel);
  return (
    findRelease(kernel.distribution)?.format === "deb" &&
    kernel.withdrawnSince === undefined &&
    kernel.packages.headers.length > 0 &&
    changelog === undefined &&
    fetching?.notFetchableSince === undefined
  );
}

function learned(kernel: CatalogKernel, said: Parameters<typeof changelogFacts>[1]): KernelFacts[] {
  const facts = changelogFacts(kernel, said);
  return facts === undefined ? [] : [facts];
}

function dayOf(entry: ChangelogEntry | undefined): { uploaded?: string } {
  return entry?.day === undefined ? {} : { uploaded: entry.day };
}

/** `6.12.90-2~bpo12+1` is a rebuild of 6.12.90-2, and has what that has. */
function withoutRebuild(version: string): string {
  return version.replace(/~(?:bpo\d+\+\d+|deb\d+u\d+)$/, "");
}

function feedName(distribution: string, { source, version }: ChangelogEntry): string {
  const series = /^\d+\.\d+/.exec(upstreamOfPackage(version) ?? "")?.[0] ?? "other";
  return `changelog/${distribution}/${source}/${series}`;
}

/** From the smallest package that has it as a file: of most there is only a link. */
async function changelogOf(
  { packages }: CatalogKernel,
  inputs: Pick<Inputs, "stream">,
  signal: AbortSignal,
): Promise<Pick<FoundChangelog, "from" | "changelog"> | undefined> {
  const { headers, crossTools } = packages;
  const candidates = [...headers, ...crossTools]
    .filter(({ size, sha256 }) => size !== undefined && sha256 !== undefined)
    .toSorted((a, b) => (a.size ?? 0) - (b.size ?? 0));
  let fault: unknown;
  for (const from of candidates) {
    const path = `usr/share/doc/${from.name}/changelog.Debian.gz`;
    try {
      const files = await inputs.stream(
        from,
        (body) =>
          packageFormat(from).readFiles(
            body,
            (one) => one === path,
            ({ length }) => length > 0,
          ),
        signal,
      );
      const [file] = files;
      if (file !== undefined)
        return { from, changelog: await readPacked(file.content, `${from.name} ${from.version}`) };
    } catch (thrown) {
      if (toFarmError(thrown).code === "INTERRUPTED") throw thrown;
      fault ??= thrown;
    }
  }
  if (fault !== undefined) throw fault;
  return undefined;
}

async function readPacked(packed: Buffer, what: string): Promise<Changelog> {
  const text = Readable.from([packed]).pipe(createGunzip());
  try {
    return await readDebChangelog(text as AsyncIterable<Buffer>, what);
  } catch (thrown) {
    if (thrown instanceof FarmError) throw thrown;
    throw new FarmError("PACKAGE_MALFORMED", {
      detail: `the changelog of ${what} cannot be unpacked`,
      cause: thrown,
    });
  } finally {
    text.destroy();
  }
}
