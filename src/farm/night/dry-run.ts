/**
 * What a run would do: the same run, with real plans, in which nothing is built, booted or written to the store.
 */
import { toFarmError } from "../../base/error.ts";
import { largest } from "../../base/extremes.ts";
import { recipeChanges } from "../../builder/recipe.ts";
import type { Recipe } from "../../builder/records.ts";
import { changeReasons, visibleChanges } from "../../matrix/diff.ts";
import { type Element, elementKey } from "../../matrix/element.ts";
import { readManifest } from "../../registry/artifact.ts";
import type { IndexEntry, Published } from "../../registry/documents.ts";
import { listAll } from "../../registry/standing.ts";
import type { Store } from "../../registry/stores/store.ts";
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

interface Asked extends Pick<PlannedStep, "element" | "step"> {
  /** Of what is built with a toolchain that is here. */
  readonly recipe?: Recipe;
}

/** Keeps what it is given, and does none of it. */
class NotingExecutor implements Executor {
  readonly name = "none";
  readonly asked: Asked[] = [];

  build({ element, recipe }: Work): Promise<undefined> {
    this.asked.push({ element, recipe, step: "build" });
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
  const reasons = reasonsBy(farm.store, before);
  const planned: PlannedStep[] = [];
  for (const asked of executor.asked.toSorted(
    (a, b) =>
      (order?.rankOf(b.element) ?? 0) - (order?.rankOf(a.element) ?? 0) ||
      compare(elementKey(a.element), elementKey(b.element)),
  )) {
    const { element, step } = asked;
    const why = [
      await reasons(asked),
      ...(rootless.has(elementKey(element)) ? ["its toolchain is not here and is made first"] : []),
      ...[order?.whyOf(element)].filter((words) => words !== undefined),
    ];
    planned.push({ element, step, why: why.join("; "), expectedSeconds: secondsOf(element) });
  }
  const times = planned.map((one) => one.expectedSeconds);
  const together = times.reduce((sum, one) => sum + one, 0) / farm.config.jobs;
  // The longest one takes its time, however many there are at once.
  const isMeasured = [...notes.values()].some(({ buildMs }) => buildMs !== undefined);
  const total = { expectedSeconds: largest(times, Math.max(together, 0)), isMeasured };
  return { ...report, planned, ...total, withoutRoot: rootless.size };
}

const compare = (a: string, b: string) => (a < b ? -1 : Number(a > b));

/** Why a step is due; what of a recipe changed, says the manifest of what was built before. */
function reasonsBy(store: Store, before: Published | undefined): (asked: Asked) => Promise<string> {
  const known = new Map(before?.matrix.map((element) => [elementKey(element), element]));
  const notes = new Map(before?.attempts.map((note) => [note.element, note]));
  const entries = new Map<string, IndexEntry>(
    listAll(before?.indices ?? []).map(({ entry }) => [entry.recipe, entry]),
  );
  return async ({ element, recipe, step }) => {
    const [earlier, note] = [known.get(elementKey(element)), notes.get(elementKey(element))];
    if (step === "load") return "it is built, and its load test has no verdict";
    if (earlier !== undefined && changeReasons(earlier, element).length > 0) {
      const changes = visibleChanges(earlier, element);
      if (changes.length > 0) return changes.join("; ");
      const entry = earlier.recipe === undefined ? undefined : entries.get(earlier.recipe);
      const built = entry === undefined ? undefined : await recipeIn(store, entry);
      const differences = built === undefined || recipe === undefined ? [] : recipeChanges(built, recipe);
      if (differences.length > 0) return differences.join("; ");
      return "the driver's source, the toolchain or how it is built changed";
    }
    if (note?.failure !== undefined) return `it failed last time [${note.failure.code}]`;
    return earlier === undefined ? "it is new" : "the store does not have it as it was built";
  };
}

/** Absent for what was imported, and where the store does not have it whole: a dry run reports what a run would do. */
async function recipeIn(store: Store, entry: IndexEntry): Promise<Recipe | undefined> {
  try {
    const { recipe } = await readManifest(store, entry);
    return recipe.schema === "kmodfarm.recipe/1" ? (recipe as Recipe) : undefined;
  } catch (thrown) {
    if (toFarmError(thrown).code === "STORE_CORRUPT") return undefined;
    throw thrown;
  }
}
