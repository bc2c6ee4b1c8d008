/**
 * Shards: a matrix cut into pieces that a CI system can take, one or more for each distribution release and
 * architecture, of about equal expected time, and mostly the same pieces tomorrow.
 */

import { createHash } from "node:crypto";
import { FarmError } from "../base/error.ts";
import { smallest } from "../base/extremes.ts";
import { type Element, elementKey } from "./element.ts";

export interface Shard {
  /** `debian12.x86_64.2-4`: the third of four. */
  readonly id: string;
  readonly distribution: string;
  readonly architecture: string;
  readonly elements: readonly Element[];
  readonly expectedSeconds: number;
}

/** What a CI system is told of a shard. */
interface ShardFacts extends Pick<Shard, "id" | "distribution" | "architecture"> {
  /** The architecture of the machines that do its work, where that is planned. */
  readonly machine?: string;
  readonly elements: readonly unknown[];
}

export interface ShardOptions {
  /** Most shards that there may be: GitHub starts at most 256 jobs of a matrix. */
  readonly maxShards?: number;
  /** Time that a shard should take; exceeded rather than the number of shards. */
  readonly targetSeconds?: number;
  readonly expectedSeconds: (element: Element) => number;
}

export const MAX_JOBS = 256;
/** A job's outputs may hold 1 MiB counted in UTF-16: half of that in ASCII. */
export const MAX_OUTPUT_CHARACTERS = 512 * 1024;
const DEFAULT_TARGET_SECONDS = 600;
/** How much fuller than the average a shard may get before elements go to their second choice. */
const SLACK = 1.1;

/** @throws FarmError USAGE when there are more groups than shards */
export function shardMatrix(elements: readonly Element[], options: ShardOptions): Shard[] {
  const { maxShards = MAX_JOBS, expectedSeconds } = options;
  const groups = [
    ...Map.groupBy(elements, ({ distribution, architecture }) => `${distribution}.${architecture}`),
  ]
    .map(([name, members]) => ({ name, members, seconds: sum(members.map(expectedSeconds)) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (groups.length > maxShards) {
    throw new FarmError("USAGE", {
      detail: `${groups.length} distribution releases and architectures do not fit into ${maxShards} shards`,
    });
  }
  const counts = countShards(groups, options.targetSeconds ?? DEFAULT_TARGET_SECONDS, maxShards);
  return groups.flatMap(({ name, members, seconds }, index) =>
    divide(name, members, seconds, counts[index] as number, expectedSeconds),
  );
}

interface Group {
  readonly members: readonly Element[];
  readonly seconds: number;
}

/** Powers of two change seldom when a few elements come or go; the target grows until the number fits. */
function countShards(groups: readonly Group[], targetSeconds: number, maxShards: number): number[] {
  for (let target = targetSeconds; ; target *= 2) {
    const counts = groups.map(({ members, seconds }) => {
      const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, seconds / target)));
      return Math.min(wanted, members.length);
    });
    if (sum(counts) <= maxShards) return counts;
  }
}

/**
 * Each element prefers shards in an order of its own (rendezvous hashing), so one that comes or goes moves few
 * others; a shard that is full passes it on.
 */
function divide(
  name: string,
  members: readonly Element[],
  seconds: number,
  count: number,
  expectedSeconds: ShardOptions["expectedSeconds"],
): Shard[] {
  const room = (seconds / count) * SLACK;
  const shards = Array.from({ length: count }, () => ({ elements: [] as Element[], seconds: 0 }));
  const ranked = members.map((element) => ({
    element,
    cost: expectedSeconds(element),
    ranks: ranksOf(elementKey(element), count),
  }));
  // The costly ones first: what is left at the end must be small to fit anywhere.
  for (const { element, cost, ranks } of ranked.toSorted(
    (a, b) => b.cost - a.cost || (a.ranks.key < b.ranks.key ? -1 : 1),
  )) {
    const choice =
      ranks.order.find((index) => (shards[index]?.seconds ?? 0) + cost <= room) ?? emptiest(shards);
    const shard = shards[choice] as (typeof shards)[number];
    shard.elements.push(element);
    shard.seconds += cost;
  }
  const [distribution, architecture] = splitLast(name, ".");
  return shards.map((shard, index) => ({
    id: `${name}.${index}-${count}`,
    distribution,
    architecture,
    elements: shard.elements.toSorted((a, b) => (elementKey(a) < elementKey(b) ? -1 : 1)),
    expectedSeconds: Math.round(shard.seconds),
  }));
}

function ranksOf(key: string, count: number): { readonly key: string; readonly order: readonly number[] } {
  const weights = Array.from({ length: count }, (_, index) =>
    createHash("sha256").update(`${index}/${key}`).digest("hex"),
  );
  const order = weights
    .map((_, index) => index)
    .sort((a, b) => ((weights[a] as string) < (weights[b] as string) ? 1 : -1));
  return { key, order };
}

function emptiest(shards: readonly { readonly seconds: number }[]): number {
  const least = smallest(shards.map(({ seconds }) => seconds));
  return shards.findIndex(({ seconds }) => seconds === least);
}

function splitLast(text: string, separator: string): [string, string] {
  const at = text.lastIndexOf(separator);
  return [text.slice(0, at), text.slice(at + 1)];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/**
 * What a CI job prints for the next one, an entry for each shard: ids only, the elements come from elsewhere.
 * @throws FarmError USAGE when even that is more than an output may hold
 */
export function githubMatrix(shards: readonly ShardFacts[]): string {
  const include = shards.map(({ id, distribution, architecture, machine, elements }) => ({
    ...{ shard: id, distribution, architecture, machine },
    elements: elements.length,
  }));
  const text = JSON.stringify({ include });
  if (text.length > MAX_OUTPUT_CHARACTERS) {
    throw new FarmError("USAGE", {
      detail: `the list of ${shards.length} shards is ${text.length} characters long, but a job's output may have only ${MAX_OUTPUT_CHARACTERS}`,
    });
  }
  return text;
}
