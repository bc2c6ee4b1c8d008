/**
 * The head of a registry: one signed note says which generation is published and where the node index of each driver begins.
 * It is the only file that is ever overwritten; all else is found from it by digest.
 */
import { FarmError } from "../base/error.ts";
import { type Digest, hexOf } from "../base/json.ts";
import { logHashText, readLogHash, wordsOf } from "./checkpoint.ts";
import { Lines, malformed, toText } from "./lines.ts";
import { isWidths } from "./node-index.ts";
import type { SignedNote } from "./signed-note.ts";
import { isSameHash, type LogState } from "./trees/rfc6962.ts";
import { checkNotExpired, checkSigned, otherOrigin, readOrigin, type Trust } from "./trust.ts";

/** Where nodes find what a driver has for a machine. */
export interface IndexRoot {
  readonly driver: string;
  /** `uname -m` */
  readonly machine: string;
  readonly widths: string;
  readonly top: Digest;
  /** The least version that nodes may still use; what they have of an earlier one they do not load again. */
  readonly floor?: string;
}

export interface Head {
  readonly origin: string;
  /** Grows with each head. */
  readonly serial: number;
  readonly issued: string;
  readonly expires: string;
  readonly generation: { readonly number: number; readonly digest: Digest };
  /** How far the log is, where the registry has one. */
  readonly log?: LogState;
  readonly indices: readonly IndexRoot[];
}

/** Of 2,000 drivers and machines, whatever their names, with all signatures. */
export const HEAD_LIMIT_BYTES = 768 << 10;
/** What is left of it for lines of signatures. */
const SIGNATURES_BYTES = 8 << 10;
export const HEAD_PATH = "metadata/head";
/** Heads of registries without a log are as they ever were. */
const [HEADING, HEADING_WITH_LOG] = ["kmodfarm head v1", "kmodfarm head v2"];
const NO_FLOOR = "-";

/** Reads what is signed, without asking by whom. @throws FarmError NOTE_MALFORMED */
export function readHead(text: string, what: string): Head {
  const lines = new Lines(text, HEAD_LIMIT_BYTES, what);
  const hasLog = lines.takes(HEADING_WITH_LOG);
  if (!hasLog) lines.exactly(HEADING);
  const origin = readOrigin(lines);
  const serial = lines.number(lines.fields("serial", 1)[0]);
  if (serial === 0) throw lines.fault("serials begin with 1");
  const issued = lines.time(lines.fields("issued", 1)[0]);
  const expires = lines.time(lines.fields("expires", 1)[0]);
  if (expires <= issued) throw lines.fault("it expires before it is issued");
  const [number, digest] = lines.fields("generation", 2);
  const generation = { number: lines.number(number), digest: lines.digest(digest) };
  const log = hasLog ? readLogState(lines) : undefined;
  const indices: IndexRoot[] = [];
  for (let last = ""; !lines.isAtEnd; ) {
    const index = readIndexRoot(lines);
    if (placeOf(index) <= last)
      throw lines.fault("indices are in the order of driver and machine, each once");
    last = placeOf(index);
    indices.push(index);
  }
  return { origin, serial, issued, expires, generation, ...(log === undefined ? {} : { log }), indices };
}

function readLogState(lines: Lines): LogState {
  const [size, root] = lines.fields("log", 2);
  return { size: lines.number(size), root: readLogHash(lines, root) };
}

function readIndexRoot(lines: Lines): IndexRoot {
  const [driver, machine, widths = "", top, key, floor] = lines.fields("index", 6);
  if (!isWidths(widths)) throw lines.fault(`${JSON.stringify(widths)} are not widths`);
  if (key !== "floor") throw lines.fault("it has no floor");
  return {
    driver: lines.name(driver),
    machine: lines.name(machine),
    widths,
    top: lines.digest(top),
    ...(floor === NO_FLOOR ? {} : { floor: lines.name(floor) }),
  };
}

/** The text to sign. @throws FarmError NOTE_MALFORMED for what no reader would take */
export function writeHead({ origin, serial, issued, expires, generation, log, indices }: Head): string {
  const text = toText([
    log === undefined ? HEADING : HEADING_WITH_LOG,
    `origin ${origin}`,
    `serial ${serial}`,
    `issued ${issued}`,
    `expires ${expires}`,
    `generation ${generation.number} ${hexOf(generation.digest)}`,
    ...(log === undefined ? [] : [`log ${log.size} ${logHashText(log.root)}`]),
    ...indices
      .toSorted((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
      .map(
        ({ driver, machine, widths, top, floor = NO_FLOOR }) =>
          `index ${driver} ${machine} ${widths} ${hexOf(top)} floor ${floor}`,
      ),
  ]);
  readHead(text, "the new head");
  if (text.length > HEAD_LIMIT_BYTES - SIGNATURES_BYTES)
    throw malformed("the new head", `it has ${text.length} bytes, which leave no room for signatures`);
  return text;
}

/**
 * Takes a head as the newest. `last` is the one that was accepted before, if any: serials never fall, and one serial is one
 * text. A clock before the time at which `last` was issued is wrong, and proves nothing to be fresh.
 * @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED, METADATA_ROLLED_BACK, METADATA_FORKED, METADATA_EXPIRED
 */
export function acceptHead(
  trust: Trust,
  note: SignedNote,
  last: SignedNote | undefined,
  now: Date,
  what: string,
): Head {
  const head = verifiedHead(trust, note, what);
  if (trust.roles.log !== undefined && head.log === undefined)
    throw new FarmError("METADATA_UNSIGNED", {
      about: what,
      detail: `it names no log, and root ${trust.version} says who signs that`,
    });
  const before = last === undefined ? undefined : readHead(last.text, `the last head of ${what}`);
  if (before !== undefined) refuseOlder(head, before, note.text === last?.text, what);
  // Who signs an earlier time later has found that the clock of then was wrong.
  const isCorrected = before !== undefined && head.serial > before.serial && head.issued < before.issued;
  if (before !== undefined && !isCorrected && now.getTime() < Date.parse(before.issued))
    throw new FarmError("METADATA_EXPIRED", {
      about: what,
      detail: `this machine's clock is before ${before.issued}, when the last head was issued`,
      hint: "Set the clock.",
    });
  checkNotExpired(trust, now, `root ${trust.version} of ${trust.origin}`);
  checkNotExpired(head, now, what);
  return head;
}

/** A head that those who are trusted signed, however old. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
export function verifiedHead(trust: Trust, note: SignedNote, what: string): Head {
  checkSigned(trust, "head", note, what);
  const head = readHead(note.text, what);
  if (head.origin !== trust.origin) throw otherOrigin(what, head.origin, trust.origin);
  return head;
}

/** @throws FarmError METADATA_ROLLED_BACK, METADATA_FORKED */
function refuseOlder(head: Head, last: Head, isSame: boolean, what: string): void {
  const older = (fact: string) => new FarmError("METADATA_ROLLED_BACK", { about: what, detail: fact });
  if (head.serial < last.serial)
    throw older(`its serial is ${head.serial}, and ${last.serial} was seen before`);
  if (head.serial === last.serial && !isSame)
    throw new FarmError("METADATA_FORKED", {
      about: what,
      detail: `it differs from the head of the same serial ${head.serial} that was seen before`,
    });
  if (head.generation.number < last.generation.number)
    throw older(`its generation is ${head.generation.number}, and ${last.generation.number} was seen before`);
  if (last.log === undefined) return;
  const seen = `seen before: ${wordsOf(last.log)}`;
  if (head.log === undefined) throw older(`its log is gone (${seen})`);
  const both = `${seen}; shown now: ${wordsOf(head.log)}`;
  if (head.log.size < last.log.size) throw older(`its log shrank (${both})`);
  if (head.log.size === last.log.size && !isSameHash(head.log.root, last.log.root))
    throw new FarmError("METADATA_FORKED", {
      about: what,
      detail: `its log forked: two roots over as many entries (${both})`,
    });
}

/** Blanks sort before everything that names may hold. */
function placeOf({ driver, machine }: IndexRoot): string {
  return `${driver} ${machine}`;
}
