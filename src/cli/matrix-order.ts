/**
 * Matrices that begin with the kernels that close the most.
 */
import type { Described } from "../catalog/annotated.ts";
import type { FarmConfig } from "../farm/config/index.ts";
import { type GapOrder, openGapOrder } from "../farm/gap/order.ts";
import { kernelName } from "../kernel/kernel.ts";
import type { Element } from "../matrix/element.ts";
import { readPublished } from "../registry/generations.ts";
import { openStore } from "../registry/stores/index.ts";
import { say } from "./output.ts";

/** How many kernels are named that come first. */
const NAMED = 5;

/** Puts elements in the order of what the store's feeds say of their kernels; those that matter as much stay as they are. */
export async function gapOrdered(
  { store: place }: Pick<FarmConfig, "store">,
  described?: Described,
): Promise<(elements: readonly Element[], isTold?: boolean) => Element[]> {
  const store = await openStore(place);
  try {
    const order = await openGapOrder(store, { ...(await readPublished(store)), ...described }, new Date());
    if (order.date === undefined)
      say("order: no feed has CVEs, so it goes by age; `kmodfarm gap ingest` reads feeds");
    return (elements, isTold = false) => {
      const groups = [...Map.groupBy(elements, (element) => order.rankOf(element))];
      const ordered = groups.toSorted(([a], [b]) => b - a).flatMap(([, group]) => group);
      if (isTold && order.date !== undefined) for (const line of firstOf(ordered, order)) say(line);
      return ordered;
    };
  } finally {
    await store.close();
  }
}

function firstOf(ordered: readonly Element[], order: GapOrder): string[] {
  const first = new Map<string, Element>();
  for (const element of ordered) {
    if (first.size === NAMED) break;
    first.set(kernelName(element), element);
  }
  return [...first].map(
    ([name, element]) => `order: ${name} ${order.whyOf(element) ?? "is not in the catalog"}`,
  );
}
