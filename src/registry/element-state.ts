/**
 * Where an element stands: the one answer, for tables, for reports and for services to nodes. An element is of one version
 * of its driver; what nodes get of an earlier version at the same place is said beside it.
 */
import { type Element, elementKey } from "../matrix/element.ts";
import { type AttemptNote, indexName, type LoadsOn, type Published } from "./documents.ts";
import { servedBy } from "./reuse.ts";
import { type Listed, listAll, type Standing, standingOf } from "./standing.ts";
import { viewPath } from "./view-path.ts";

/** An artifact, and where it stands. */
export interface Placed {
  readonly listed: Listed;
  readonly standing: Standing;
}

export type ElementState =
  /** `beside`: a newer one that nodes do not get. */
  (
    | { readonly word: "stable"; readonly artifact: Placed; readonly beside?: Placed }
    | { readonly word: "loadsOn"; readonly by: LoadsOn; readonly beside?: Placed }
    | { readonly word: "candidate" | "withdrawn"; readonly artifact: Placed }
    | { readonly word: "failed" | "excluded" | "unfetchable"; readonly attempt: AttemptNote }
    | { readonly word: "notBuilt" }
  ) & {
    /** What nodes get as long as this version is not stable: another version's modules. */
    readonly instead?: Placed;
  };

/** What is known of one element. */
interface Known {
  readonly version: string;
  /** What the store has at its place, of whatever version. */
  readonly artifacts: readonly Placed[];
  /** What serves its kernel without having been built for it. */
  readonly loadsOn?: LoadsOn | undefined;
  readonly attempt?: AttemptNote | undefined;
}

export function elementState({ version, artifacts, loadsOn, attempt }: Known): ElementState {
  const [own, others] = [true, false].map((isOwn) =>
    artifacts.filter(({ listed }) => (listed.entry.driverVersion === version) === isOwn),
  ) as [Placed[], Placed[]];
  const stable = own.find(({ listed }) => listed.channel === "stable");
  const waiting = own.find(({ listed }) => listed.channel === "candidate");
  const beside = waiting === undefined ? {} : { beside: waiting };
  if (stable !== undefined) return { word: "stable", artifact: stable, ...beside };
  const given = others.find(({ listed }) => listed.channel === "stable");
  const instead = given === undefined ? {} : { instead: given };
  if (loadsOn !== undefined) return { word: "loadsOn", by: loadsOn, ...beside, ...instead };
  if (waiting !== undefined) {
    const word = waiting.standing.word === "withdrawn" ? "withdrawn" : "candidate";
    return { word, artifact: waiting, ...instead };
  }
  return { ...(attemptState(attempt) ?? { word: "notBuilt" }), ...instead };
}

/** What a failed attempt came to; undefined for one that gave something. */
export function attemptState(attempt: AttemptNote | undefined): ElementState | undefined {
  if (attempt?.failure === undefined) return undefined;
  const { code } = attempt.failure;
  if (code === "KERNEL_EXCLUDED") return { word: "excluded", attempt };
  return { word: code === "NOT_FETCHABLE" ? "unfetchable" : "failed", attempt };
}

/** Every artifact of a registry, and where it stands by what the registry itself says. */
export function placedIn({ indices, decisions }: Pick<Published, "indices" | "decisions">): Placed[] {
  return listAll(indices).map((listed) => ({ listed, standing: standingOf(decisions, listed) }));
}

/**
 * Where the elements of a registry stand; `placed` are its artifacts, as of today where that was asked. Each answer takes
 * the same time, however large the registry is.
 */
export function elementStates(
  state: Pick<Published, "indices" | "attempts" | "decisions">,
  placed: readonly Placed[] = placedIn(state),
): (element: Element) => ElementState {
  const artifacts = Map.groupBy(placed, ({ listed }) => viewPath(listed.entry));
  const notes = new Map(state.attempts.map((note) => [note.element, note]));
  const indices = new Map(state.indices.map((index) => [indexName(index), index]));
  return (element) =>
    elementState({
      version: element.driverversion,
      artifacts: artifacts.get(viewPath(element)) ?? [],
      loadsOn: servedBy(indices.get(indexName(element)), element),
      attempt: notes.get(elementKey(element)),
    });
}
