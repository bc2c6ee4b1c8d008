/**
 * Compressed bytes from outside, unpacked as they come and never beyond a limit.
 */

import { randomUUID } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, statfsSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { FarmError } from "./error.ts";
import { largest } from "./extremes.ts";
import { type Pipe, pipeThrough } from "./run.ts";
import { shutIn } from "./shut-in.ts";

const PROGRAMS = {
  bz2: ["bzip2", "-dc"],
  /** Lets through what is not compressed at all, as rpm's own reader does. */
  gz: ["gzip", "-dcf"],
  /** Its legacy format too, which is the one of kernels. */
  lz4: ["lz4", "-dc"],
  lzma: ["xz", "--format=lzma", "-dc", "--memlimit-decompress=512MiB"],
  xz: ["xz", "--format=xz", "-dc", "--memlimit-decompress=512MiB"],
  zst: ["zstd", "-dc", "--memory=512MB"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type Compression = keyof typeof PROGRAMS;

/** Starts the program that undoes a compression, in a box: what it reads comes from outside. */
export function startDecompressor(compression: Compression): Pipe {
  return pipeThrough(shutIn(PROGRAMS[compression]));
}

/**
 * The bytes inside; what kind of compression it is, the name's end says.
 * @throws FarmError DIGEST_MISMATCH when they are more than the limit, or damaged
 */
export async function* decompressed(
  body: Readable,
  name: string,
  limitBytes: number,
): AsyncGenerator<Buffer, void, undefined> {
  const filter = filterFor(name);
  body.pipe(filter.stdin);
  // A pipe passes an end on, but no failure: without this the filter would wait for the rest for ever.
  body.once("close", () => {
    if (!body.readableEnded) filter.stop();
  });
  body.once("error", () => filter.stop());
  try {
    let size = 0;
    for await (const chunk of filter.stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limitBytes)
        throw new FarmError("DIGEST_MISMATCH", {
          detail: `${name} unpacks to more than ${limitBytes} bytes`,
        });
      yield chunk;
    }
    if ((await filter.exit) !== 0) throw damaged(name);
  } catch (thrown) {
    throw thrown instanceof FarmError ? thrown : damaged(name, thrown);
  } finally {
    filter.stop();
  }
}

/** What readers of formats, which start no programs, are given for compressions that need one. */
export type UnpackWhole = (
  bytes: Uint8Array,
  compression: Compression,
  limitBytes: number,
) => Promise<Buffer>;

/**
 * All bytes inside one whole compressed file, as node:zlib does it for its formats: RangeError beyond the limit, Error
 * for what is damaged.
 * @throws also FarmError TOOL_MISSING
 */
export const unpackWhole: UnpackWhole = async (bytes, compression, limitBytes) => {
  const filter = startDecompressor(compression);
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    filter.stdin.end(bytes);
    for await (const chunk of filter.stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limitBytes) throw new RangeError(`more than ${limitBytes} bytes`);
      chunks.push(chunk);
    }
    if ((await filter.exit) !== 0) throw new Error(filter.said().trim());
  } finally {
    filter.stop();
  }
  return Buffer.concat(chunks);
};

/** The same for several in a row that are one file: those of `sizes`, each good until the next is asked for. */
export type UnpackParts = (
  bytes: Uint8Array,
  compression: Compression,
  sizes: readonly number[],
) => AsyncGenerator<Buffer, void, undefined>;

/**
 * Through a file without a name, and out of it one after the other into the same memory: fresh memory, and an answer by a pipe
 * in pieces of 8 KiB, take longer than to unpack what comes.
 * @throws Error for what is damaged, or of other sizes; FarmError TOOL_MISSING
 */
export const unpackParts: UnpackParts = async function* (bytes, compression, sizes) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const answer = openUnnamed();
  try {
    const filter = pipeThrough(shutIn(PROGRAMS[compression], { answerBytes: total + 1 }), { answer });
    filter.stdin.end(bytes);
    const exitCode = await filter.exit.finally(() => filter.stop());
    const { size } = fstatSync(answer);
    if (size > total) throw new RangeError(`more than ${total} bytes`);
    if (exitCode !== 0) throw new Error(filter.said().trim());
    if (size < total) throw new RangeError(`${size} bytes, not ${total}`);
    const memory = Buffer.allocUnsafeSlow(largest(sizes, 0));
    let begin = 0;
    for (const length of sizes) {
      for (let at = 0, read = -1; at < length && read !== 0; at += read)
        read = readSync(answer, memory, at, length - at, begin + at);
      yield memory.subarray(0, length);
      begin += length;
    }
  } finally {
    closeSync(answer);
  }
};

/** How readers of formats have things unpacked. */
export interface Unpack {
  readonly whole: UnpackWhole;
  readonly parts: UnpackParts;
}

export const UNPACK: Unpack = { whole: unpackWhole, parts: unpackParts };

/** In memory where the system has files there: a container may have too few of it. */
function openUnnamed(): number {
  const place = hasRoom("/dev/shm") ? "/dev/shm" : tmpdir();
  const path = join(place, `kmodfarm-${randomUUID()}`);
  const file = openSync(path, "wx+", 0o600);
  unlinkSync(path);
  return file;
}

const ROOM_BYTES = 1024 ** 3;

function hasRoom(place: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(place);
    return bavail * bsize >= ROOM_BYTES;
  } catch {
    return false;
  }
}

type Filter = Omit<Pipe, "said">;

/** A name's end → its compression. A Map, because names come from outside: `x.constructor` is one. */
const ENDINGS: ReadonlyMap<string, Compression> = new Map([
  ["bz2", "bz2"],
  ["xz", "xz"],
  ["zst", "zst"],
]);

function filterFor(name: string): Filter {
  const ending = name.split(".").at(-1) ?? "";
  if (ending === "gz") return gunzip();
  const compression = ENDINGS.get(ending);
  if (compression !== undefined) return startDecompressor(compression);
  throw new FarmError("REMOTE_UNAVAILABLE", {
    detail: `${name} is compressed in an unsupported format`,
  });
}

/** Unpacked by Node's own zlib, which is faster than gzip and works on threads of its own. */
function gunzip(): Filter {
  // Each chunk is a trip to another thread and back: by default one for every 16 KiB.
  const stream = createGunzip({ chunkSize: 1024 * 1024 });
  return { stdin: stream, stdout: stream, exit: Promise.resolve(0), stop: () => stream.destroy() };
}

function damaged(name: string, cause?: unknown): FarmError {
  return new FarmError("DIGEST_MISMATCH", { detail: `${name} cannot be decompressed`, cause });
}
