/**
 * The farm's own part of the gap: from a kernel's upload to where its modules are. What a source listed at its first answer
 * has been there nobody knows how long: it is counted, and left out.
 */
import type { CatalogKernel } from "../catalog/catalog.ts";
import { kernelName } from "../kernel/kernel.ts";
import type { HistoryEntry } from "../registry/documents.ts";
import type { Day } from "./records.ts";
import { type Observation, type Summary, summarize } from "./statistics.ts";

export interface OwnStage extends Summary {
  readonly stage: string;
}

const DAY_MS = 86_400_000;
/** Of one driver series on one kernel, in the order in which they happen. */
const MOMENTS = ["built", "loaded", "stable", "node"] as const;

export function ownStages(
  kernels: readonly CatalogKernel[],
  uploadedOf: (kernel: CatalogKernel) => Day | undefined,
  history: readonly HistoryEntry[],
  now: Date,
): OwnStage[] {
  const known = new Map(kernels.map((kernel) => [kernelName(kernel), kernel]));
  const moments = history.map((entry) => ({ entry, seen: known.get(entry.kernel)?.firstSeen }));
  const between = (stage: string, from: Moment, to: Moment) => {
    const pairs = moments.map(
      ({ entry, seen }) => [from === "seen" ? seen : entry[from], entry[to as "built"]] as const,
    );
    return { stage, ...summarize(pairs.flatMap(([start, end]) => duration(start, end, now))) };
  };
  return [
    {
      stage: "upload to first seen",
      ...summarize(kernels.flatMap((one) => appearance(one, uploadedOf(one)))),
    },
    {
      stage: "listed to first seen",
      ...summarize(kernels.flatMap((one) => appearance(one, one.firstListed))),
    },
    between("first seen to built", "seen", "built"),
    ...MOMENTS.slice(1).map((to, index) => {
      const from = MOMENTS[index] as Moment;
      return between(`${from} to ${to}`, from, to);
    }),
  ];
}

type Moment = "seen" | (typeof MOMENTS)[number];

/** A kernel was there at some time between the look that did not list it and the one that did. */
function appearance({ unseenAt, firstSeen }: CatalogKernel, since: string | undefined): Observation[] {
  if (unseenAt === undefined) return [{ kind: "unseen" }];
  if (since === undefined) return [];
  return [{ kind: "interval", after: daysBetween(since, unseenAt), before: daysBetween(since, firstSeen) }];
}

function duration(from: string | undefined, to: string | undefined, now: Date): Observation[] {
  if (from === undefined) return [];
  if (to === undefined) return [{ kind: "open", days: daysBetween(from, now.toISOString()) }];
  return [{ kind: "exact", days: daysBetween(from, to) }];
}

function daysBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / DAY_MS;
}
