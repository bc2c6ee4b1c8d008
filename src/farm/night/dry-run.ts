/**
 * What a run would do: the same run, with real plans, in which nothing is built, booted or written to the store.
 */
import { largest } from "../../base/extremes.ts";
import { changeReasons } from "../../matrix/diff.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import type { Published } from "../../registry/documents.ts";
import type { Executor, LoadWork, Work } from "../executors/executor.ts";
import type { GapOrder } from "../gap/order.ts";
import { type Farm, readingOnly } from "../open.ts";
import { expectedSeconds } from "./expected-time.ts";
import type { RunReport } from "./report.ts";
import { runFarm } from "./run.ts";
import type { RunOptions } from "./run-options.ts";

interface PlannedStep {
  readonly element: Element;
  /** A build is followed by a load test of what it made. */
  readonly step: "build" | "load";
  readonly why: string;
  /** By what earlier tries took: build and load test together. */
  readonly expectedSeconds: number;
}

export interface DryRunReport extends RunReport {
  readonly planned: readonly PlannedStep[];
  /** With as many elements at once as this farm works on. */
  readonly expectedSeconds: number;
  /** Whether that follows from what earlier runs took, and not from a guess. */
  readonly isMeasured: boolean;
  /** How many elements take a toolchain that is not here, whose making is not in that time. */
  readonly withoutRoot: number;
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
  const rootless = new Set<string>();
  let before: Published | undefined;
  let order: GapOrder | undefined;
  // Packages that are fetched to plan with would be archived.
  const report = await runFarm(await readingOnly(farm), {
    ...options,
    dry: {
      withoutRoot(element) {
        rootless.add(elementKey(element));
        executor.asked.push({ element, step: "build" });
      },
      inOrder: (known) => {
        order = known;
      },
    },
    executor: () => executor,
    opened: (published) => {
      before = published;
    },
  });
  const notes = new Map(before?.attempts.map((note) => [note.element, note]));
  const secondsOf = expectedSeconds(before?.matrix ?? [], (key) => notes.get(key));
  const planned = executor.asked
    .map(({ element, step }) => ({
      ...{ element, step },
      why: [
        reasonOf(element, step, before),
        ...(rootless.has(elementKey(element)) ? ["its toolchain is not here and is made first"] : []),
        ...[order?.whyOf(element)].filter((why) => why !== undefined),
      ].join("; "),
      expectedSeconds: secondsOf(element),
    }))
    .toSorted(
      (a, b) =>
        (order?.rankOf(b.element) ?? 0) - (order?.rankOf(a.element) ?? 0) ||
        compare(elementKey(a.element), elementKey(b.element)),
    );
  const times = planned.map((one) => one.expectedSeconds);
  const together = times.reduce((sum, one) => sum + one, 0) / farm.config.jobs;
  // The longest one takes its time, however many there are at once.
  const isMeasured = [...notes.values()].some(({ buildMs }) => buildMs !== undefined);
  const total = { expectedSeconds: largest(times, Math.max(together, 0)), isMeasured };
  return { ...report, planned, ...total, withoutRoot: rootless.size };
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
