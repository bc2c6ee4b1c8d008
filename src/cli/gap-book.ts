/** What commands of the patch gap know: from feeds and changelogs that a person names, or those of the store. */

import { counted } from "../base/counted.ts";
import { FarmError } from "../base/error.ts";
import { oneLine } from "../base/visible.ts";
import { type CatalogKernel, compareKernels, findKernel } from "../catalog/catalog.ts";
import type { ConfigPlaces } from "../farm/config/index.ts";
import { readBook } from "../farm/gap/stored-book.ts";
import { targetOf } from "../farm/gap/targets.ts";
import { readDebChangelog } from "../formats/deb-changelog.ts";
import { type Book, bookOf, type ReadFeed } from "../gap/book.ts";
import type { SourceChangelog } from "../gap/evidence/changelog.ts";
import { type Target, upstreamTarget } from "../gap/target.ts";
import { factsByKernel, factsOf } from "../kernel/facts.ts";
import { resolveNode } from "../kernel/node.ts";
import { parseUpstreamVersion } from "../kernel/upstream-version.ts";
import { type Kernels, readKernels } from "../registry/generations.ts";
import { readNamedFeed } from "./feed-input.ts";
import { openInput } from "./input.ts";
import { withStore } from "./options.ts";
import { say } from "./output.ts";

interface Named {
  readonly feed?: readonly string[];
  readonly changelog?: readonly string[];
}

/** @throws FarmError USAGE if no feed is named, and what reading them throws */
async function readNamedBook({ feed: feeds = [], changelog: changelogs = [] }: Named): Promise<Book> {
  if (feeds.length === 0)
    throw new FarmError("USAGE", {
      detail: "no feed is given",
      hint: "Name at least one that has CVEs: --feed cna=vulns.tar, --feed compact=cves.ndjson.gz.",
    });
  const read: ReadFeed[] = [];
  for (const feed of feeds) {
    const one = await readNamedFeed(feed);
    for (const { reason, count, first } of one.content.bad)
      say(oneLine(`${one.kind}: ${counted(count, "bad record")} left out: ${reason} (the first: ${first})`));
    // A list without a record that can be read is no list of nothing.
    if (one.content.records.length === 0)
      throw new FarmError("FEED_SUSPECT", {
        detail: `${feed} has no record that can be read, so it says nothing`,
        hint: "Look at the file, and at its kind: docs/feeds.md says what each kind reads.",
      });
    read.push(one);
  }
  const logs: SourceChangelog[] = [];
  for (const changelog of changelogs) logs.push(await readChangelog(changelog));
  return bookOf(read, logs);
}

async function readChangelog(text: string): Promise<SourceChangelog> {
  const [, distribution, place] = /^([a-z][a-z0-9.]*)=(.+)$/s.exec(text) ?? [];
  if (distribution === undefined || place === undefined)
    throw new FarmError("USAGE", {
      detail: `${JSON.stringify(text)} is not RELEASE=PLACE`,
      hint: "Write --changelog debian12=changelog.Debian.gz.",
    });
  await using input = await openInput(place);
  const { entries, isTrimmed } = await readDebChangelog(input.bytes, place);
  return { source: entries[0]?.source ?? "", distribution, isTrimmed, entries };
}

/** What is known, and the farm's own kernels where no feed was named. */
export interface Knowledge {
  readonly book: Book;
  readonly stored?: {
    readonly state: Kernels;
    readonly targetOf: (kernel: CatalogKernel) => Target;
    readonly uploadedOf: (kernel: CatalogKernel) => string | undefined;
  };
}

/**
 * What the named feeds say, or what the store's say of the kernels that it knows. `about` is the only CVE that is asked
 * for, where one is. @throws FarmError USAGE, STORE_MISSING
 */
export async function withKnowledge<T>(
  options: Named & ConfigPlaces,
  work: (known: Knowledge) => Promise<T>,
  about?: string,
): Promise<T> {
  if (options.feed !== undefined) return work({ book: await readNamedBook(options) });
  return withStore(options, async (store) => {
    const state = await readKernels(store);
    if (state.feeds.length === 0)
      throw new FarmError("USAGE", {
        detail: "the store has no feeds, and none is named",
        hint: "Read some with `kmodfarm gap ingest`, or name one that has CVEs: --feed cna=vulns.tar.",
      });
    const known = factsByKernel(state.facts);
    const book = await readBook(store, state.feeds, about);
    const stored = {
      state,
      targetOf: (kernel: CatalogKernel) => targetOf(kernel, known),
      uploadedOf: (kernel: CatalogKernel) => factsOf(known, kernel).changelog?.uploaded,
    };
    return work({ book, stored });
  });
}

/** A kernel of the store's catalog, a node that runs one, or a release of kernel.org. @throws FarmError USAGE, KERNEL_UNKNOWN, KERNEL_AMBIGUOUS */
export function targetNamed(name: string, { book, stored }: Knowledge): Target {
  const version = parseUpstreamVersion(name);
  if (version !== undefined) return upstreamTarget(name, version, book.releases.get(name));
  if (stored !== undefined)
    return targetOfNode(name, book, stored) ?? stored.targetOf(findKernel(stored.state.catalog, name));
  throw new FarmError("USAGE", {
    detail: `${JSON.stringify(name)} is neither a CVE nor an upstream release`,
    hint: "Write CVE-2024-26581, or 6.1.119. Kernels of distributions are known where the store has feeds.",
  });
}

/**
 * The kernel that a node was last seen with, as it runs there: its live patches count. Undefined for what no feed knows as
 * a node. @throws FarmError KERNEL_UNKNOWN, KERNEL_AMBIGUOUS
 */
function targetOfNode(
  name: string,
  { nodes, livePatches }: Book,
  { state: { catalog }, targetOf: toTarget }: NonNullable<Knowledge["stored"]>,
): Target | undefined {
  const kernel = kernelOfNode(name);
  if (kernel === undefined) return undefined;
  const target = toTarget(kernel);
  return { ...target, name: `${target.name} on ${name}`, node: { name, release: kernel.kversion } };

  function kernelOfNode(node: string): CatalogKernel | undefined {
    const seen = nodes.filter((one) => one.node === node);
    const last = seen.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at)).at(-1);
    if (last === undefined) {
      const patched = livePatches.filter((one) => one.node === node);
      const newest = patched.toSorted((a, b) => ((a.at ?? "") < (b.at ?? "") ? -1 : 1)).at(-1);
      return newest === undefined ? undefined : findKernel(catalog, newest.kernel);
    }
    const { release, version = "", machine = "x86_64" } = last;
    const answer = resolveNode(catalog.kernels, { release, version, machine });
    if (answer.kind === "found") return answer.kernel;
    throw new FarmError(answer.kind === "unknown" ? "KERNEL_UNKNOWN" : "KERNEL_AMBIGUOUS", {
      detail: `the node ${node} was last seen with a kernel that cannot be told: ${answer.reason}`,
    });
  }
}

/** The newest kernel of each distribution release and series, of one flavour and architecture. */
export function newestKernels({
  stored,
}: Knowledge): { readonly kernel: CatalogKernel; readonly target: Target }[] {
  if (stored === undefined) return [];
  const listed = stored.state.catalog.kernels.filter(({ withdrawnSince }) => withdrawnSince === undefined);
  const found = new Map<string, { kernel: CatalogKernel; target: Target }>();
  const place = ({ architecture, flavour }: CatalogKernel) =>
    Number(architecture === "x86_64") + 2 * Number(flavour === "generic");
  for (const kernel of listed.toSorted(compareKernels).toSorted((a, b) => place(a) - place(b))) {
    const target = stored.targetOf(kernel);
    found.set(`${kernel.distribution}/${target.base?.series ?? ""}`, { kernel, target });
  }
  return [...found.values()].toSorted((a, b) => compareKernels(a.kernel, b.kernel));
}
