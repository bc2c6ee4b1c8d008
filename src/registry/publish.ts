/**
 * Publishing: the state that follows from the last one and from what this night brought.
 */
import { canonicalJson } from "../base/json.ts";
import { type Catalog, sameFacts } from "../catalog/catalog.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import type { AttemptNote, Index, IndexEntry, Published } from "./documents.ts";

/** What became of one element. */
export interface Outcome {
  readonly element: Element;
  readonly note: AttemptNote;
  /** The artifact, when there is one, and whether it may be stable. */
  readonly artifact?: { readonly entry: IndexEntry; readonly isStable: boolean };
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
  for (const { element, note, artifact, isSettled } of outcomes) {
    const key = elementKey(element);
    if (isSettled) matrix.set(key, element);
    else matrix.delete(key);
    attempts.set(key, note);
    if (artifact === undefined) continue;
    const { distribution, architecture } = element;
    const empty: Index = {
      schema: "kmodfarm.index/1",
      distribution,
      architecture,
      stable: [],
      candidate: [],
    };
    const index = indices.get(indexName(element)) ?? empty;
    indices.set(indexName(element), withArtifact(index, artifact.entry, artifact.isStable));
  }
  const sorted = <T>(map: ReadonlyMap<string, T>): T[] =>
    [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  return {
    head: state.head,
    catalog,
    matrix: sorted(matrix),
    attempts: sorted(attempts),
    indices: sorted(indices),
    roots: { ...state.roots, ...roots },
  };
}

/** Whether publishing would tell anybody anything new. */
export function saysTheSame(a: Published, b: Published): boolean {
  const rest = ({ matrix, attempts, indices, roots }: Published) =>
    canonicalJson([matrix, attempts, indices, roots]);
  return sameFacts(a.catalog, b.catalog) && rest(a) === rest(b);
}

function indexName({ distribution, architecture }: { distribution: string; architecture: string }): string {
  return `${distribution}.${architecture}`;
}

/** A new candidate leaves what is stable alone: nodes keep the last good one. */
function withArtifact(index: Index, entry: IndexEntry, isStable: boolean): Index {
  const others = (entries: readonly IndexEntry[]) =>
    entries.filter((old) => old.driver !== entry.driver || old.output !== entry.output);
  const add = (entries: readonly IndexEntry[]) =>
    [...others(entries), entry].toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  return isStable
    ? { ...index, stable: add(index.stable), candidate: others(index.candidate) }
    : { ...index, candidate: add(index.candidate) };
}

function sortKey({ driver, output }: IndexEntry): string {
  return `${driver}/${output}`;
}
