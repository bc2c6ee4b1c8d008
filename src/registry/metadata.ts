/** Reading what nodes read of a registry: its roots, its head, and the files of the node index. */
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import { HEAD_LIMIT_BYTES, HEAD_PATH, type Head, type IndexRoot, verifiedHead } from "../provenance/head.ts";
import { levelsOf, NODE_LIMIT_BYTES, readNode } from "../provenance/node-index.ts";
import { readNote, type SignedNote } from "../provenance/signed-note.ts";
import { firstTrust, nextTrust, ROOT_LIMIT_BYTES, rootPath, type Trust } from "../provenance/trust.ts";
import { readBlob } from "./blobs.ts";
import type { RegistryReader } from "./reader.ts";

/** A place to look at more roots than anybody ever makes is a trap. */
/** A root lasts a year: more are there to keep readers busy. */
const MOST_ROOTS = 512;

/** A note of a registry; undefined when there is none. @throws FarmError NOTE_MALFORMED */
export async function readNoteAt(
  reader: RegistryReader,
  path: string,
  limitBytes: number,
): Promise<SignedNote | undefined> {
  const bytes = await reader.read(path, limitBytes);
  return bytes === undefined ? undefined : readNote(bytes, limitBytes, `${reader.place}/${path}`);
}

/**
 * Every root of a registry from a trusted one on, the newest last. Without a trusted one its first root is believed, which
 * proves only that the rest follows from it. None where the registry has no roots.
 * @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED, METADATA_ROLLED_BACK
 */
export async function readTrusts(reader: RegistryReader, given?: Trust): Promise<readonly Trust[]> {
  const trusts = given === undefined ? [] : [given];
  for (let version = (given?.version ?? 0) + 1; ; version++) {
    const path = rootPath(version);
    const note = await readNoteAt(reader, path, ROOT_LIMIT_BYTES);
    if (note === undefined) break;
    if (trusts.length > MOST_ROOTS)
      throw new FarmError("METADATA_UNSIGNED", {
        about: reader.place,
        joint: " ",
        detail: `has more than ${MOST_ROOTS} roots, one after the other`,
      });
    const [last, what] = [trusts.at(-1), `${reader.place}/${path}`];
    trusts.push(last === undefined ? firstTrust(note, what) : nextTrust(last, note, what));
  }
  return trusts;
}

export interface FoundHead {
  readonly head: Head;
  readonly note: SignedNote;
}

/** A head that some root trusts, however old it is; undefined where there is none. @throws FarmError NOTE_MALFORMED, METADATA_UNSIGNED */
export async function readHeadAt(
  reader: RegistryReader,
  trusts: readonly Trust[],
  path = HEAD_PATH,
): Promise<FoundHead | undefined> {
  const note = await readNoteAt(reader, path, HEAD_LIMIT_BYTES);
  if (note === undefined) return undefined;
  let fault: unknown = new FarmError("METADATA_UNSIGNED", {
    about: `${reader.place}/${path}`,
    detail: "no root says whose signature counts",
  });
  for (const trust of trusts.toReversed())
    try {
      return { head: verifiedHead(trust, note, `${reader.place}/${path}`), note };
    } catch (thrown) {
      // The newest root has the word.
      if (trust === trusts.at(-1)) fault = thrown;
    }
  throw fault;
}

export interface IndexFile {
  readonly digest: Digest;
  /** How deep it is; a leaf is deeper than every node. */
  readonly isLeaf: boolean;
  readonly prefix: string;
}

/**
 * Every file of an index, what leads to others before these. Leaves are named, and not read.
 * @throws FarmError STORE_CORRUPT, NOTE_MALFORMED
 */
export async function* indexFiles(reader: RegistryReader, root: IndexRoot): AsyncGenerator<IndexFile> {
  yield* below(reader, root, root.top, "", levelsOf(root.widths));
}

async function* below(
  reader: RegistryReader,
  root: IndexRoot,
  digest: Digest,
  prefix: string,
  [width, ...deeper]: readonly number[],
): AsyncGenerator<IndexFile> {
  yield { digest, isLeaf: width === undefined, prefix };
  if (width === undefined) return;
  const bytes = await readBlob(reader, digest, NODE_LIMIT_BYTES);
  const children = readNode(bytes, root, prefix, width, `${reader.place}/${digest}`);
  for (const [digits, child] of children) yield* below(reader, root, child, `${prefix}${digits}`, deeper);
}
