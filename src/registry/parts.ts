/**
 * The parts of a published state: documents by distribution release and architecture, and a few that are of none. What
 * a change leaves alone stays the same part, byte by byte.
 */
import type { z } from "zod";
import { canonicalJson } from "../base/json.ts";
import { takeFacts } from "../catalog/annotated.ts";
import { EMPTY_CATALOG } from "../catalog/catalog.ts";
import { withAllLearned } from "../kernel/facts.ts";
import { type KernelId, kernelName } from "../kernel/kernel.ts";
import { elementKey } from "../matrix/element.ts";
import {
  type AttemptNote,
  Attempts,
  type Decision,
  Decisions,
  type Difference,
  Elements,
  Facts,
  Index,
  type IndexEntry,
  indexName,
  Kernels,
  type Published,
  Roots,
  Sources,
} from "./documents.ts";

/** Decisions that share a part: once it is full it never changes. */
const DECISIONS_PER_PART = 1000;

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
    ...grouped(kernels, placeOfKernel).map(([place, some]) =>
      part(`kernels/${place}`, some, () => ({ schema: "kmodfarm.kernels/1", kernels: some })),
    ),
    ...grouped(state.facts, placeOfKernel).map(([place, some]) =>
      part(`facts/${place}`, some, () => ({ schema: "kmodfarm.facts/1", facts: some })),
    ),
    ...grouped(state.matrix, placeOfKernel).map(([place, some]) =>
      // Nothing here says when it was made: that is the generation's.
      part(`matrix/${place}`, some, () => ({ schema: "kmodfarm.elements/1", elements: some })),
    ),
    ...grouped(state.attempts, placeOfAttempt).map(([place, some]) =>
      part(`attempts/${place}`, some, () => ({ schema: "kmodfarm.attempts/2", attempts: some })),
    ),
    ...state.indices.map((index) =>
      part(
        `index/${indexName(index)}`,
        [...index.stable, "candidate", ...index.candidate, "loadsOn", ...(index.loadsOn ?? [])],
        () => index,
      ),
    ),
    ...pieces(state.decisions).map((some, piece) =>
      part(`decisions/${piece}`, some, () => ({ schema: "kmodfarm.decisions/2", decisions: some })),
    ),
    part("sources", [...sources, "guests", ...guests], () => ({
      schema: "kmodfarm.sources/1",
      sources,
      guests,
    })),
    part("roots", [state.roots], () => ({ schema: "kmodfarm.roots/1", roots: state.roots })),
  ]);
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
  index: Index,
  decisions: Decisions,
  sources: Sources,
  roots: Roots,
} as const;

/**
 * A state from its parts, each as its type has it. Lists are in the order of their keys, whatever the parts' order. `outdated`
 * are the parts that hold something which has a part of its own by now: it is taken from them.
 */
export function assemble(documents: ReadonlyMap<string, unknown>): {
  readonly content: Content;
  readonly outdated: readonly string[];
} {
  const named = [...documents].toSorted(([a], [b]) => comparePartNames(a, b));
  const all = <K extends keyof typeof TYPES>(kind: K) =>
    named.filter(([name]) => name.split("/")[0] === kind).map(([, one]) => one as z.infer<(typeof TYPES)[K]>);
  const { sources, guests } = all("sources")[0] ?? EMPTY_CATALOG;
  const kernels = named
    .filter(([name]) => name.startsWith("kernels/"))
    .map(([name, one]) => ({ name, ...takeFacts((one as z.infer<typeof Kernels>).kernels) }));
  const facts = all("facts").flatMap((one) => one.facts);
  const content: Content = {
    catalog: {
      schema: "kmodfarm.catalog/1",
      sources,
      guests,
      kernels: kernels.flatMap((one) => one.kernels),
    },
    facts: withAllLearned([], [...kernels.flatMap((one) => one.facts), ...facts]),
    matrix: sortedBy(
      all("matrix").flatMap(({ elements }) => elements),
      elementKey,
    ),
    attempts: sortedBy(
      all("attempts").flatMap(({ attempts }) => attempts),
      ({ element }) => element,
    ),
    indices: all("index"),
    roots: all("roots")[0]?.roots ?? {},
    decisions: all("decisions").flatMap(({ decisions }) => decisions),
  };
  return { content, outdated: kernels.flatMap((one) => (one.facts.length === 0 ? [] : [one.name])) };
}

/** Parts of releases by release, then architecture; pieces by their numbers. */
function comparePartNames(a: string, b: string): number {
  const [[kindA = "", restA = ""], [kindB = "", restB = ""]] = [a.split("/"), b.split("/")];
  if (kindA !== kindB) return kindA < kindB ? -1 : 1;
  if (kindA === "decisions") return Number(restA) - Number(restB);
  const cut = (rest: string) => rest.replace(/\.([^.]*)$/, "\0$1");
  return cut(restA) < cut(restB) ? -1 : 1;
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
  };
}

function isOther(a: unknown, b: unknown): boolean {
  return a !== b && (a === undefined || canonicalJson(a) !== canonicalJson(b));
}

function grouped<T>(items: readonly T[], placeOf: (item: T) => string): [string, readonly T[]][] {
  return [...Map.groupBy(items, placeOf)];
}

function pieces(decisions: readonly Decision[]): (readonly Decision[])[] {
  const count = Math.ceil(decisions.length / DECISIONS_PER_PART);
  return Array.from({ length: count }, (_, piece) =>
    decisions.slice(piece * DECISIONS_PER_PART, (piece + 1) * DECISIONS_PER_PART),
  );
}

function placeOfKernel({ distribution, architecture }: KernelId): string {
  return `${distribution}.${architecture}`;
}

/** A key of an element names its driver, series, release, architecture and kernel. */
function placeOfAttempt({ element }: AttemptNote): string {
  const [, , distribution = "", architecture = ""] = element.split("/");
  return `${distribution}.${architecture}`;
}

/** In the order of code units, as keys are sorted wherever we sort them. */
function sortedBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return items
    .map((item): [string, T] => [keyOf(item), item])
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, item]) => item);
}
