/**
 * A log as static files: hashes of its tree in tiles of 256, and its entries in bundles of as many (c2sp.org/tlog-tiles).
 * A full tile never changes; what is left over is in a partial one, which names its width.
 */
import { FarmError } from "../../base/error.ts";
import { asLogHash, type LogHash, type NodeAt, nodeHash } from "./rfc6962.ts";

const HASH_BYTES = 32;
const TILE_LEVELS = 8;
export const TILE_WIDTH = 256;
/** An entry's length has two bytes. */
export const ENTRY_LIMIT_BYTES = 0xffff;
export const BUNDLE_LIMIT_BYTES = TILE_WIDTH * (2 + ENTRY_LIMIT_BYTES);
export const TILE_LIMIT_BYTES = TILE_WIDTH * HASH_BYTES;

export interface TileName {
  /** Of hashes, 0 those of entries; or the entries themselves. */
  readonly level: number | "entries";
  readonly index: number;
  /** How much of it there is: 1 to 256. */
  readonly width: number;
}

/** `tile/0/x001/x234/067`, `tile/1/001.p/17` */
export function tilePath({ level, index, width }: TileName): string {
  const digits = String(index);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, "0");
  const groups = padded.match(/\d{3}/g) ?? [];
  const place = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join("/");
  return `tile/${level}/${place}${width === TILE_WIDTH ? "" : `.p/${width}`}`;
}

/** Tiles of hashes that a log of `size` has, without those that one of `before` had already. */
export function* newTiles(before: number, size: number): Generator<TileName & { readonly level: number }> {
  for (let level = 0, [then, now] = [before, size]; now > 0; level++) {
    yield* newParts(then, now).map((part) => ({ level, ...part }));
    [then, now] = [then, now].map((count) => Math.floor(count / TILE_WIDTH)) as [number, number];
  }
}

/** The same of bundles of entries. */
export function newBundles(before: number, size: number): TileName[] {
  return newParts(before, size).map((part) => ({ level: "entries", ...part }));
}

function newParts(before: number, size: number): Pick<TileName, "index" | "width">[] {
  if (before === size) return [];
  const first = Math.floor(before / TILE_WIDTH);
  return Array.from({ length: Math.ceil(size / TILE_WIDTH) - first }, (_, at) => ({
    index: first + at,
    width: Math.min(TILE_WIDTH, size - (first + at) * TILE_WIDTH),
  }));
}

/** The tile that has a node's leaves, as a log of `size` has it. */
function tileOf(size: number, level: number, index: number): TileName {
  const count = Math.floor(size / TILE_WIDTH ** level);
  return { level, index, width: Math.min(TILE_WIDTH, count - index * TILE_WIDTH) };
}

/** Nodes of a log of `size`, from its tiles. */
export function nodesInTiles(
  size: number,
  readTile: (tile: TileName) => Promise<readonly LogHash[]>,
): NodeAt {
  const known = new Map<string, Promise<readonly LogHash[]>>();
  const tileAt = (tile: TileName) => {
    const path = tilePath(tile);
    const reading = known.get(path) ?? readTile(tile);
    known.set(path, reading);
    return reading;
  };
  return async (level, index) => {
    const [tileLevel, above] = [Math.floor(level / TILE_LEVELS), level % TILE_LEVELS];
    const start = index * 2 ** above;
    const hashes = await tileAt(tileOf(size, tileLevel, Math.floor(start / TILE_WIDTH)));
    const from = start % TILE_WIDTH;
    return topOf(hashes.slice(from, from + 2 ** above));
  };
}

/** The node over a whole group. */
export function topOf(group: readonly LogHash[]): LogHash {
  let row = group;
  while (row.length > 1)
    row = Array.from({ length: row.length / 2 }, (_, pair) =>
      nodeHash(row[pair * 2] as LogHash, row[pair * 2 + 1] as LogHash),
    );
  return row[0] as LogHash;
}

export function writeTile(hashes: readonly LogHash[]): Buffer {
  return Buffer.concat(hashes);
}

/** @throws FarmError NOTE_MALFORMED for any other number of hashes */
export function readTile(bytes: Uint8Array, width: number, what: string): LogHash[] {
  if (bytes.length !== width * HASH_BYTES)
    throw malformed(what, `it has ${bytes.length} bytes, and ${width} hashes have ${width * HASH_BYTES}`);
  return Array.from({ length: width }, (_, at) =>
    asLogHash(bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES)),
  );
}

export function writeBundle(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}

/** @throws FarmError NOTE_MALFORMED for any other number of entries, and for bytes that are of none */
export function readBundle(bytes: Uint8Array, width: number, what: string): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length && entries.length < width) {
    const end = at + 2 + (at + 2 <= bytes.length ? view.getUint16(at, false) : bytes.length);
    if (end > bytes.length) throw malformed(what, "an entry is cut off");
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  if (entries.length === width && at === bytes.length) return entries;
  throw malformed(what, `it does not have exactly ${width} entries`);
}

function malformed(what: string, fact: string): FarmError {
  return new FarmError("NOTE_MALFORMED", { about: what, detail: fact });
}
