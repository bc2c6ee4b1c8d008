/**
 * Sets of a driver's release: every module that was ever stable for one of its versions, whatever the kernel, in the order
 * in which they became so. Places are hashed into leaves, so a set only grows, by editions: what a publication adds gets
 * its proofs by the root of that edition, which stays listed, and nothing that was made before is made again.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { cutSignature } from "../formats/module-signature.ts";
import {
  asLinuxHash,
  growTree,
  type LinuxHash,
  type LinuxRoot,
  leafOf,
  writeProof,
} from "../provenance/trees/linux-merkle.ts";
import { putBlob, readBlob, readWritten } from "./blobs.ts";
import type { Edition, IndexEntry, Published } from "./documents.ts";
import type { RegistryReader } from "./reader.ts";
import type { Store } from "./stores/store.ts";

type Place = Edition["places"][number];

const AT_ONCE = 8;

export function rootOfEdition({ levels, root }: Edition): LinuxRoot {
  return { levels, hash: hashOf(root) };
}

function hashOf(hex: string): LinuxHash {
  return asLinuxHash(Buffer.from(hex, "hex"));
}

function hexOf(hash: LinuxHash): string {
  return Buffer.from(hash).toString("hex");
}

function keyOf({ driver, version }: Pick<Edition, "driver" | "version">): string {
  return `${driver} ${version}`;
}

/** The editions of each release, oldest first. */
function bySet(editions: readonly Edition[]): ReadonlyMap<string, readonly Edition[]> {
  return Map.groupBy(editions, keyOf);
}

function leafHashes(editions: readonly Edition[]): LinuxHash[] {
  return editions.flatMap(({ places }) => places.map(({ leaf }) => hashOf(leaf)));
}

/** A module that is not in its set yet. */
interface Newcomer {
  readonly entry: IndexEntry;
  readonly module: string;
  readonly digest: Digest;
}

/**
 * What is stable and has no place yet, by the release that it is of, each module once: what became so, and with that what was
 * so before registries kept sets. Where nothing became so there is no news, and nothing to write.
 */
function newcomers(before: Published, after: Published): ReadonlyMap<string, readonly Newcomer[]> {
  const known = new Set(before.indices.flatMap(({ stable }) => stable.map(({ manifest }) => manifest)));
  const entries = after.indices.flatMap((index) => index.stable);
  if (entries.every(({ manifest }) => known.has(manifest))) return new Map();
  const stable = entries.flatMap((entry) =>
    entry.modules.map(({ name, digest, stripped }) => ({
      entry,
      module: name,
      digest: stripped ?? digest,
    })),
  );
  const placed = new Set(
    [...leavesOf(before.editions)].map(({ place, edition }) => `${keyOf(edition)} ${place.digest}`),
  );
  const setOf = ({ entry }: Newcomer) => keyOf({ driver: entry.driver, version: entry.driverVersion });
  const isFirst = (one: Newcomer) => {
    const key = `${setOf(one)} ${one.digest}`;
    if (placed.has(key)) return false;
    placed.add(key);
    return true;
  };
  return Map.groupBy(stable.filter(isFirst), setOf);
}

/**
 * The state with an edition for each release that gained modules, whose proofs are stored then. A module whose bytes are not
 * there gets no place: nobody could be given it either.
 */
export async function withEditions(store: Store, before: Published, after: Published): Promise<Published> {
  // Whatever a change makes of the rest, sets only grow.
  const editions = [...before.editions];
  const queue = new PQueue({ concurrency: AT_ONCE });
  for (const [name, added] of newcomers(before, after)) {
    const set = bySet(editions).get(name) ?? [];
    const leaves = await leavesFrom(set.at(-1)?.count ?? 0, store, added);
    const [first] = leaves;
    if (first === undefined) continue;
    const { driver, driverVersion: version } = first.entry;
    const { edition, proofs } = nextEdition(set, leaves, { driver, version, after: after.decisions.length });
    await Promise.all(proofs.map((proof) => queue.add(() => putBlob(store, proof))));
    editions.push(edition);
  }
  return { ...after, editions: editions.length === before.editions.length ? before.editions : editions };
}

interface Placed extends Newcomer {
  readonly leaf: LinuxHash;
}

/** Leaves of some modules from a place on. Only few modules are in memory at once, however many there are. */
async function leavesFrom(start: number, store: Store, added: readonly Newcomer[]): Promise<Placed[]> {
  const placed: Placed[] = [];
  for (let at = 0; at < added.length; at += AT_ONCE) {
    const some = added.slice(at, at + AT_ONCE);
    const contents = await Promise.all(
      some.map(({ digest }) => contentOf(() => readWritten(store, digest), digest)),
    );
    for (const [index, one] of some.entries()) {
      const content = contents[index];
      if (content !== undefined) placed.push({ ...one, leaf: leafOf(start + placed.length, content) });
    }
  }
  return placed;
}

/** A module as it is proven; undefined where its bytes are missing or damaged, which others report. */
async function contentOf(read: () => Promise<Buffer>, digest: Digest): Promise<Uint8Array | undefined> {
  try {
    return cutSignature(await read(), digest).content;
  } catch (thrown) {
    if (thrown instanceof FarmError && ["STORE_CORRUPT", "MODULE_MALFORMED"].includes(thrown.code))
      return undefined;
    throw thrown;
  }
}

function nextEdition(
  set: readonly Edition[],
  added: readonly Placed[],
  of: Pick<Edition, "driver" | "version" | "after">,
): { readonly edition: Edition; readonly proofs: readonly Buffer[] } {
  const start = set.at(-1)?.count ?? 0;
  const tree = growTree([...leafHashes(set), ...added.map(({ leaf }) => leaf)]);
  const proofs = added.map((_, at) => writeProof(tree.proof(start + at)));
  const places = added.map(
    ({ entry: { manifest }, module, digest, leaf }, at): Place => ({
      ...{ manifest, module, digest, leaf: hexOf(leaf) },
      proof: sha256(proofs[at] as Buffer),
    }),
  );
  const { levels, hash } = tree.root;
  const edition = (set.at(-1)?.edition ?? 0) + 1;
  return {
    edition: { ...of, edition, count: start + added.length, levels, root: hexOf(hash), places },
    proofs,
  };
}

/** Every place of some editions, with its number in its set. */
export function* leavesOf(
  editions: readonly Edition[],
): Generator<{ readonly position: number; readonly place: Place; readonly edition: Edition }> {
  for (const edition of editions)
    for (const [at, place] of edition.places.entries())
      yield { position: edition.count - edition.places.length + at, place, edition };
}

/** Every proof of some editions, made again, beside what the place says of it. */
export function* proofsOf(
  editions: readonly Edition[],
): Generator<{ readonly digest: Digest; readonly proof: Buffer }> {
  for (const set of bySet(editions).values())
    for (const [at, edition] of set.entries()) {
      const tree = growTree(leafHashes(set.slice(0, at + 1)));
      for (const { position, place } of leavesOf([edition]))
        yield { digest: place.proof, proof: writeProof(tree.proof(position)) };
    }
}

/** What does not fit in the editions of a state, in itself. */
export function faultsOfSets(editions: readonly Edition[]): string[] {
  const faults: string[] = [];
  for (const [name, set] of bySet(editions))
    for (const [at, edition] of set.entries()) {
      const leaves = leafHashes(set.slice(0, at + 1));
      const { levels, hash } = growTree(leaves).root;
      const { edition: number, count, root } = edition;
      if (number !== at + 1 || count !== leaves.length || edition.levels !== levels || root !== hexOf(hash))
        faults.push(`edition ${number} of ${name} is not over its modules`);
    }
  if (faults.length > 0) return faults;
  for (const { digest, proof } of proofsOf(editions))
    if (sha256(proof) !== digest) faults.push(`the proof ${digest} is not that of its edition`);
  return faults;
}

/** The proof that a module is in a set, by the edition that brought it; undefined for what is in none. */
export async function proofOf(
  reader: RegistryReader,
  editions: readonly Edition[],
  module: Uint8Array,
  what: string,
): Promise<Buffer | undefined> {
  const { content } = cutSignature(module, what);
  const digests = new Set([sha256(module), sha256(content)]);
  for (const { position, place } of leavesOf(editions))
    if (digests.has(place.digest) && hexOf(leafOf(position, content)) === place.leaf)
      return readBlob(reader, place.proof);
  return undefined;
}
