/**
 * Publishing: the state that follows from the last one and from what this night brought.
 */
import type { Catalog } from "../catalog/catalog.ts";
import { type Element, elementKey } from "../matrix/element.ts";
import { DecisionLog, lastMove, takenBackWords } from "./decisions.ts";
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
  /** Files of this machine that explain it: they are stored when it is published, and `note` says then what they are. */
  readonly logs?: { readonly log?: string; readonly console?: string };
  /** Not to be tried again until something changes. */
  readonly isSettled: boolean;
}

/** What a night brings beside outcomes. */
interface Additions extends Partial<Pick<Published, "roots" | "facts">> {
  /** Stable artifacts as they are with other signatures. */
  readonly signed?: readonly IndexEntry[];
}

/** The next state. Pure: nothing is written here, and what is not mentioned stays, the same objects. */
export function nextState(
  state: Published,
  catalog: Catalog,
  outcomes: readonly Outcome[],
  { roots = {}, facts = state.facts, signed = [] }: Additions = {},
): Published {
  const matrix = new Map(state.matrix.map((element) => [elementKey(element), element]));
  const attempts = new Map(state.attempts.map((note) => [note.element, note]));
  const indices = new OpenIndices(withSignatures(state.indices, signed));
  const log = new DecisionLog(state.decisions);
  for (const { element, note, artifact, isSettled, decision } of outcomes) {
    const key = elementKey(element);
    if (isSettled) matrix.set(key, element);
    else matrix.delete(key);
    attempts.set(key, note);
    if (artifact === undefined) continue;
    // A withdrawn artifact stays withdrawn until a person promotes it.
    const isStable = artifact.isStable && takenBackWords(lastMove(log.of(artifact.entry))) === undefined;
    if (decision !== undefined && isStable === artifact.isStable) log.add(decision);
    indices.put(element, artifact.entry, isStable);
  }
  return {
    ...state,
    catalog,
    facts,
    matrix: sortedByKey(matrix),
    attempts: sortedByKey(attempts),
    indices: heldReuse(indices.closed()),
    roots: { ...state.roots, ...roots },
    decisions: log.all,
  };
}

/** An artifact that is not what was signed any more stays as it is. */
function withSignatures(indices: readonly Index[], signed: readonly IndexEntry[]): readonly Index[] {
  if (signed.length === 0) return indices;
  const byManifest = new Map(signed.map((entry) => [`${sortKey(entry)}/${entry.manifest}`, entry.modules]));
  return indices.map((index) => {
    if (!index.stable.some((entry) => byManifest.has(`${sortKey(entry)}/${entry.manifest}`))) return index;
    const stable = index.stable.map((entry) => {
      const modules = byManifest.get(`${sortKey(entry)}/${entry.manifest}`);
      return modules === undefined ? entry : { ...entry, modules };
    });
    return { ...index, stable };
  });
}

function sortedByKey<T>(map: ReadonlyMap<string, T>): T[] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

/** Indices while artifacts are moved in them: each is sorted once, and those without a change stay as they are. */
export class OpenIndices {
  readonly #indices: ReadonlyMap<string, Index>;
  readonly #open = new Map<string, OpenIndex>();

  constructor(indices: readonly Index[]) {
    this.#indices = new Map(indices.map((index) => [indexName(index), index]));
  }

  /** A new candidate leaves what is stable alone: nodes keep the last good one. */
  put(place: Pick<Index, "distribution" | "architecture">, given: IndexEntry, isStable: boolean): void {
    const { stable, candidate } = this.#opened(place);
    const key = sortKey(given);
    const entry = withRebuilds(given, [stable.get(key), candidate.get(key)]);
    if (!isStable) candidate.set(key, entry);
    else {
      const { reasons: _, ...plain } = entry;
      stable.set(key, plain);
      candidate.delete(key);
    }
  }

  /** A stable artifact is a candidate again, unless a newer one is: then it is of no interest any more. */
  takeBack(
    place: Pick<Index, "distribution" | "architecture">,
    entry: IndexEntry,
    reasons: readonly string[],
  ): void {
    const { stable, candidate } = this.#opened(place);
    const key = sortKey(entry);
    stable.delete(key);
    if (!candidate.has(key)) candidate.set(key, { ...entry, reasons: [...reasons] });
  }

  closed(): Index[] {
    const closed = new Map(this.#indices);
    for (const [name, { index, stable, candidate }] of this.#open)
      closed.set(name, { ...index, stable: sortedByKey(stable), candidate: sortedByKey(candidate) });
    return sortedByKey(closed);
  }

  #opened(place: Pick<Index, "distribution" | "architecture">): OpenIndex {
    const name = indexName(place);
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const index = this.#indices.get(name) ?? emptyIndex(place);
    const byKey = (entries: readonly IndexEntry[]) =>
      new Map(entries.map((entry) => [sortKey(entry), entry]));
    const open = { index, stable: byKey(index.stable), candidate: byKey(index.candidate) };
    this.#open.set(name, open);
    return open;
  }
}

/** The same artifact stored anew keeps what others stated of it. */
function withRebuilds(entry: IndexEntry, before: readonly (IndexEntry | undefined)[]): IndexEntry {
  const known = before.flatMap((one) => (one?.recipe === entry.recipe ? (one.rebuilds ?? []) : []));
  const all = new Map([...(entry.rebuilds ?? []), ...known].map((part) => [part.digest, part]));
  return all.size === (entry.rebuilds ?? []).length ? entry : { ...entry, rebuilds: [...all.values()] };
}

interface OpenIndex {
  readonly index: Index;
  readonly stable: Map<string, IndexEntry>;
  readonly candidate: Map<string, IndexEntry>;
}

/** Indices with an artifact in the one of its release and architecture. */
export function withArtifact(
  indices: readonly Index[],
  place: Pick<Index, "distribution" | "architecture">,
  entry: IndexEntry,
  isStable: boolean,
): Index[] {
  const open = new OpenIndices(indices);
  open.put(place, entry, isStable);
  return open.closed();
}

function sortKey({ driver, output }: IndexEntry): string {
  return `${driver}/${output}`;
}
