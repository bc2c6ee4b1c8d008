/** The way from a head to what a driver has for the node's kernel: node by node, to the leaf that answers for it. */
import type { Digest } from "../base/json.ts";
import type { Head } from "../provenance/head.ts";
import {
  answerFrom,
  type Denial,
  denialsOf,
  type FoundAnswer,
  keyOf,
  leafPrefix,
  NODE_LIMIT_BYTES,
  type NodeQuestion,
  readLeaf,
  readNode,
  wayTo,
} from "../provenance/node-index.ts";
import type { Published } from "./published.ts";

export interface Resolved {
  readonly found: FoundAnswer;
  /** Whatever was found. */
  readonly denied: readonly Denial[];
  readonly floor?: string;
}

/** @throws FarmError NOTE_MALFORMED, and as `Published.blob` */
export async function resolve({ head, blob }: Published, question: NodeQuestion): Promise<Resolved> {
  const index = indexOf(head, question);
  const nothing = { found: { kind: "neverSeen", near: [] }, denied: [] } as const;
  if (index === undefined) return nothing;
  const { widths, top, floor } = index;
  const given = floor === undefined ? {} : { floor };
  const key = keyOf(question);
  let digest: Digest = top;
  for (const { prefix, next } of wayTo(widths, key)) {
    const node = await blob(digest, NODE_LIMIT_BYTES);
    const child = readNode(node, question, prefix, next.length, digest).get(next);
    if (child === undefined) return { ...nothing, ...given };
    digest = child;
  }
  const leaf = await blob(digest, NODE_LIMIT_BYTES);
  const blocks = readLeaf(leaf, question, leafPrefix(widths, key), digest);
  return { found: answerFrom(blocks, question), denied: denialsOf(blocks, question), ...given };
}

function indexOf({ indices }: Head, question: NodeQuestion) {
  return indices.find(({ driver, machine }) => driver === question.driver && machine === question.machine);
}
