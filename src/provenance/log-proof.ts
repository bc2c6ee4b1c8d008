/**
 * Proofs that something is in a log, in a file of their own (c2sp.org/tlog-proof@v1): with the log's key, it is all that is
 * needed to know, without a network.
 */
import { FarmError } from "../base/error.ts";
import {
  CHECKPOINT_LIMIT_BYTES,
  type Checkpoint,
  logHashText,
  readLogHash,
  verifiedCheckpoint,
} from "./checkpoint.ts";
import { Lines, malformed, toText } from "./lines.ts";
import { readNote, type SignedNote, writeNote } from "./signed-note.ts";
import { entryHash, isIncluded, type LogHash } from "./trees/rfc6962.ts";
import { ENTRY_LIMIT_BYTES } from "./trees/tiles.ts";
import type { Trust } from "./trust.ts";

export interface LogProof {
  /** What it proves, in the line that programs for logs pass over. */
  readonly entry: Uint8Array;
  readonly index: number;
  readonly hashes: readonly LogHash[];
  /** Of the log that it is a proof for. */
  readonly checkpoint: SignedNote;
}

const HEADING = "c2sp.org/tlog-proof@v1";
/** A log of 2^63 entries. */
const MOST_HASHES = 63;
/** An entry in base64 is a third longer. */
export const LOG_PROOF_LIMIT_BYTES = CHECKPOINT_LIMIT_BYTES + 2 * ENTRY_LIMIT_BYTES;
const EXTRA = /^extra ([A-Za-z0-9+/]+={0,2})$/;

export function writeLogProof({ entry, index, hashes, checkpoint }: LogProof): string {
  const extra = `extra ${Buffer.from(entry).toString("base64")}`;
  return `${toText([HEADING, extra, `index ${index}`, ...hashes.map(logHashText)])}\n${writeNote(checkpoint)}`;
}

/** @throws FarmError NOTE_MALFORMED, and nothing else */
export function readLogProof(bytes: Uint8Array, what: string): LogProof {
  if (bytes.length > LOG_PROOF_LIMIT_BYTES)
    throw malformed(what, `it has more than ${LOG_PROOF_LIMIT_BYTES} bytes`);
  const all = Buffer.from(bytes);
  const blank = all.indexOf("\n\n");
  if (blank === -1) throw malformed(what, "it has no blank line before its checkpoint");
  const lines = new Lines(all.subarray(0, blank + 1), LOG_PROOF_LIMIT_BYTES, what);
  lines.exactly(HEADING);
  const [, encoded = ""] = EXTRA.exec(lines.any()) ?? [];
  const entry = Buffer.from(encoded, "base64");
  if (encoded === "" || entry.toString("base64") !== encoded) throw lines.fault("it has no entry");
  const index = lines.number(lines.fields("index", 1)[0]);
  const hashes: LogHash[] = [];
  while (!lines.isAtEnd)
    if (hashes.push(readLogHash(lines, lines.any())) > MOST_HASHES)
      throw lines.fault("it has too many hashes");
  return {
    entry,
    index,
    hashes,
    checkpoint: readNote(all.subarray(blank + 2), CHECKPOINT_LIMIT_BYTES, what),
  };
}

/**
 * The log that holds a proof's entry, by who is trusted for logs.
 * @throws FarmError METADATA_UNSIGNED, NOTE_MALFORMED; LOG_INCONSISTENT where the entry is not in it
 */
export function verifyLogProof(
  trust: Trust,
  { entry, index, hashes, checkpoint }: LogProof,
  what: string,
): Checkpoint {
  const log = verifiedCheckpoint(trust, checkpoint, what);
  if (isIncluded(entryHash(entry), { index, size: log.size, proof: hashes }, log.root)) return log;
  throw new FarmError("LOG_INCONSISTENT", {
    about: what,
    detail: `it does not lead from the entry to the root of the log with ${log.size} entries`,
  });
}
