/**
 * Publishing: the state that follows from the last one and from what this night brought.
 */
import { canonicalJson } from "../base/json.ts";
import { type Catalog, sameFacts } from "../catalog/catalog.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import { isWithdrawn, withDecision } from "./decisions.ts";
import {
  type AttemptNote,
  type Decision,
  emptyIndex,
  type Index,
  type IndexEntry,
  indexName,
  type Published,
} from "./documents.ts";
import { heldReuse } from "./reuse.ts";

/** What became of one element. */
export interface Outcome {
  readonly element: Element;
  readonly note: AttemptNote;
  /** The artifact, when there is one, and whether it may be stable. */
  readonly artifact?: { readonly entry: IndexEntry; readonly isStable: boolean };
  /** What the gate decided about it. */
  readonly decision?: Decision;
  /** Not to be tried again until something changes. */
  readonly isSettled: boolean;
}

/** The next state. Pure: nothing is written here, and what is not mentioned stays. */
export function nextState(
  state: Published,
  catalog: Catalog,
  outcomes: readonly Outcome[],
  roots: Published["roots"] = {},
): Published {
  const matrix = new Map(state.matrix.map((element) => [elementKey(element), element]));
  const attempts = new Map(state.attempts.map((note) => [note.element, note]));
  const indices = new Map(state.indices.map((index) => [indexName(index), index]));
  let { decisions } = state;
  for (const { element, note, artifact, isSettled, decision } of outcomes) {
    const key = elementKey(element);
    if (isSettled) matrix.set(key, element);
    else matrix.delete(key);
    attempts.set(key, note);
    if (artifact === undefined) continue;
    // What somebody took back stays back, until somebody promotes it.
    const isStable = artifact.isStable && !isWithdrawn(decisions, artifact.entry);
    if (decision !== undefined && isStable === artifact.isStable)
      decisions = withDecision(decisions, decision);
    const index = indices.get(indexName(element)) ?? emptyIndex(element);
    indices.set(indexName(element), inIndex(index, artifact.entry, isStable));
  }
  const sorted = <T>(map: ReadonlyMap<string, T>): T[] =>
    [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  return {
    head: state.head,
    catalog,
    matrix: sorted(matrix),
    attempts: sorted(attempts),
    indices: heldReuse(sorted(indices)),
    roots: { ...state.roots, ...roots },
    decisions,
  };
}

/** Indices with an artifact in the one of its release and architecture. */
export function withArtifact(
  indices: readonly Index[],
  place: Pick<Index, "distribution" | "architecture">,
  entry: IndexEntry,
  isStable: boolean,
): Index[] {
  const known = indices.find((index) => indexName(index) === indexName(place));
  const changed = inIndex(known ?? emptyIndex(place), entry, isStable);
  return [...indices.filter((index) => index !== known), changed].toSorted((a, b) =>
    indexName(a) < indexName(b) ? -1 : 1,
  );
}

/** Whether publishing would tell anybody anything new. */
export function saysTheSame(a: Published, b: Published): boolean {
  const rest = ({ matrix, attempts, indices, roots, decisions }: Published) =>
    canonicalJson([matrix, attempts, indices, roots, decisions]);
  return sameFacts(a.catalog, b.catalog) && rest(a) === rest(b);
}

/** The index with one of its artifacts in the other channel; `reasons` say why it is a candidate. */
export function moved(
  index: Index,
  entry: IndexEntry,
  to: "stable" | "candidate",
  reasons: readonly string[] = [],
): Index {
  const { reasons: _, ...plain } = entry;
  if (to === "stable") return inIndex(index, plain, true);
  const stable = index.stable.filter((one) => !isSamePlace(one, entry));
  // A newer candidate is there already: what is taken back is no longer of interest.
  if (index.candidate.some((one) => isSamePlace(one, entry))) return { ...index, stable };
  return inIndex({ ...index, stable }, { ...plain, reasons: [...reasons] }, false);
}

function isSamePlace(a: IndexEntry, b: IndexEntry): boolean {
  return a.driver === b.driver && a.output === b.output;
}

/** A new candidate leaves what is stable alone: nodes keep the last good one. */
function inIndex(index: Index, entry: IndexEntry, isStable: boolean): Index {
  const others = (entries: readonly IndexEntry[]) => entries.filter((old) => !isSamePlace(old, entry));
  const add = (entries: readonly IndexEntry[]) =>
    [...others(entries), entry].toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  return isStable
    ? { ...index, stable: add(index.stable), candidate: others(index.candidate) }
    : { ...index, candidate: add(index.candidate) };
}

function sortKey({ driver, output }: IndexEntry): string {
  return `${driver}/${output}`;
}
