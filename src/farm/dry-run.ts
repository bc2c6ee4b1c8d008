/**
 * What a run would do: the same run, with real plans, in which nothing is built, booted or written to the store.
 */
import { changeReasons } from "../matrix/diff.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import type { AttemptNote, Published } from "../registry/documents.ts";
import type { RunOptions } from "./coordinator.ts";
import type { Executor, LoadWork, Work } from "./executors/executor.ts";
import type { Farm } from "./open.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";

export interface PlannedStep {
  readonly element: Element;
  /** A build is followed by a load test of what it made. */
  readonly step: "build" | "load";
  readonly why: string;
  /** By what earlier tries took; absent where nothing of its driver was built yet. */
  readonly expectedMs?: number;
}

export interface DryRunReport extends RunReport {
  readonly planned: readonly PlannedStep[];
  /** With as many elements at once as this farm works on; absent where the time of none is known. */
  readonly expectedMs?: number;
}

/** Keeps what it is given, and does none of it. */
class NotingExecutor implements Executor {
  readonly name = "none";
  readonly asked: { readonly element: Element; readonly step: PlannedStep["step"] }[] = [];

  build({ element }: Work): Promise<undefined> {
    this.asked.push({ element, step: "build" });
    return Promise.resolve(undefined);
  }

  load({ element }: LoadWork): Promise<undefined> {
    this.asked.push({ element, step: "load" });
    return Promise.resolve(undefined);
  }
}

/** @throws as `runFarm` */
export async function dryRun(farm: Farm, options: RunOptions): Promise<DryRunReport> {
  const executor = new NotingExecutor();
  let before: Published | undefined;
  const report = await runFarm(farm, {
    ...options,
    isDry: true,
    executor: () => executor,
    opened: (published) => {
      before = published;
    },
  });
  const planned = executor.asked
    .map(({ element, step }) => ({ element, step, why: reasonOf(element, step, before) }))
    .map((one) => ({ ...one, ...expectedOf(one, before?.attempts ?? []) }))
    .toSorted((a, b) => compare(elementKey(a.element), elementKey(b.element)));
  const times = planned.flatMap(({ expectedMs }) => expectedMs ?? []);
  const total = times.reduce((sum, one) => sum + one, 0) / farm.config.jobs;
  // The longest one takes its time, however many there are at once.
  return {
    ...report,
    planned,
    ...(times.length === 0 ? {} : { expectedMs: Math.max(total, ...times) }),
  };
}

const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));

function reasonOf(element: Element, step: PlannedStep["step"], before: Published | undefined): string {
  const known = before?.matrix.find((one) => elementKey(one) === elementKey(element));
  const note = before?.attempts.find((one) => one.element === elementKey(element));
  if (step === "load") return "it is built, and its load test has no verdict";
  const changes = known === undefined ? [] : changeReasons(known, element);
  if (changes.length > 0) return changes.join("; ");
  if (note?.failure !== undefined) return `it failed last time [${note.failure.code}]`;
  return known === undefined ? "it is new" : "the store does not have it as it was built";
}

/** As it took last time, else as the median of its driver. */
function expectedOf(
  { element, step }: Pick<PlannedStep, "element" | "step">,
  notes: readonly AttemptNote[],
): { readonly expectedMs?: number } {
  const timeOf = ({ buildMs = 0, load }: AttemptNote) =>
    (step === "build" ? buildMs : 0) + (load?.bootMs ?? 0);
  const own = notes.filter((one) => one.element === elementKey(element)).map(timeOf);
  const alike = notes.filter((one) => one.element.startsWith(`${element.driver}/`)).map(timeOf);
  const [time] = [own, alike].map((times) => medianOf(times.filter((ms) => ms > 0))).filter(Boolean);
  return time === undefined ? {} : { expectedMs: time };
}

function medianOf(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}
