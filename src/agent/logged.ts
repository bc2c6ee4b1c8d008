/**
 * A node that takes nothing but what everybody can see (docs/log.md): the registry's log only grew since this node saw it
 * last, and it has the promotion of the artifact.
 */
import { FarmError } from "../base/error.ts";
import { hexOf } from "../base/json.ts";
import { CHECKPOINT_LIMIT_BYTES, type Checkpoint, readCheckpoint } from "../provenance/checkpoint.ts";
import type { Head } from "../provenance/head.ts";
import { Lines } from "../provenance/lines.ts";
import { LOG_PROOF_LIMIT_BYTES, readLogProof } from "../provenance/log-proof.ts";
import {
  CHECKPOINT_PATH,
  inconsistent,
  logProofPath,
  requireCheckpoint,
  requireGrown,
  requireIncluded,
} from "../provenance/shown-log.ts";
import { readNote, writeNote } from "../provenance/signed-note.ts";
import { ENTRY_LIMIT_BYTES } from "../provenance/trees/tiles.ts";
import { checkSigned, type Trust } from "../provenance/trust.ts";
import { type Given, type ReadFile, requireManifest } from "./builders.ts";
import type { Mirror } from "./mirrors.ts";
import type { State } from "./state.ts";

/** A log, and who shows it. */
export interface ShownLog {
  readonly mirror: Mirror;
  readonly checkpoint: Checkpoint;
}

/**
 * The log that goes with a head; its checkpoint is kept for the next time.
 * @throws FarmError LOG_INCONSISTENT with both checkpoints; METADATA_UNSIGNED, NOTE_MALFORMED, REMOTE_UNAVAILABLE
 */
export async function watchLog(mirror: Mirror, trust: Trust, head: Head, state: State): Promise<ShownLog> {
  if (trust.roles.log === undefined || head.log === undefined)
    throw new FarmError("METADATA_UNSIGNED", {
      about: mirror.place,
      joint: " ",
      detail: `has no log: root ${trust.version} does not say who signs one, and this node takes nothing without`,
    });
  const { checkpoint, note } = await requireCheckpoint(mirror, trust);
  if (trust.roles.witness !== undefined)
    checkSigned(trust, "witness", note, `${mirror.place}/${CHECKPOINT_PATH}`);
  const seen = await lastSeen(state, trust.origin);
  if (seen !== undefined) await requireGrown(mirror, seen, checkpoint);
  await requireGrown(mirror, { origin: trust.origin, ...head.log }, checkpoint);
  await state.save("checkpoint", Buffer.from(writeNote(note)));
  return { mirror, checkpoint };
}

async function lastSeen(state: State, origin: string): Promise<Checkpoint | undefined> {
  const bytes = await state.read("checkpoint");
  if (bytes === undefined) return undefined;
  const what = "the last checkpoint";
  const seen = readCheckpoint(readNote(bytes, CHECKPOINT_LIMIT_BYTES, what).text, what);
  return seen.origin === origin ? seen : undefined;
}

/**
 * Sees to it that the log has the promotion of just these modules.
 * @throws FarmError LOG_INCONSISTENT, METADATA_UNSIGNED, NOTE_MALFORMED, REMOTE_UNAVAILABLE
 */
export async function requireLogged(
  { mirror, checkpoint }: ShownLog,
  given: Given,
  read: ReadFile,
): Promise<void> {
  // A head's thief could name a manifest that is in the log with modules that are not in it.
  await requireManifest(given, read);
  const { driver, artifact } = given;
  const path = logProofPath(artifact.manifest.digest);
  const what = `${mirror.place}/${path}`;
  const bytes = await mirror.read(path, LOG_PROOF_LIMIT_BYTES);
  if (bytes === undefined)
    throw inconsistent(
      mirror.place,
      `nothing shows that ${driver} ${artifact.version} is in its log: ${path} is missing`,
    );
  const { entry, index } = readLogProof(bytes, what);
  const lines = new Lines(entry, ENTRY_LIMIT_BYTES, what);
  const [action] = lines.fields("v1", 2);
  const [name] = lines.fields("artifact", 2);
  const manifest = lines.has("manifest") ? lines.fields("manifest", 1)[0] : undefined;
  if (action !== "promote" || name !== driver || manifest !== hexOf(artifact.manifest.digest))
    throw inconsistent(what, `it is not about the promotion of ${driver} ${artifact.version}`);
  await requireIncluded(mirror, { entry, index }, checkpoint);
}
