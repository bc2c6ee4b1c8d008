/**
 * Feeds that a person names: `cna=vulns.tar`. A directory, a tar and a single file all come as files with names.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { FarmError } from "../base/error.ts";
import { TarScan } from "../formats/tar-entries.ts";
import { type FeedContent, type FeedFile, readFeed } from "../gap/feeds/feed.ts";
import { feedKind } from "../gap/feeds/index.ts";
import { openInput } from "./input.ts";

export interface NamedFeed {
  readonly kind: string;
  readonly content: FeedContent;
}

/** @throws FarmError USAGE, FILE_UNREADABLE, REMOTE_UNAVAILABLE, DOCUMENT_INVALID, PACKAGE_MALFORMED */
export async function readNamedFeed(text: string): Promise<NamedFeed> {
  const [, name, place] = /^([a-z-]+)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || place === undefined)
    throw new FarmError("USAGE", {
      detail: `${JSON.stringify(text)} is not KIND=PLACE`,
      hint: "Write --feed cna=vulns.tar.",
    });
  const kind = feedKind(name);
  if ((await stat(place).catch(() => undefined))?.isDirectory())
    return { kind: name, content: await readFeed(kind, filesBelow(place)) };
  await using input = await openInput(place);
  return { kind: name, content: await readFeed(kind, filesIn(input.bytes, place)) };
}

/** Links are not followed: they may lead around in circles, or out. */
async function* filesBelow(directory: string): AsyncGenerator<FeedFile> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    yield { name: relative(directory, path), body: bodyOf(path) };
  }
}

/** Most files of a repository are not asked for. */
async function* bodyOf(path: string): AsyncGenerator<Buffer> {
  yield await readFile(path);
}

const TAR_MAGIC_AT = 257;
const LONGEST_FILE = 64 * 1024 * 1024;

async function* filesIn(bytes: AsyncIterable<Buffer>, place: string): AsyncGenerator<FeedFile> {
  const chunks = bytes[Symbol.asyncIterator]();
  const first = (await chunks.next()).value ?? Buffer.alloc(0);
  const all = (async function* () {
    yield first;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  })();
  if (first.toString("latin1", TAR_MAGIC_AT, TAR_MAGIC_AT + 5) !== "ustar")
    yield { name: basename(place).replace(/\.(gz|xz|zst|bz2)$/, ""), body: all };
  else yield* filesOfTar(all);
}

async function* filesOfTar(bytes: AsyncIterable<Buffer>): AsyncGenerator<FeedFile> {
  const scan = new TarScan();
  let file: { readonly name: string; readonly size: number; readonly parts: Buffer[] } | undefined;
  for await (const piece of bytes)
    for (const part of scan.parts(piece)) {
      if (Buffer.isBuffer(part)) {
        // A chunk may be used again by whoever made it.
        file?.parts.push(Buffer.from(part));
        continue;
      }
      if (file !== undefined) yield { name: file.name, body: file.parts };
      const isWanted = part.kind === "file" && part.size <= LONGEST_FILE;
      file = isWanted ? { name: part.name.toString("utf8"), size: part.size, parts: [] } : undefined;
    }
  scan.end();
  if (file !== undefined) yield { name: file.name, body: file.parts };
}
