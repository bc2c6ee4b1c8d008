/**
 * What a run says at its end: every wanted element with what became of it, and everything else that went wrong.
 */
import { FarmError, toFarmError } from "../../base/error.ts";
import type { SourceProblem } from "../../catalog/update.ts";
import { type Element, elementKey, elementName } from "../../matrix/element.ts";
import type { AttemptNote } from "../../registry/documents.ts";
import { attemptState, type ElementState, elementState } from "../../registry/element-state.ts";
import { type Listed, listAll, type Standing } from "../../registry/standing.ts";
import { viewPath } from "../../registry/view-path.ts";
import type { Gate } from "../gate/gate.ts";
import type { Ledger } from "./ledger.ts";
import type { Problems } from "./problems.ts";
import type { Wanted } from "./wanted.ts";

export interface RunRow {
  readonly element: Element;
  readonly note: AttemptNote;
  /** Whether this run did it, or found it done. */
  readonly isNew: boolean;
  /** Whether this run found that it comes out byte for byte as it was published. */
  readonly isSame?: boolean;
  /** What became of it. */
  readonly state: ElementState;
  /** Of what came of it; absent where nothing did. */
  readonly standing?: Standing;
  /** Where it is in the store's view; absent for what is not stable. */
  readonly path?: string;
}

export interface RunReport {
  /** One per wanted element that something became of, in the matrix's order. */
  readonly rows: readonly RunRow[];
  /** How many elements are wanted, and of how many of them the mirror does not have the kernel. */
  readonly wanted: number;
  readonly outOfReach: number;
  /** How many elements were left to another process. */
  readonly handedOut: number;
  /**
   * What was selected and is excluded, by the reason that the configuration gives, and how many of those are stable all the
   * same: excluding takes nothing back.
   */
  readonly excluded: readonly { readonly reason: string; readonly count: number; readonly stable: number }[];
  /** Whether nothing at all is selected, excluded or not. */
  readonly isEmpty: boolean;
  /** How many elements are configured, where the command line asked for a part of them. */
  readonly ofAll?: number | undefined;
  /** Stable artifacts of the generation that are for no wanted element: nodes get them all the same. */
  readonly otherStable: number;
  /** Elements that are not stable as they are wanted now, while nodes get what was built of them before. */
  readonly earlierStable: number;
  /** Sources that need a look, and whatever else of the run went wrong beside its elements. */
  readonly problems: readonly SourceProblem[];
  /** Kernels whose packages the mirror lists and does not have. */
  readonly unfetchable: number;
  readonly generation: number;
  readonly kernels: number;
}

/** What a run knows of an element that it is done with. */
export interface Done {
  readonly element: Element;
  readonly isNew: boolean;
  readonly isSame?: boolean;
}

interface RunFacts {
  readonly wanted: Wanted;
  /** By `elementKey`. */
  readonly done: ReadonlyMap<string, Done>;
  /** By `elementKey` too: what another process builds or tests. */
  readonly handedOut: ReadonlySet<string>;
  readonly ledger: Ledger;
  readonly gate: Gate;
  /** Artifacts that the store has only in part are not what they stand for. */
  readonly isDamaged: (artifact: ArtifactId) => boolean;
  /** Grows with each problem reported while the report is made. */
  readonly problems: Problems;
}

/** The report of a run whose outcomes are published. An element never just disappears from it. */
export async function reportRun(facts: RunFacts): Promise<RunReport> {
  const { ledger } = facts;
  const { elements, excluded, isEmpty, ofAll } = facts.wanted;
  const { published, catalog } = ledger;
  const artifacts = new Map(
    listAll(published.indices).map((listed) => [artifactKey(listed.entry), listed] as const),
  );
  const rows: RunRow[] = [];
  let outOfReach = 0;
  for (const element of elements) {
    if (facts.handedOut.has(elementKey(element))) continue;
    const done = facts.done.get(elementKey(element));
    const note = ledger.latestNoteOf(elementKey(element));
    if (done !== undefined && note !== undefined) {
      // What came out the same need not be written yet: it is published as it was built before.
      const built = done.isSame ? (ledger.settledAs(element) ?? done.element) : done.element;
      const listed = artifacts.get(artifactKey(built));
      const isWhole = listed !== undefined && !facts.isDamaged(listed.entry);
      const standing = isWhole ? await standingOf(listed, element, facts) : undefined;
      rows.push({
        ...done,
        note,
        // A failed try is reported as failed, whatever an earlier one left.
        state:
          attemptState(note) ??
          elementState({
            version: element.driverversion,
            artifacts: standing === undefined ? [] : [{ listed: listed as Listed, standing }],
          }),
        ...(standing === undefined ? {} : { standing }),
        ...(standing?.word === "stable" ? { path: viewPath(element) } : {}),
      });
    } else if (ledger.isOutOfReach(element)) outOfReach++;
    else tellMissing(element, facts);
  }
  return {
    rows,
    wanted: elements.length,
    outOfReach,
    handedOut: elements.filter((element) => facts.handedOut.has(elementKey(element))).length,
    excluded: excludedByReason(excluded, published.indices),
    isEmpty,
    ofAll,
    otherStable: otherStable(elements, published.indices),
    earlierStable: earlierStable(rows, published.indices),
    problems: facts.problems.all,
    unfetchable: catalog.kernels.filter(
      (kernel) => ledger.factsOf(kernel).fetching?.notFetchableSince !== undefined,
    ).length,
    generation: published.head?.number ?? 0,
    kernels: catalog.kernels.length,
  };
}

function excludedByReason(
  excluded: Wanted["excluded"],
  indices: Parameters<typeof listAll>[0],
): RunReport["excluded"] {
  const published = new Set(indices.flatMap(({ stable }) => stable).map(viewPath));
  return [...Map.groupBy(excluded, ({ reason }) => reason)].map(([reason, members]) => ({
    reason,
    count: members.length,
    stable: members.filter(({ element }) => published.has(viewPath(element))).length,
  }));
}

function otherStable(wanted: readonly Element[], indices: Parameters<typeof listAll>[0]): number {
  const places = new Set(wanted.map(viewPath));
  return indices.flatMap(({ stable }) => stable).filter((entry) => !places.has(viewPath(entry))).length;
}

function earlierStable(rows: readonly RunRow[], indices: Parameters<typeof listAll>[0]): number {
  const places = new Set(indices.flatMap(({ stable }) => stable).map(viewPath));
  return rows.filter(({ element, standing }) => standing?.word !== "stable" && places.has(viewPath(element)))
    .length;
}

export type ArtifactId = Pick<Element, "driver" | "output" | "recipe">;

/** An artifact's place and what it was built by. */
export function artifactKey({ driver, output, recipe = "" }: ArtifactId): string {
  return `${driver} ${output} ${recipe}`;
}

/** An element without a reported end is a bug of kmodfarm. */
function tellMissing(element: Element, { problems }: RunFacts): void {
  const name = elementName(element);
  if (!problems.all.some(({ source }) => source === name))
    problems.tell(name, new FarmError("BUG", { detail: "it was wanted, but it has no result" }));
}

async function standingOf(
  listed: Parameters<Gate["standing"]>[0],
  element: Element,
  { gate, problems }: RunFacts,
): Promise<Standing | undefined> {
  try {
    return await gate.standing(listed);
  } catch (thrown) {
    problems.tell(elementName(element), toFarmError(thrown));
    return undefined;
  }
}
