/**
 * Checkpoints of a log: a signed note that says how many entries it has, and the root over them (c2sp.org/tlog-checkpoint).
 */
import { FarmError } from "../base/error.ts";
import { Lines, toText } from "./lines.ts";
import type { SignedNote } from "./signed-note.ts";
import { asLogHash, type LogHash, type LogState } from "./trees/rfc6962.ts";
import { checkSigned, otherOrigin, type Trust } from "./trust.ts";

export interface Checkpoint extends LogState {
  readonly origin: string;
}

export const CHECKPOINT_LIMIT_BYTES = 16 << 10;
const HASH = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

/** Base64 of a hash, as it stands in notes. */
export function logHashText(hash: LogHash): string {
  return Buffer.from(hash).toString("base64");
}

/** For people. */
export function wordsOf({ size, root }: LogState): string {
  return `${size} entries, root ${logHashText(root)}`;
}

export function readLogHash(lines: Lines, field: string | undefined): LogHash {
  if (field === undefined || !HASH.test(field)) throw lines.fault("it has no hash in base64");
  return asLogHash(Buffer.from(field, "base64"));
}

/** Reads what is signed, without asking by whom. Extensions are not for our logs. @throws FarmError NOTE_MALFORMED */
export function readCheckpoint(text: string, what: string): Checkpoint {
  const lines = new Lines(text, CHECKPOINT_LIMIT_BYTES, what);
  const origin = lines.word(lines.any());
  const size = lines.number(lines.any());
  const root = readLogHash(lines, lines.any());
  lines.end();
  return { origin, size, root };
}

/** The text to sign. */
export function writeCheckpoint({ origin, size, root }: Checkpoint): string {
  const text = toText([origin, String(size), logHashText(root)]);
  readCheckpoint(text, "the new checkpoint");
  return text;
}

/**
 * A checkpoint that a threshold of the log's keys signed, and of its witnesses if the root names some.
 * @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED
 */
export function verifiedCheckpoint(trust: Trust, note: SignedNote, what: string): Checkpoint {
  const checkpoint = signedCheckpoint(trust, note, what);
  if (trust.roles.witness !== undefined) checkSigned(trust, "witness", note, what);
  return checkpoint;
}

/** The same before any witness has seen it. */
export function signedCheckpoint(trust: Trust, note: SignedNote, what: string): Checkpoint {
  if (trust.roles.log === undefined)
    throw new FarmError("METADATA_UNSIGNED", {
      about: what,
      detail: `root ${trust.version} does not say who signs the log`,
    });
  checkSigned(trust, "log", note, what);
  const checkpoint = readCheckpoint(note.text, what);
  if (checkpoint.origin !== trust.origin) throw otherOrigin(what, checkpoint.origin, trust.origin);
  return checkpoint;
}
