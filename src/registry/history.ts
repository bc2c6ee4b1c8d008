/**
 * When something first happened to a driver series on a kernel: built, loaded, stable, taken back, seen on a node. Attempts
 * keep the last try alone; this only grows, and a time that is there stays. It follows from what a state has that the one
 * before had not, so no writer need think of it.
 */
import { defined } from "../base/defined.ts";
import { kernelName } from "../kernel/kernel.ts";
import { ofElementKey } from "../matrix/element.ts";
import type { AttemptNote, Decision, HistoryEntry, Published } from "./documents.ts";
import { listAll } from "./standing.ts";

/** The part of a state that history is made from. */
type Told = Pick<Published, "attempts" | "decisions" | "indices">;

type Moment = "built" | "loaded" | "stable" | "takenBack" | "node";

/** What is known of one driver series on one kernel. */
export interface Happened {
  readonly driver: string;
  readonly series: string;
  readonly kernel: string;
  readonly times: Partial<Readonly<Record<Moment, string>>>;
}

/** History as it follows; the same list where nothing was new. */
export function historyAfter(
  history: readonly HistoryEntry[],
  before: Told,
  after: Told,
): readonly HistoryEntry[] {
  const known = new Map(before.attempts.map(({ element, at }) => [element, at]));
  const tried = after.attempts.filter(({ element, at }) => known.get(element) !== at).flatMap(happenedInTry);
  const decided = after.decisions.slice(before.decisions.length);
  if (decided.length === 0) return withHappened(history, tried);
  const kernels = kernelsByOutput([before, after]);
  return withHappened(history, [...tried, ...decided.flatMap((one) => happenedByDecision(one, kernels))]);
}

/** History with what happened; of a time that is known the first counts. */
export function withHappened(
  history: readonly HistoryEntry[],
  happened: readonly Happened[],
): readonly HistoryEntry[] {
  if (happened.length === 0) return history;
  const all = new Map(history.map((entry) => [historyKey(entry), entry]));
  let isNew = false;
  for (const { driver, series, kernel, times } of happened) {
    const key = historyKey({ driver, series, kernel });
    const before = all.get(key) ?? { driver, series, kernel };
    const entry = { ...before, ...defined(times), ...before };
    if (Object.keys(entry).length === Object.keys(all.get(key) ?? {}).length) continue;
    all.set(key, entry);
    isNew = true;
  }
  if (!isNew) return history;
  return [...all].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
}

export function historyKey({
  driver,
  series,
  kernel,
}: Pick<HistoryEntry, "driver" | "series" | "kernel">): string {
  return `${driver}/${series}/${kernel}`;
}

function happenedInTry(note: AttemptNote): Happened[] {
  const { at, failure, buildMs, load } = note;
  if (failure !== undefined || buildMs === undefined) return [];
  const of = ofElementKey(note.element);
  if (of === undefined) return [];
  const loaded = load?.verdict.verdict === "pass" ? { loaded: at } : {};
  return [{ ...of, times: { built: at, ...loaded } }];
}

function happenedByDecision(
  { action, at, artifact, kernel: named }: Decision,
  kernels: ReadonlyMap<string, string>,
): Happened[] {
  const { driver, output } = artifact;
  // Of modules that serve another kernel the decision names that one.
  const kernel = named ?? kernels.get(`${driver}/${output}`);
  const series = output.split("/")[0];
  if (kernel === undefined || series === undefined) return [];
  const isTakenBack = action === "withdraw" || action === "rollback" || action === "endReuse";
  if (!isTakenBack && action !== "promote" && action !== "reuse") return [];
  return [{ driver, series, kernel, times: isTakenBack ? { takenBack: at } : { stable: at } }];
}

function kernelsByOutput(states: readonly Told[]): ReadonlyMap<string, string> {
  return new Map(
    states.flatMap(({ indices }) =>
      listAll(indices).map(({ index, entry }): [string, string] => [
        `${entry.driver}/${entry.output}`,
        kernelName({ ...index, ...entry }),
      ]),
    ),
  );
}
