/**
 * What is built first where fixes count: the kernels that close the most for nodes that run what is stable today.
 */
import { type CatalogKernel, compareKernels } from "../../catalog/catalog.ts";
import { Gap } from "../../gap/gap.ts";
import { reasonOf, type Score, scoreOf } from "../../gap/order.ts";
import { factsByKernel } from "../../kernel/facts.ts";
import { type KernelId, kernelName } from "../../kernel/kernel.ts";
import type { Published } from "../../registry/documents.ts";
import type { Store } from "../../registry/stores/store.ts";
import { readBook } from "./stored-book.ts";
import { targetOf } from "./targets.ts";

/** Kernels by how much they matter. */
export interface GapOrder {
  /** The day up to which CVEs are known. */
  readonly date: string | undefined;
  /** How many ranks there are. */
  readonly ranks: number;
  /** The higher, the sooner; the same for kernels that matter as much. */
  rankOf(kernel: KernelId): number;
  scoreOf(kernel: KernelId): Score | undefined;
  whyOf(kernel: KernelId): string | undefined;
}

/** @throws FarmError STORE_CORRUPT */
export async function openGapOrder(
  store: Store,
  { feeds, catalog, facts, history }: Pick<Published, "feeds" | "catalog" | "facts" | "history">,
  now: Date,
): Promise<GapOrder> {
  const book = await readBook(store, feeds);
  const [gap, known] = [new Gap(book), factsByKernel(facts)];
  const stable = new Set(
    history.flatMap(({ kernel, stable: since }) => (since === undefined ? [] : [kernel])),
  );
  const targets = new Map(catalog.kernels.map((kernel) => [kernel, targetOf(kernel, known)]));
  gap.prepare(targets.values());
  const target = (kernel: CatalogKernel) => targets.get(kernel) ?? targetOf(kernel, known);
  // Flavours and architectures of one upload have the same fixes.
  const pairs = new Map<string, string[]>();
  const closes = (newer: CatalogKernel, older: CatalogKernel) => {
    const key = [newer.distribution, newer.packageVersion, older.packageVersion].join("/");
    const found = pairs.get(key) ?? gap.closes(target(newer), target(older));
    pairs.set(key, found);
    return found;
  };
  const today = now.toISOString().slice(0, 10);
  // A kernel waits since it was first seen, but never for longer than the farm builds anything at all.
  const begun = history.flatMap(({ built }) => built ?? []).toSorted()[0] ?? now.toISOString();
  const scores = new Map<string, Score>();
  const groups = Map.groupBy(catalog.kernels, (kernel) => {
    const { distribution, architecture, flavour } = kernel;
    // Nobody goes from one series to the next by an update.
    return [distribution, architecture, flavour, targets.get(kernel)?.base?.series ?? ""].join("/");
  });
  for (const group of groups.values()) {
    const sorted = group.toSorted(compareKernels);
    // Where nothing is stable yet, nodes run whatever is oldest.
    const at = Math.max(
      0,
      sorted.findLastIndex((kernel) => stable.has(kernelName(kernel))),
    );
    const before = sorted[at] as CatalogKernel;
    for (const [index, kernel] of sorted.entries()) {
      const closed = index <= at ? [] : closes(kernel, before);
      const since = [kernel.firstSeen, begun].toSorted().at(-1)?.slice(0, 10) ?? today;
      scores.set(kernelName(kernel), scoreOf({ closes: closed, since, today }, book));
    }
  }
  const values = [...new Set([...scores.values()].map(({ value }) => value))].toSorted((a, b) => a - b);
  const ranks = new Map(values.map((value, rank) => [value, rank]));
  const scoreOfKernel = (kernel: KernelId) => scores.get(kernelName(kernel));
  return {
    date: book.feed.date,
    ranks: values.length,
    rankOf: (kernel) => ranks.get(scoreOfKernel(kernel)?.value ?? -1) ?? 0,
    scoreOf: scoreOfKernel,
    whyOf(kernel) {
      const score = scoreOfKernel(kernel);
      return score === undefined ? undefined : reasonOf(score);
    },
  };
}
