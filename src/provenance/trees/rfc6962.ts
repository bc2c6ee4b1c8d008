/**
 * The tree of an append-only log: RFC 6962, section 2.1, with SHA-256; proofs are verified as RFC 9162, 2.1.3 and 2.1.4,
 * says. Its hashes are a type of their own: the tree of modules (linux-merkle.ts) is made otherwise, and has other prefixes.
 */
import { createHash } from "node:crypto";

declare const rfc6962: unique symbol;
/** SHA-256 of a leaf or a node of this tree. */
export type LogHash = Uint8Array & { readonly [rfc6962]: true };

const HASH_BYTES = 32;
const [LEAF, NODE] = [0x00, 0x01];

/** Takes 32 bytes for a hash of this tree: those of a tile, a proof or a checkpoint. @throws RangeError */
export function asLogHash(bytes: Uint8Array): LogHash {
  if (bytes.length !== HASH_BYTES)
    throw new RangeError(`a hash has ${HASH_BYTES} bytes, not ${bytes.length}`);
  return bytes as LogHash;
}

export function isSameHash(a: LogHash, b: LogHash): boolean {
  return Buffer.from(a).equals(b);
}

export function entryHash(entry: Uint8Array): LogHash {
  return hashOf(LEAF, entry);
}

export function nodeHash(left: LogHash, right: LogHash): LogHash {
  return hashOf(NODE, left, right);
}

function hashOf(prefix: number, ...parts: readonly Uint8Array[]): LogHash {
  const hash = createHash("sha256").update(Buffer.of(prefix));
  for (const part of parts) hash.update(part);
  return hash.digest() as Uint8Array as LogHash;
}

/** Of a log without entries. */
export const EMPTY_ROOT = createHash("sha256").digest() as Uint8Array as LogHash;

/**
 * The node over 2^`level` leaves from the `index`-th such group on, all of which are there. Whoever has tiles, or all the
 * leaves, can say it.
 */
export type NodeAt = (level: number, index: number) => LogHash | Promise<LogHash>;

/** The root over the first `size` leaves. */
export async function rootAt(size: number, nodeAt: NodeAt): Promise<LogHash> {
  return size === 0 ? EMPTY_ROOT : rangeHash(0, size, nodeAt);
}

async function rangeHash(start: number, end: number, nodeAt: NodeAt): Promise<LogHash> {
  const count = end - start;
  const split = splitOf(count);
  // A whole group: its node is in the tree.
  if (split * 2 === count || count === 1) return nodeAt(Math.log2(count), start / count);
  return nodeHash(await rangeHash(start, start + split, nodeAt), await rangeHash(start + split, end, nodeAt));
}

/** The largest power of two below a number. */
function splitOf(count: number): number {
  let split = 1;
  while (split * 2 < count) split *= 2;
  return split;
}

/** Hashes that lead from a leaf to the root of `size` leaves, the lowest first. @throws RangeError */
export async function proveInclusion(index: number, size: number, nodeAt: NodeAt): Promise<LogHash[]> {
  if (!(index >= 0 && index < size)) throw new RangeError(`a log of ${size} entries has no entry ${index}`);
  const path: LogHash[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    const isLeft = index < middle;
    path.unshift(await (isLeft ? rangeHash(middle, end, nodeAt) : rangeHash(start, middle, nodeAt)));
    if (isLeft) end = middle;
    else start = middle;
  }
  return path;
}

/** Hashes that show that the first `before` of `size` leaves are the tree that was there before. @throws RangeError */
export async function proveConsistency(before: number, size: number, nodeAt: NodeAt): Promise<LogHash[]> {
  if (!(before >= 1 && before <= size)) throw new RangeError(`a log of ${size} entries never had ${before}`);
  const path: LogHash[] = [];
  let [start, end, isOnEdge] = [0, size, true];
  while (before < end) {
    const middle = start + splitOf(end - start);
    if (before <= middle) {
      path.unshift(await rangeHash(middle, end, nodeAt));
      end = middle;
    } else {
      path.unshift(await rangeHash(start, middle, nodeAt));
      start = middle;
      isOnEdge = false;
    }
  }
  if (!isOnEdge) path.unshift(await rangeHash(start, end, nodeAt));
  return path;
}

/** Whether an entry is the `index`-th of those below a root. A proof of another length proves nothing. */
export function isIncluded(
  entry: LogHash,
  {
    index,
    size,
    proof,
  }: { readonly index: number; readonly size: number; readonly proof: readonly LogHash[] },
  root: LogHash,
): boolean {
  if (!isCount(index) || !isCount(size) || index >= size) return false;
  let [at, last, hash] = [index, size - 1, entry];
  for (const sibling of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      hash = nodeHash(sibling, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else hash = nodeHash(hash, sibling);
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && isSameHash(hash, root);
}

/** Size and root of a log at some time. */
export interface LogState {
  readonly size: number;
  readonly root: LogHash;
}

/** Whether a log holds all that it held before, in its order. A proof of another length proves nothing. */
export function isConsistent(before: LogState, after: LogState, proof: readonly LogHash[]): boolean {
  if (!isCount(before.size) || !isCount(after.size) || before.size > after.size) return false;
  if (before.size === after.size) return proof.length === 0 && isSameHash(before.root, after.root);
  // All logs begin with none.
  if (before.size === 0) return proof.length === 0 && isSameHash(before.root, EMPTY_ROOT);
  const path = isPowerOfTwo(before.size) ? [before.root, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined) return false;
  let [at, last] = [before.size - 1, after.size - 1];
  while (at % 2 === 1) [at, last] = [half(at), half(last)];
  let [then, now] = [first, first];
  for (const sibling of path) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      then = nodeHash(sibling, then);
      now = nodeHash(sibling, now);
      while (at % 2 === 0 && at !== 0) [at, last] = [half(at), half(last)];
    } else now = nodeHash(now, sibling);
    [at, last] = [half(at), half(last)];
  }
  return last === 0 && isSameHash(then, before.root) && isSameHash(now, after.root);
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
