/**
 * The log of a registry: every decision that changed what nodes get, and every edition of a set, as entries of an append-only
 * tree. It follows from those of a generation, which only grow, so writers that meet write the same tiles, and whoever reads
 * the registry can make it again.
 */
import PQueue from "p-queue";
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf } from "../base/json.ts";
import { signedCheckpoint, writeCheckpoint } from "../provenance/checkpoint.ts";
import { asFreeText, toText } from "../provenance/lines.ts";
import { type LogProof, writeLogProof } from "../provenance/log-proof.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import {
  CHECKPOINT_PATH,
  type FoundCheckpoint,
  logPath,
  logProofPath,
  proveShown,
  readCheckpointAt,
  requireCheckpoint,
} from "../provenance/shown-log.ts";
import { noteSignature, type SignedNote, writeNote } from "../provenance/signed-note.ts";
import {
  entryHash,
  type LogHash,
  type LogState,
  type NodeAt,
  proveInclusion,
  rootAt,
} from "../provenance/trees/rfc6962.ts";
import {
  newBundles,
  newTiles,
  nodesInTiles,
  TILE_WIDTH,
  type TileName,
  topOf,
  writeBundle,
  writeTile,
} from "../provenance/trees/tiles.ts";
import type { Trust } from "../provenance/trust.ts";
import type { Decision, Edition, IndexEntry, Published } from "./documents.ts";
import type { RegistryReader } from "./reader.ts";
import type { Store } from "./stores/store.ts";

/** Signatures of a checkpoint's text, by every key of the farm that may sign one. */
export type SignCheckpoint = (
  text: string,
) => Promise<readonly { readonly key: PublicKey; readonly signature: Uint8Array }[]>;

const AT_ONCE = 8;

/** What changes what nodes get; what was merely found out or refused does not. */
const LOGGED: ReadonlySet<Decision["action"]> = new Set([
  ...(["promote", "withdraw", "rollback", "reuse", "endReuse", "floor"] as const),
]);

interface LogEntry {
  readonly bytes: Buffer;
  readonly hash: LogHash;
}

/** Neither ever changes, so each is hashed once. */
const KNOWN = new WeakMap<Decision | Edition, LogEntry>();

function entryOf(logged: Decision | Edition): LogEntry {
  const known = KNOWN.get(logged);
  if (known !== undefined) return known;
  const bytes = Buffer.from("root" in logged ? editionText(logged) : entryText(logged));
  const entry = { bytes, hash: entryHash(bytes) };
  KNOWN.set(logged, entry);
  return entry;
}

function editionText({ driver, version, edition, count, levels, root }: Edition): string {
  return toText([`v1 edition ${edition}`, `set ${driver} ${version} ${count} ${root}/${levels}`]);
}

/**
 * Lines, as everything that nodes read, and few: a partial bundle is written anew with each entry. Who decided and why is in
 * the generation; what is said of people can be taken out there, and never here.
 */
function entryText({ at, action, artifact, kernel, manifest, denied, floor }: Decision): string {
  return toText([
    `v1 ${action} ${at}`,
    `artifact ${artifact.driver} ${artifact.output}`,
    ...(kernel === undefined ? [] : [`kernel ${asFreeText(kernel)}`]),
    ...(manifest === undefined ? [] : [`manifest ${hexOf(manifest)}`]),
    ...(denied?.modules ?? []).map((module) => `deny ${hexOf(module)}`),
    ...(floor === undefined ? [] : [`floor ${floor}`]),
  ]);
}

/** A log in memory. */
export interface RegistryLog {
  readonly entries: readonly LogEntry[];
  /** Of each level of tiles, all whole groups. */
  readonly rows: readonly (readonly LogHash[])[];
  readonly nodeAt: NodeAt;
}

/** What a log is made of. */
export type Logged = Pick<Published, "decisions" | "editions">;

/** An edition stands behind the decisions that there were when it was made. */
function loggedOf({ decisions, editions }: Logged): (Decision | Edition)[] {
  const found: (Decision | Edition)[] = [];
  let next = 0;
  for (let at = 0; at <= decisions.length; at++) {
    for (
      let edition = editions[next];
      edition !== undefined && edition.after <= at;
      edition = editions[++next]
    )
      found.push(edition);
    const decision = decisions[at];
    if (decision !== undefined && LOGGED.has(decision.action)) found.push(decision);
  }
  return found;
}

export function logOf(logged: Logged): RegistryLog {
  const entries = loggedOf(logged).map(entryOf);
  const rows: LogHash[][] = [entries.map(({ hash }) => hash)];
  for (let row = rows[0] ?? []; row.length >= TILE_WIDTH; ) {
    const below = row;
    row = Array.from({ length: Math.floor(below.length / TILE_WIDTH) }, (_, at) =>
      topOf(below.slice(at * TILE_WIDTH, (at + 1) * TILE_WIDTH)),
    );
    rows.push(row);
  }
  const nodeAt = nodesInTiles(entries.length, async (tile) => partOf(rows[Number(tile.level)] ?? [], tile));
  return { entries, rows, nodeAt };
}

function partOf<T>(row: readonly T[], { index, width }: TileName): readonly T[] {
  return row.slice(index * TILE_WIDTH, index * TILE_WIDTH + width);
}

export async function stateOf({ entries, nodeAt }: RegistryLog): Promise<LogState> {
  return { size: entries.length, root: await rootAt(entries.length, nodeAt) };
}

/** Every file of a log that was not there when it had `before` entries. */
export function* logFiles(
  log: RegistryLog,
  before = 0,
): Generator<{ readonly path: string; readonly bytes: Buffer }> {
  for (const bundle of newBundles(before, log.entries.length))
    yield {
      path: logPath(bundle),
      bytes: writeBundle(partOf(log.entries, bundle).map(({ bytes }) => bytes)),
    };
  for (const tile of newTiles(before, log.entries.length))
    yield { path: logPath(tile), bytes: writeTile(partOf(log.rows[tile.level] ?? [], tile)) };
}

/** Where the log has the last decision about an artifact: undefined where none is there. */
export function placesInLog(logged: Logged): (artifact: LoggedArtifact) => number | undefined {
  const places = new Map<string, number>();
  const keyOf = ({ driver, output, recipe }: LoggedArtifact) => `${driver}\n${output}\n${recipe}`;
  for (const [index, one] of loggedOf(logged).entries())
    if ("artifact" in one) places.set(keyOf(one.artifact), index);
  return (artifact) => places.get(keyOf(artifact));
}

type LoggedArtifact = Pick<IndexEntry, "driver" | "output" | "recipe">;

/**
 * The proof that the last decision about an artifact is in a registry's log, by its newest checkpoint.
 * @throws FarmError ARTIFACT_UNKNOWN, LOG_INCONSISTENT and what reading throws
 */
export async function proveLogged(
  reader: RegistryReader,
  logged: Logged,
  artifact: IndexEntry,
  trust: Trust,
): Promise<LogProof> {
  const { checkpoint, note } = await requireCheckpoint(reader, trust);
  const index = placesInLog(logged)(artifact);
  const entry = index === undefined ? undefined : logOf(logged).entries[index];
  if (index === undefined || entry === undefined || index >= checkpoint.size)
    throw new FarmError("ARTIFACT_UNKNOWN", {
      detail: `no decision about ${artifact.output} of ${artifact.driver} is in the log of ${reader.place}`,
      hint: "Artifacts that became stable before the registry had a log, and candidates, are not in it.",
    });
  const hashes = await proveShown(reader, index, checkpoint.size);
  return { entry: entry.bytes, index, hashes, checkpoint: note };
}

/** Where the log has the first promotion of each artifact, by its manifest. */
export function promotionsIn(logged: Logged): ReadonlyMap<Digest, number> {
  const places = new Map<Digest, number>();
  for (const [index, one] of loggedOf(logged).entries()) {
    if (!("artifact" in one) || one.action !== "promote" || one.manifest === undefined) continue;
    if (!places.has(one.manifest)) places.set(one.manifest, index);
  }
  return places;
}

/**
 * Writes what of the log is not there yet, then its checkpoint, and a proof for each artifact that was promoted since: a head
 * that names the log comes after all of them. Witnesses' lines stay as long as the log does.
 * @throws FarmError METADATA_UNSIGNED where this farm's key is not one that the root trusts for the log
 */
export async function publishLog(
  store: Store,
  logged: Logged,
  {
    trust,
    before,
    sign,
  }: { readonly trust: Trust; readonly before: number; readonly sign?: SignCheckpoint | undefined },
): Promise<LogState> {
  const log = logOf(logged);
  // Who was killed after the head of another log may have left nothing: what is there already stays.
  for (const { path, bytes } of logFiles(log, before)) await store.create(path, bytes);
  const state = await stateOf(log);
  const shown = await showCheckpoint(store, state, trust, sign);
  // Who shows a longer log writes the proofs of all that no head had named yet.
  if (shown.checkpoint.size === state.size)
    await publishProofs(store, log, promotionsIn(logged), before, shown.note);
  return state;
}

/** A proof is made once, by the checkpoint of the night that promoted the artifact: the log only grows, so it stays one. */
async function publishProofs(
  store: Store,
  log: RegistryLog,
  promotions: ReadonlyMap<Digest, number>,
  before: number,
  checkpoint: SignedNote,
): Promise<void> {
  const earlier = [...promotions].findLast(([, index]) => index < before);
  // A version that wrote none may have been here.
  const isBegun = earlier === undefined || (await store.facts(logProofPath(earlier[0]))) !== undefined;
  const put = async (manifest: Digest, index: number) => {
    const proof = await proofIn(log, index, checkpoint);
    await store.create(logProofPath(manifest), writeLogProof(proof));
  };
  const queue = new PQueue({ concurrency: AT_ONCE });
  const fresh = [...promotions].filter(([, index]) => !isBegun || index >= before);
  await Promise.all(fresh.map(([manifest, index]) => queue.add(() => put(manifest, index))));
}

/** That a log has its `index`-th entry, by a checkpoint of just that log. */
export async function proofIn(
  { entries, nodeAt }: RegistryLog,
  index: number,
  checkpoint: SignedNote,
): Promise<LogProof> {
  const hashes = await proveInclusion(index, entries.length, nodeAt);
  return { entry: entries[index]?.bytes ?? Buffer.alloc(0), index, hashes, checkpoint };
}

/** Shows a checkpoint unless one of a longer log is shown, or this one. Returns what is shown then. */
export async function showCheckpoint(
  store: Store,
  state: LogState,
  trust: Trust,
  sign: SignCheckpoint = async () => [],
): Promise<FoundCheckpoint> {
  const text = writeCheckpoint({ origin: trust.origin, ...state });
  const there = await readCheckpointAt(store, trust).catch((thrown) => {
    // By a key that is trusted no longer, or damaged: it is written anew.
    if (thrown instanceof FarmError && thrown.blame === "integrity") return undefined;
    throw thrown;
  });
  if (there !== undefined && (there.note.text === text || there.checkpoint.size > state.size)) return there;
  const signed = await sign(text);
  const note = {
    text,
    signatures: signed.map(({ key, signature }) => noteSignature(trust.origin, key, signature)),
  };
  const checkpoint = signedCheckpoint(trust, note, `the new checkpoint of ${store.place}`);
  await store.write(CHECKPOINT_PATH, writeNote(note));
  return { checkpoint, note };
}
