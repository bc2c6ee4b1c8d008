/**
 * What commands read: a file, a URL, or standard input (`-`); compressed or not, their first bytes say.
 */
import { createReadStream } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { startDecompressor } from "../base/decompress.ts";
import { FarmError, isErrno } from "../base/error.ts";
import { Http } from "../base/http.ts";
import { holdsCredentials } from "../base/url.ts";

export interface Input extends AsyncDisposable {
  readonly bytes: AsyncIterable<Buffer>;
}

/** A document longer than this does not fit into one string of this machine. */
const DOCUMENT_LIMIT_BYTES = 500_000_000;
const HEAD_BYTES = 512;

function isUrl(place: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(place);
}

/** @throws FarmError USAGE, FILE_UNREADABLE, REMOTE_UNAVAILABLE; DOCUMENT_INVALID while it is read */
export async function openInput(place: string): Promise<Input> {
  if (isUrl(place)) return openUrl(place);
  const stream = place === "-" ? process.stdin : createReadStream(place);
  return { bytes: unpacked(stream, place), [Symbol.asyncDispose]: async () => void stream.destroy() };
}

async function openUrl(place: string): Promise<Input> {
  const { protocol, hostname } = URL.parse(place) ?? {};
  if (holdsCredentials(place))
    throw new FarmError("USAGE", {
      detail: `the address at ${hostname} contains a user name or a password`,
      hint: "Configure it as a source with `credentials`, or download the file first.",
    });
  if (protocol !== "http:" && protocol !== "https:")
    throw new FarmError("USAGE", { detail: `${place} is neither a file nor an http or https address` });
  const http = new Http();
  const answer = await http.get(place);
  if (answer.kind !== "ok") {
    await http.close();
    throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${place} does not exist` });
  }
  const { body } = answer;
  return {
    bytes: unpacked(body, place),
    async [Symbol.asyncDispose]() {
      body.destroy();
      await http.close();
    },
  };
}

/** The whole text, without a byte order mark. */
export async function readText(place: string, limitBytes = DOCUMENT_LIMIT_BYTES): Promise<string> {
  await using input = await openInput(place);
  return await readWhole(input.bytes, place, limitBytes);
}

export async function readWhole(
  chunks: AsyncIterable<Buffer>,
  place: string,
  limitBytes = DOCUMENT_LIMIT_BYTES,
): Promise<string> {
  const kept: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > limitBytes)
      throw new FarmError("DOCUMENT_INVALID", { detail: `${place} is longer than ${limitBytes} bytes` });
    kept.push(chunk);
  }
  return Buffer.concat(kept).toString("utf8");
}

/** Its beginning as text, and all of it still to be read. */
export async function peek(
  chunks: AsyncIterable<Buffer>,
): Promise<{ head: string; rest: AsyncIterable<Buffer> }> {
  const { first, rest } = await takeFirst(chunks);
  return { head: first.toString("utf8", 0, HEAD_BYTES), rest };
}

async function* unpacked(stream: Readable, place: string): AsyncGenerator<Buffer> {
  try {
    const { first, rest } = await takeFirst(stream as AsyncIterable<Buffer>);
    const starts = (...bytes: number[]) => first.subarray(0, bytes.length).equals(Buffer.from(bytes));
    if (starts(0x1f, 0x8b)) yield* through(rest, createGunzip());
    else if (starts(0x28, 0xb5, 0x2f, 0xfd)) yield* through(rest, createZstdDecompress());
    else if (starts(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00)) yield* throughXz(rest, place);
    else if (starts(0xff, 0xfe) || starts(0xfe, 0xff))
      throw new FarmError("DOCUMENT_INVALID", { detail: `${place} is UTF-16; only UTF-8 can be read` });
    else yield* withoutMark(rest);
  } catch (thrown) {
    throw inputError(thrown, place);
  }
}

function through(bytes: AsyncIterable<Buffer>, filter: NodeJS.ReadWriteStream): AsyncIterable<Buffer> {
  return pipeline(Readable.from(bytes), filter, () => {}) as unknown as AsyncIterable<Buffer>;
}

async function* throughXz(bytes: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer> {
  const filter = startDecompressor("xz");
  pipeline(Readable.from(bytes), filter.stdin, () => {});
  try {
    yield* filter.stdout as AsyncIterable<Buffer>;
    if ((await filter.exit) !== 0)
      throw new FarmError("DOCUMENT_INVALID", {
        detail: `${place} cannot be decompressed: xz reports that it is damaged`,
      });
  } finally {
    filter.stop();
  }
}

async function* withoutMark(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let isFirst = true;
  for await (const chunk of bytes) {
    yield isFirst && chunk.subarray(0, 3).equals(UTF8_MARK) ? chunk.subarray(3) : chunk;
    isFirst = false;
  }
}

const UTF8_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

function inputError(thrown: unknown, place: string): unknown {
  if (thrown instanceof FarmError || !isErrno(thrown)) return thrown;
  const { code = "", message } = thrown;
  if (/^(Z_|ZSTD_|ERR_)/.test(code))
    return new FarmError("DOCUMENT_INVALID", {
      detail: `${place} cannot be decompressed: ${message}`,
      cause: thrown,
    });
  if (code.startsWith("UND_"))
    return new FarmError("REMOTE_UNAVAILABLE", { detail: `${place}: ${message}`, cause: thrown });
  return new FarmError("FILE_UNREADABLE", { detail: `${place} cannot be read (${code})`, cause: thrown });
}

async function takeFirst(
  chunks: AsyncIterable<Buffer>,
): Promise<{ first: Buffer; rest: AsyncGenerator<Buffer> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  let first = Buffer.alloc(0);
  while (first.length < HEAD_BYTES) {
    const next = await iterator.next();
    if (next.done) break;
    first = Buffer.concat([first, next.value]);
  }
  async function* rest() {
    yield first;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  return { first, rest: rest() };
}
