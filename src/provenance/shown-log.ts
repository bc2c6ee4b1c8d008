/**
 * What a registry shows of its log, for whoever only reads it: the checkpoint, and proofs that follow from its tiles. What
 * cannot be shown is no proof.
 */
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf } from "../base/json.ts";
import { CHECKPOINT_LIMIT_BYTES, type Checkpoint, signedCheckpoint, wordsOf } from "./checkpoint.ts";
import { readNote, type SignedNote } from "./signed-note.ts";
import {
  entryHash,
  isConsistent,
  isIncluded,
  type LogHash,
  type LogState,
  type NodeAt,
  proveConsistency,
  proveInclusion,
} from "./trees/rfc6962.ts";
import {
  nodesInTiles,
  readTile,
  TILE_LIMIT_BYTES,
  TILE_WIDTH,
  type TileName,
  tilePath,
} from "./trees/tiles.ts";
import type { Trust } from "./trust.ts";

/** A registry, or a mirror of one. */
export interface LogReader {
  readonly place: string;
  read(path: string, limitBytes: number): Promise<Buffer | undefined>;
}

export const LOG_PLACE = "metadata/log/";
export const CHECKPOINT_PATH = `${LOG_PLACE}checkpoint`;

export function logPath(tile: TileName): string {
  return `${LOG_PLACE}${tilePath(tile)}`;
}

/** Where the proof lies that an artifact, which its manifest names, was promoted. */
export function logProofPath(manifest: Digest): string {
  return `${LOG_PLACE}proof/${hexOf(manifest)}.tlog-proof`;
}

export interface FoundCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: SignedNote;
}

/** The newest checkpoint, signed by the log; undefined where there is none. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
export async function readCheckpointAt(
  reader: LogReader,
  trust: Trust,
): Promise<FoundCheckpoint | undefined> {
  const what = `${reader.place}/${CHECKPOINT_PATH}`;
  const bytes = await reader.read(CHECKPOINT_PATH, CHECKPOINT_LIMIT_BYTES);
  if (bytes === undefined) return undefined;
  const note = readNote(bytes, CHECKPOINT_LIMIT_BYTES, what);
  return { checkpoint: signedCheckpoint(trust, note, what), note };
}

/** @throws FarmError LOG_INCONSISTENT where it is missing, though the root says who signs it; METADATA_UNSIGNED without a log */
export async function requireCheckpoint(reader: LogReader, trust: Trust): Promise<FoundCheckpoint> {
  const found = await readCheckpointAt(reader, trust);
  if (found !== undefined) return found;
  throw inconsistent(`${reader.place}/${CHECKPOINT_PATH}`, "the log's checkpoint is missing");
}

/** Nodes of a registry's log, from its tiles. A partial tile may be gone where the full one is there. */
function publishedNodes(reader: LogReader, size: number): NodeAt {
  return nodesInTiles(size, async (tile) => {
    const path = logPath(tile);
    const bytes = await reader.read(path, TILE_LIMIT_BYTES);
    if (bytes !== undefined) return readTile(bytes, tile.width, `${reader.place}/${path}`);
    const full = logPath({ ...tile, width: TILE_WIDTH });
    const whole = tile.width === TILE_WIDTH ? undefined : await reader.read(full, TILE_LIMIT_BYTES);
    if (whole !== undefined)
      return readTile(whole, TILE_WIDTH, `${reader.place}/${full}`).slice(0, tile.width);
    throw inconsistent(reader.place, `its log has ${size} entries, and ${path} is missing`);
  });
}

/**
 * Sees to it that a registry's log holds all that it held when another checkpoint of it was seen, in its order.
 * @throws FarmError LOG_INCONSISTENT with both checkpoints
 */
export async function requireGrown(reader: LogReader, seen: Checkpoint, now: Checkpoint): Promise<void> {
  const both = `seen before: ${wordsOf(seen)}; shown now: ${wordsOf(now)}`;
  if (now.size === seen.size) {
    if (isConsistent(seen, now, [])) return;
    throw inconsistent(reader.place, `its log forked: two roots over as many entries (${both})`);
  }
  if (now.size < seen.size) throw inconsistent(reader.place, `its log shrank (${both})`);
  const proof = seen.size === 0 ? [] : await proofOf(reader, seen.size, now.size, both);
  if (isConsistent(seen, now, proof)) return;
  throw inconsistent(
    reader.place,
    `its log was rewritten: what it shows now does not begin with what it showed (${both})`,
  );
}

/** What cannot be shown is no proof: that too is said with both checkpoints. */
async function proofOf(reader: LogReader, before: number, size: number, both: string): Promise<LogHash[]> {
  try {
    return await proveConsistency(before, size, publishedNodes(reader, size));
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.blame !== "integrity") throw thrown;
    throw inconsistent(reader.place, `its log cannot show that it only grew: ${thrown.message} (${both})`);
  }
}

/** The hashes that show where an entry is in a log of `size`, from its tiles. @throws FarmError LOG_INCONSISTENT, NOTE_MALFORMED */
export function proveShown(reader: LogReader, index: number, size: number): Promise<LogHash[]> {
  return proveInclusion(index, size, publishedNodes(reader, size));
}

/** @throws FarmError LOG_INCONSISTENT unless the log that a checkpoint is of has that entry at that place */
export async function requireIncluded(
  reader: LogReader,
  { entry, index }: { readonly entry: Uint8Array; readonly index: number },
  { size, root }: LogState,
): Promise<void> {
  const isIn =
    index < size &&
    isIncluded(entryHash(entry), { index, size, proof: await proveShown(reader, index, size) }, root);
  if (!isIn)
    throw inconsistent(reader.place, `entry ${index} of its log is another one (${wordsOf({ size, root })})`);
}

export function inconsistent(about: string, detail: string): FarmError {
  return new FarmError("LOG_INCONSISTENT", { about, detail });
}
