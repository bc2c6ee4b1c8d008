/**
 * History from before the store kept any: once, from the generations that are still there.
 */
import { toFarmError } from "../base/error.ts";
import type { HistoryEntry, Published } from "./documents.ts";
import { type Found, type GenerationPlace, history, readGeneration } from "./generations.ts";
import { historyAfter } from "./history.ts";
import { NOTHING_PUBLISHED } from "./parts.ts";

/** Whether artifacts were published before anything kept when. */
export function lacksHistory({ history: kept, indices }: Published): boolean {
  return kept.length === 0 && indices.some(({ stable, candidate }) => stable.length + candidate.length > 0);
}

/** What its generations and those before it tell; one that is damaged tells nothing, and keeps nobody from publishing. */
export async function historyBefore(
  store: GenerationPlace,
  { head }: Pick<Published, "head">,
): Promise<readonly HistoryEntry[]> {
  let [entries, known]: [readonly HistoryEntry[], Published] = [[], NOTHING_PUBLISHED];
  for (const found of await toldIn(store, head)) {
    const then = await unlessDamaged(() => readGeneration(store, found, known, isTold));
    if (then === undefined) continue;
    entries = historyAfter(entries, known, then);
    known = then;
  }
  return entries;
}

/** Generations in which something happened, oldest first. */
async function toldIn(store: GenerationPlace, head: Published["head"]): Promise<Found[]> {
  const all: Found[] = [];
  await unlessDamaged(async () => {
    for await (const found of history(store, head)) all.push(found);
  });
  return all.toReversed().filter(({ generation }) => {
    if (generation.schema === "kmodfarm.generation/1") return true;
    const { attempts, decisions } = generation.difference;
    return attempts + decisions > 0 || generation.number === 1;
  });
}

const isTold = (part: string) => /^(attempts|decisions|index|indices)\//.test(part);

async function unlessDamaged<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (thrown) {
    if (toFarmError(thrown).blame !== "integrity") throw thrown;
    return undefined;
  }
}
