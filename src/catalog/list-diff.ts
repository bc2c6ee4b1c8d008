/**
 * The difference of two kernel lists as their publisher sees it, by the lists' own keys: which entries came and
 * went, and of those that look other, which only lie elsewhere.
 */
import { distributionOfTarget } from "../kernel/release-rules.ts";
import type { EntrySignature, KernelList } from "./kernel-list.ts";

export interface ListDiff {
  /** `target kernelrelease kernelversion` */
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** Other URLs of files with the same names: a mirror, a new publication of the same packages. */
  readonly moved: readonly string[];
  /** Other files. */
  readonly changed: readonly string[];
  readonly unchanged: number;
  /** Distributions whose entries changed their format; nothing new about any kernel. */
  readonly formatChanges: readonly ListFormatChange[];
}

interface ListFormatChange {
  readonly distribution: string;
  readonly entries: number;
  readonly detail: string;
}

type Entries = KernelList["entriesByKey"];

export function diffLists(previous: KernelList, current: KernelList): ListDiff {
  const [before, after] = [previous.entriesByKey, current.entriesByKey];
  const [moved, changed]: [string[], string[]] = [[], []];
  for (const [key, now] of after) {
    const then = before.get(key);
    if (then === undefined || then.urls === now.urls) continue;
    (then.files === now.files ? moved : changed).push(key);
  }
  const added = [...after.keys()].filter((key) => !before.has(key));
  const removed = [...before.keys()].filter((key) => !after.has(key));
  const unchanged = after.size - added.length - moved.length - changed.length;
  const formatChanges = [...headersOrNot(before, after), ...renamed(before, after, added, removed)];
  return { added, removed, moved, changed, unchanged, formatChanges };
}

/** A distribution none of whose entries named header packages, and that now does, or the other way round. */
function headersOrNot(before: Entries, after: Entries): ListFormatChange[] {
  const [then, now] = [before, after].map(byDistribution) as [Grouped, Grouped];
  return [...now].flatMap(([distribution, entries]) => {
    const old = then.get(distribution) ?? [];
    const [had, has] = [old, entries].map((some) => some.filter(({ headers }) => headers > 0).length) as [
      number,
      number,
    ];
    if (old.length === 0 || (had === 0) === (has === 0)) return [];
    const detail = had === 0 ? "header packages are named now" : "header packages are no longer named";
    return [{ distribution, entries: entries.length, detail }];
  });
}

type Grouped = ReadonlyMap<string, readonly EntrySignature[]>;

function byDistribution(entries: Entries): Grouped {
  return Map.groupBy(entries.values(), ({ target }) => distributionOfTarget(target));
}

/** Entries that name the very files that entries of another key named. */
function renamed(
  before: Entries,
  after: Entries,
  added: readonly string[],
  removed: readonly string[],
): ListFormatChange[] {
  const filesOf = ({ target, files }: EntrySignature) => `${distributionOfTarget(target)} ${files}`;
  const gone = removed.flatMap((key) => before.get(key) ?? []);
  const files = new Set(gone.filter(({ headers }) => headers > 0).map(filesOf));
  const same = added.flatMap((key) => after.get(key) ?? []).filter((entry) => files.has(filesOf(entry)));
  return [...Map.groupBy(same, ({ target }) => distributionOfTarget(target))].map(
    ([distribution, entries]) => ({
      distribution,
      entries: entries.length,
      detail: "the same header packages have different names",
    }),
  );
}
