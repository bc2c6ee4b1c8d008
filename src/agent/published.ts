/** What a registry publishes now, believed only as far as docs/registry.md lets a node believe it. */
import { FarmError, toFarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { blobPath } from "../provenance/blob-path.ts";
import {
  acceptHead,
  HEAD_LIMIT_BYTES,
  HEAD_PATH,
  type Head,
  readHead,
  verifiedHead,
} from "../provenance/head.ts";
import { readNote, type SignedNote } from "../provenance/signed-note.ts";
import { firstTrust, nextTrust, ROOT_LIMIT_BYTES, rootPath, type Trust } from "../provenance/trust.ts";
import { type Word, wordFor } from "./answers.ts";
import { type ShownLog, watchLog } from "./logged.ts";
import type { Mirror } from "./mirrors.ts";
import { readIfThere, type State } from "./state.ts";

/** The newest head that counts, and the files that it leads to. */
export interface Published {
  readonly head: Head;
  /** Why no mirror gave a newer one, if none did. */
  readonly late?: string;
  /** Why nothing new may be taken from it, if so. */
  readonly frozen?: string;
  /** If the node demands it, and a mirror gave the head: the log that only grew. */
  readonly log?: ShownLog;
  /**
   * Bytes by their digest, fetched before or now.
   * @throws FarmError DIGEST_MISMATCH if a mirror gives others, REMOTE_UNAVAILABLE
   */
  readonly blob: (digest: Digest, limitBytes: number) => Promise<Buffer>;
}

/** What a node knows of a registry, and learns while it asks. */
interface Knowledge {
  readonly state: State;
  readonly now: Date;
  /** Whether it takes nothing that is not in the log. */
  readonly requiresLog: boolean;
  trust: Trust;
  /** The head that was accepted last. */
  readonly last: SignedNote | undefined;
}

/**
 * Asks each mirror in turn, and each that did not answer once more.
 * @throws FarmError for why there is no head at all: integrity, METADATA_EXPIRED, REMOTE_UNAVAILABLE; PLACE_UNUSABLE
 */
export async function readRegistry(
  given: string,
  state: State,
  mirrors: readonly Mirror[],
  { now, requiresLog }: Pick<Knowledge, "now" | "requiresLog">,
): Promise<Published> {
  const known = { ...(await remembered(given, state)), state, now, requiresLog };
  const refused = new Set<Mirror>();
  let worst = new FarmError("REMOTE_UNAVAILABLE", { detail: "no registry is known" });
  for (const mirror of [...mirrors, ...mirrors]) {
    if (refused.has(mirror)) continue;
    try {
      return { ...(await ask(mirror, known)), blob: blobReader(state, mirrors) };
    } catch (thrown) {
      const error = toFarmError(thrown);
      const rank = RANKS.indexOf(wordFor(error));
      if (rank === -1) throw error;
      if (rank > 0) refused.add(mirror);
      if (rank > RANKS.indexOf(wordFor(worst)) || wordFor(worst) === "unreachable") worst = error;
    }
  }
  const head = worst.blame === "integrity" ? undefined : lastHead(known);
  if (head === undefined) throw worst;
  const late = worst.message;
  const frozen = isStillFresh(known) ? {} : { frozen: `${late}; the last head has expired too` };
  return { head, late, ...frozen, blob: blobReader(state, mirrors, late) };
}

/** A mirror that shows something false says more than one that is silent. */
const RANKS: readonly (Word | undefined)[] = ["unreachable", "stale", "integrity"];

/** The root that a node was given, or a later one that it followed; and the last head, if it is of that registry. */
async function remembered(given: string, state: State): Promise<Pick<Knowledge, "trust" | "last">> {
  const bytesGiven = await readIfThere(given);
  if (bytesGiven === undefined)
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the root file ${given} is missing or cannot be read: put the root there that whoever runs the registry gave you, or name it with --root`,
    });
  let trust = await readRoot(bytesGiven, given);
  if (trust === undefined)
    throw new FarmError("METADATA_UNSIGNED", {
      detail: `${given} is no root that its own keys signed: ask for it whoever runs the registry`,
    });
  const saved = await readRoot(await state.read("root"), "the last root");
  if (saved !== undefined && saved.origin === trust.origin && saved.version >= trust.version) trust = saved;
  const bytes = await state.read("head");
  const last = bytes === undefined ? undefined : readNote(bytes, HEAD_LIMIT_BYTES, "the last head");
  const isOfIt = last !== undefined && readHead(last.text, "the last head").origin === trust.origin;
  return { trust, last: isOfIt ? last : undefined };
}

async function readRoot(bytes: Buffer | undefined, what: string): Promise<Trust | undefined> {
  try {
    return bytes === undefined ? undefined : firstTrust(readNote(bytes, ROOT_LIMIT_BYTES, what), what);
  } catch (thrown) {
    if (thrown instanceof FarmError && thrown.blame === "integrity") return undefined;
    throw thrown;
  }
}

/** The newest roots of a mirror, then its head, and its log. */
async function ask(mirror: Mirror, known: Knowledge): Promise<Pick<Published, "head" | "log">> {
  for (;;) {
    const version = known.trust.version + 1;
    const bytes = await mirror.read(rootPath(version), ROOT_LIMIT_BYTES);
    if (bytes === undefined) break;
    const what = `root ${version} of ${mirror.place}`;
    known.trust = nextTrust(known.trust, readNote(bytes, ROOT_LIMIT_BYTES, what), what);
    await known.state.save("root", bytes);
  }
  const bytes = await mirror.read(HEAD_PATH, HEAD_LIMIT_BYTES);
  if (bytes === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", { about: mirror.place, joint: " ", detail: "gives no head" });
  const what = `the head of ${mirror.place}`;
  const note = readNote(bytes, HEAD_LIMIT_BYTES, what);
  const head = acceptHead(known.trust, note, known.last, known.now, what);
  const log = known.requiresLog ? await watchLog(mirror, known.trust, head, known.state) : undefined;
  await known.state.save("head", bytes);
  return { head, ...(log === undefined ? {} : { log }) };
}

/** The head that was accepted last, if those who are trusted now signed it. */
function lastHead({ trust, last }: Knowledge): Head | undefined {
  try {
    return last === undefined ? undefined : verifiedHead(trust, last, "the last head");
  } catch {
    // By a key that counts no more: it is worth as much as none.
    return undefined;
  }
}

function isStillFresh({ trust, last, now }: Knowledge): boolean {
  try {
    if (last !== undefined) acceptHead(trust, last, last, now, "the last head");
    return true;
  } catch {
    // It was verified: only its time can be over.
    return false;
  }
}

function blobReader(state: State, mirrors: readonly Mirror[], late?: string): Published["blob"] {
  return async (digest, limitBytes) => {
    const there = await state.blob(digest);
    if (there !== undefined) return there;
    let wrong: Mirror | undefined;
    for (const mirror of [...mirrors, ...mirrors]) {
      const bytes = await mirror.read(blobPath(digest), limitBytes).catch(passOver);
      if (bytes === undefined) continue;
      if (sha256(bytes) !== digest) {
        wrong = mirror;
        continue;
      }
      await state.keepBlob(digest, bytes);
      return bytes;
    }
    if (wrong !== undefined)
      throw new FarmError("DIGEST_MISMATCH", {
        detail: `what ${wrong.place} has as ${digest} is something else`,
      });
    throw new FarmError("REMOTE_UNAVAILABLE", {
      detail: `no registry gave ${digest}${late === undefined ? "" : ` (${late})`}`,
    });
  };
}

/** Another mirror may answer. */
function passOver(thrown: unknown): undefined {
  if (!(thrown instanceof FarmError) || thrown.code !== "REMOTE_UNAVAILABLE") throw thrown;
}
