/**
 * Notes that vouch for generations: before a writer publishes one, a key that may sign heads says which one it is. Whoever
 * publishes upon it, or signs what it holds, need not believe the store.
 */
import { type Digest, hexOf } from "../base/json.ts";
import { Lines, toText } from "./lines.ts";
import type { SignedNote } from "./signed-note.ts";
import { checkSigned, otherOrigin, readOrigin, type Trust } from "./trust.ts";

interface GenerationName {
  readonly number: number;
  readonly digest: Digest;
}

export interface Vouch {
  readonly origin: string;
  readonly generation: GenerationName;
  /** The one that it was made of; null for the first. */
  readonly parent: GenerationName | null;
}

export const VOUCH_LIMIT_BYTES = 8 << 10;
export const VOUCHES_PLACE = "metadata/generations";
const HEADING = "kmodfarm generation v1";
const FIRST = "first";

/** By its digest, so that writers who lose a race leave no more than a file that nothing needs. */
export function vouchPath(digest: Digest): string {
  return `${VOUCHES_PLACE}/${hexOf(digest)}`;
}

/** Reads what is signed, without asking by whom. @throws FarmError NOTE_MALFORMED */
export function readVouch(text: string, what: string): Vouch {
  const lines = new Lines(text, VOUCH_LIMIT_BYTES, what);
  lines.exactly(HEADING);
  const origin = readOrigin(lines);
  const generation = readName(lines, "generation");
  if (generation.number === 0) throw lines.fault("generations begin with 1");
  const parent = lines.takes(FIRST) ? null : readName(lines, "follows");
  if ((parent?.number ?? 0) + 1 !== generation.number)
    throw lines.fault(`generation ${generation.number} does not follow that one`);
  lines.end();
  return { origin, generation, parent };
}

function readName(lines: Lines, key: string): GenerationName {
  const [number, digest] = lines.fields(key, 2);
  return { number: lines.number(number), digest: lines.digest(digest) };
}

/** The text to sign. @throws FarmError NOTE_MALFORMED for what no reader would take */
export function writeVouch({ origin, generation, parent }: Vouch): string {
  const name = ({ number, digest }: GenerationName) => `${number} ${hexOf(digest)}`;
  const text = toText([
    HEADING,
    `origin ${origin}`,
    `generation ${name(generation)}`,
    parent === null ? FIRST : `follows ${name(parent)}`,
  ]);
  readVouch(text, "the new note");
  return text;
}

/** What those who are trusted for heads vouch for. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
export function verifiedVouch(trust: Trust, note: SignedNote, what: string): Vouch {
  checkSigned(trust, "head", note, what);
  const vouch = readVouch(note.text, what);
  if (vouch.origin !== trust.origin) throw otherOrigin(what, vouch.origin, trust.origin);
  return vouch;
}
