/**
 * The parts of a published state: each list is cut into pieces of some thousand items, and a few documents are small anyway.
 * Where a list is cut follows from the keys around the cut alone, so that what a change leaves alone stays the same part,
 * byte by byte, and neither many releases nor one large one make many parts, or large ones.
 */
import type { z } from "zod";
import { canonicalJson, hexOf, sha256 } from "../base/json.ts";
import { takeFacts } from "../catalog/annotated.ts";
import { compareKernels, EMPTY_CATALOG } from "../catalog/catalog.ts";
import { withAllLearned } from "../kernel/facts.ts";
import { kernelName } from "../kernel/kernel.ts";
import { elementKey } from "../matrix/element.ts";
import { LINUX_MERKLE } from "../provenance/trees/linux-merkle.ts";
import {
  Attempts,
  type Decision,
  Decisions,
  type Difference,
  type Edition,
  Elements,
  emptyIndex,
  Facts,
  Feeds,
  History,
  Index,
  type IndexEntry,
  Indices,
  indexName,
  Kernels,
  type LoadsOn,
  NOTHING_TOLD,
  type Published,
  Roots,
  Sets,
  Sources,
  Told,
} from "./documents.ts";
import { historyKey } from "./history.ts";

/** Decisions that share a part: once it is full it never changes. */
const DECISIONS_PER_PART = 1000;
/** Modules whose places share a part. */
const PLACES_PER_PART = 128;
/** How many items a piece has on average, and half of what it has at most. Entries of indices are mostly digests. */
const ITEMS = 2048;
const ENTRIES = 1024;

/** A state without its place in history. */
export type Content = Omit<Published, "head" | "parts">;

export const NOTHING_PUBLISHED: Published = {
  head: null,
  parts: {},
  catalog: EMPTY_CATALOG,
  facts: [],
  matrix: [],
  attempts: [],
  indices: [],
  roots: {},
  decisions: [],
  history: [],
  feeds: [],
  told: NOTHING_TOLD,
  editions: [],
};

export interface PartContent {
  /** What it holds, each always the same object as long as it says the same. */
  readonly items: readonly unknown[];
  readonly document: () => unknown;
}

/** Every part of a state, by its name. */
export function partsOf(state: Content): ReadonlyMap<string, PartContent> {
  const { sources, guests, kernels } = state.catalog;
  return new Map([
    ...pieces("kernels", sortedBy(kernels, kernelName), kernelName, ITEMS, (some) => ({
      ...{ schema: "kmodfarm.kernels/1", kernels: some },
    })),
    ...pieces("facts", state.facts, kernelName, ITEMS, (some) => ({
      ...{ schema: "kmodfarm.facts/1", facts: some },
    })),
    // Nothing here says when it was made: that is the generation's.
    ...pieces("matrix", state.matrix, elementKey, ITEMS, (some) => ({
      ...{ schema: "kmodfarm.elements/1", elements: some },
    })),
    ...pieces("attempts", state.attempts, attemptKey, ITEMS, (some) => ({
      ...{ schema: "kmodfarm.attempts/2", attempts: some },
    })),
    ...pieces("history", state.history, historyKey, ITEMS, (some) => ({
      ...{ schema: "kmodfarm.history/1", history: some },
    })),
    ...listedPieces(state.indices),
    ...fullPieces(state.decisions).map((some, piece) =>
      part(`decisions/${piece}`, some, () => ({ schema: "kmodfarm.decisions/2", decisions: some })),
    ),
    part("sources", [...sources, "guests", ...guests], () => ({
      schema: "kmodfarm.sources/1",
      sources,
      guests,
    })),
    ...(state.feeds.length === 0
      ? []
      : [part("feeds", state.feeds, () => ({ schema: "kmodfarm.feeds/1", feeds: state.feeds }))]),
    ...(state.told === NOTHING_TOLD
      ? []
      : [part("told", [state.told.keys, state.told.messages], () => state.told)]),
    ...setPieces(state.editions).map((editions, piece) =>
      part(`sets/${piece}`, editions, () => ({
        ...{ schema: "kmodfarm.set/1", format: LINUX_MERKLE, form: "inserted", editions },
      })),
    ),
    part("roots", [state.roots], () => ({ schema: "kmodfarm.roots/1", roots: state.roots })),
  ]);
}

function attemptKey({ element }: { readonly element: string }): string {
  return element;
}

function part(name: string, items: readonly unknown[], document: () => unknown): [string, PartContent] {
  return [name, { items, document }];
}

/** Which document a part is. */
export function typeOfPart(name: string): z.ZodType {
  const [kind = ""] = name.split("/");
  return TYPES[kind as keyof typeof TYPES];
}

const TYPES = {
  kernels: Kernels,
  facts: Facts,
  matrix: Elements,
  attempts: Attempts,
  indices: Indices,
  /** An earlier version had one for each release and architecture. */
  index: Index,
  decisions: Decisions,
  history: History,
  sources: Sources,
  roots: Roots,
  feeds: Feeds,
  told: Told,
  sets: Sets,
} as const;

/**
 * A state from its parts, each as its type has it, whatever an earlier version put into which. `current` are the parts that
 * are as they would be written today; what is in the others is part of the state, and gets parts of its own with the next
 * publication.
 */
export function assemble(documents: ReadonlyMap<string, unknown>): {
  readonly content: Content;
  readonly current: ReadonlySet<string>;
} {
  const named = [...documents].toSorted(([a], [b]) => comparePartNames(a, b));
  const all = <K extends keyof typeof TYPES>(kind: K) =>
    named.filter(([name]) => name.split("/")[0] === kind).map(([, one]) => one as z.infer<(typeof TYPES)[K]>);
  const { sources, guests } = all("sources")[0] ?? EMPTY_CATALOG;
  const kernels = all("kernels").map((one) => takeFacts(one.kernels));
  const facts = all("facts").flatMap((one) => one.facts);
  const content: Content = {
    catalog: {
      schema: "kmodfarm.catalog/1",
      sources,
      guests,
      kernels: kernels.flatMap((one) => one.kernels).toSorted(compareKernels),
    },
    facts: withAllLearned([], [...kernels.flatMap((one) => one.facts), ...facts]),
    matrix: sortedBy(
      all("matrix").flatMap(({ elements }) => elements),
      elementKey,
    ),
    attempts: sortedBy(
      all("attempts").flatMap(({ attempts }) => attempts),
      attemptKey,
    ),
    indices: joined([...all("index"), ...all("indices").flatMap(({ indices }) => indices)]),
    roots: all("roots")[0]?.roots ?? {},
    decisions: all("decisions").flatMap(({ decisions }) => decisions),
    history: sortedBy(
      all("history").flatMap(({ history }) => history),
      historyKey,
    ),
    feeds: all("feeds")[0]?.feeds ?? [],
    told: all("told")[0] ?? NOTHING_TOLD,
    editions: all("sets").flatMap(({ editions }) => editions),
  };
  const wanted = partsOf(content);
  const current = [...documents].filter(([name, document]) => {
    const items = wanted.get(name)?.items;
    return items !== undefined && hasSame(items, itemsOf(name, document));
  });
  return { content, current: new Set(current.map(([name]) => name)) };
}

/** What a document holds, as a part lists it. */
function itemsOf(name: string, document: unknown): readonly unknown[] {
  const [kind = ""] = name.split("/");
  if (kind === "sources") {
    const { sources, guests } = document as z.infer<typeof Sources>;
    return [...sources, "guests", ...guests];
  }
  if (kind === "roots") return [(document as z.infer<typeof Roots>).roots];
  if (kind === "told") {
    const { keys, messages } = document as Told;
    return [keys, messages];
  }
  if (kind === "indices") return listed((document as Indices).indices).map(({ item }) => item);
  const { kernels, facts, elements, attempts, decisions, history, feeds, editions } = document as Record<
    string,
    readonly unknown[]
  >;
  return kernels ?? facts ?? elements ?? attempts ?? decisions ?? history ?? feeds ?? editions ?? [];
}

/** Whether nothing was replaced, so that it need not be serialised to find out. */
export function hasSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** Pieces of decisions by their numbers. */
function comparePartNames(a: string, b: string): number {
  const [[kindA = "", restA = ""], [kindB = "", restB = ""]] = [a.split("/"), b.split("/")];
  if (kindA !== kindB) return kindA < kindB ? -1 : 1;
  return kindA === "decisions" || kindA === "sets" ? Number(restA) - Number(restB) : restA < restB ? -1 : 1;
}

/** What two states have otherwise, in numbers. */
export function differenceOf(before: Content, after: Content): Difference {
  const listed = (channel: "stable" | "candidate", { indices }: Content) =>
    new Map(
      indices.flatMap((index) =>
        index[channel].map((entry): [string, IndexEntry] => [`${entry.driver}/${entry.output}`, entry]),
      ),
    );
  const between = (channel: "stable" | "candidate") => {
    const [then, now] = [listed(channel, before), listed(channel, after)];
    const kept = [...now].filter(([place]) => then.has(place));
    return {
      added: now.size - kept.length,
      changed: kept.filter(([place, entry]) => isOther(then.get(place), entry)).length,
      removed: then.size - kept.length,
    };
  };
  const others = <T>(then: readonly T[], now: readonly T[], keyOf: (one: T) => string) => {
    const known = new Map(then.map((one) => [keyOf(one), one]));
    return now.filter((one) => isOther(known.get(keyOf(one)), one)).length;
  };
  return {
    stable: between("stable"),
    candidates: between("candidate"),
    attempts: others(before.attempts, after.attempts, ({ element }) => element),
    kernels: others(before.catalog.kernels, after.catalog.kernels, kernelName),
    facts: others(before.facts, after.facts, kernelName),
    decisions: after.decisions.length - before.decisions.length,
    feeds: others(before.feeds, after.feeds, ({ name }) => name),
  };
}

function isOther(a: unknown, b: unknown): boolean {
  return a !== b && (a === undefined || canonicalJson(a) !== canonicalJson(b));
}

type Channel = "stable" | "candidate" | "loadsOn";

/** One line of an index, with the index that it is of. */
interface Line {
  readonly index: Index;
  readonly channel: Channel;
  readonly item: IndexEntry | LoadsOn;
}

/** The lines of all indices, one after the other. */
function listed(indices: readonly Index[]): Line[] {
  return indices.flatMap((index) => [
    ...index.stable.map((item): Line => ({ index, channel: "stable", item })),
    ...index.candidate.map((item): Line => ({ index, channel: "candidate", item })),
    ...(index.loadsOn ?? []).map((item): Line => ({ index, channel: "loadsOn", item })),
  ]);
}

function listedPieces(indices: readonly Index[]): [string, PartContent][] {
  const keyOf = ({ index, channel, item }: Line) => {
    const its =
      "artifact" in item ? `${kernelKey(item)}/${item.artifact.driver}` : `${item.driver}/${item.output}`;
    return `${indexName(index)}/${channel}/${its}`;
  };
  const document = (lines: readonly Line[]) => ({
    ...{ schema: "kmodfarm.indices/1", indices: indicesOf(lines) },
  });
  return pieces("indices", listed(indices), keyOf, ENTRIES, document).map(([name, content]) => [
    name,
    { ...content, items: (content.items as readonly Line[]).map(({ item }) => item) },
  ]);
}

function kernelKey({ kversion, packageVersion }: LoadsOn): string {
  return `${kversion}_${packageVersion}`;
}

/** Indices with these lines and nothing else. */
function indicesOf(lines: readonly Line[]): Index[] {
  return [...Map.groupBy(lines, ({ index }) => indexName(index)).values()].map((some) => {
    const of = <T>(channel: Channel) =>
      some.filter((line) => line.channel === channel).map(({ item }) => item as T);
    const loadsOn = of<LoadsOn>("loadsOn");
    const [{ index }] = some as [Line];
    return {
      ...emptyIndex(index),
      ...{ stable: of<IndexEntry>("stable"), candidate: of<IndexEntry>("candidate") },
      ...(loadsOn.length === 0 ? {} : { loadsOn }),
    };
  });
}

/** Each index once, with what all of its pieces have; one without lines as it is. */
function joined(indices: readonly Index[]): Index[] {
  const whole = [...Map.groupBy(indices, indexName).values()].map((some) => {
    const [one] = some as [Index];
    if (some.length === 1) return one;
    const place = ({ driver, output }: IndexEntry) => `${driver}/${output}`;
    const loadsOn = some.flatMap((index) => index.loadsOn ?? []);
    const served = (line: LoadsOn) => `${kernelKey(line)}/${line.artifact.driver}`;
    return {
      ...emptyIndex(one),
      stable: sortedBy(
        some.flatMap(({ stable }) => stable),
        place,
      ),
      candidate: sortedBy(
        some.flatMap(({ candidate }) => candidate),
        place,
      ),
      ...(loadsOn.length === 0 ? {} : { loadsOn: sortedBy(loadsOn, served) }),
    };
  });
  return sortedBy(whole, indexName);
}

/**
 * A list in pieces, each named after its first key. A piece ends before a key whose digest says so, or when it has twice as
 * many items as others: what changes elsewhere moves no cut.
 */
function pieces<T>(
  kind: string,
  items: readonly T[],
  keyOf: (item: T) => string,
  average: number,
  document: (some: readonly T[]) => unknown,
): [string, PartContent][] {
  const found: { name: string; items: T[] }[] = [];
  let before: string | undefined;
  for (const item of items) {
    const digest = hexOf(sha256(keyOf(item)));
    const last = found.at(-1);
    const isCut = Number.parseInt(digest.slice(0, 8), 16) % average === 0;
    // Twice the same key is a stranger's doing, and must not be twice the same name.
    const mayCut = (isCut || (last?.items.length ?? 0) >= 2 * average) && digest !== before;
    if (last === undefined || mayCut) found.push({ name: `${kind}/${digest.slice(0, 16)}`, items: [item] });
    else last.items.push(item);
    before = digest;
  }
  return found.map((piece) => part(piece.name, piece.items, () => document(piece.items)));
}

function fullPieces(decisions: readonly Decision[]): (readonly Decision[])[] {
  const count = Math.ceil(decisions.length / DECISIONS_PER_PART);
  return Array.from({ length: count }, (_, piece) =>
    decisions.slice(piece * DECISIONS_PER_PART, (piece + 1) * DECISIONS_PER_PART),
  );
}

/** Small ones, since each night adds to the last; one that is full never changes. */
function setPieces(editions: readonly Edition[]): (readonly Edition[])[] {
  const pieces: Edition[][] = [];
  let places = PLACES_PER_PART;
  for (const edition of editions) {
    if (places >= PLACES_PER_PART) {
      pieces.push([]);
      places = 0;
    }
    pieces.at(-1)?.push(edition);
    places += edition.places.length;
  }
  return pieces;
}

/** In the order of code units, as keys are sorted wherever we sort them. */
function sortedBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return items
    .map((item): [string, T] => [keyOf(item), item])
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item);
}
