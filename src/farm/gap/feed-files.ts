/**
 * Where a feed lies: a file, a directory, a tar archive, a URL or a git repository, as the files in it, one after the other.
 * Nothing is unpacked to the disk, and what is compressed comes out within a limit.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { decompressed } from "../../base/decompress.ts";
import { FarmError } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import type { Http, Validators } from "../../base/http.ts";
import { digestOf, sha256 } from "../../base/json.ts";
import type { Scratch } from "../../base/scratch.ts";
import { kindIn, readFileIn, walkTree } from "../../base/strange-tree.ts";
import { withGitCommit } from "../../builder/origins/git.ts";
import { readJson } from "../../catalog/source.ts";
import { TarScan } from "../../formats/tar-entries.ts";
import type { FeedFile } from "../../gap/feeds/feed.ts";

/** A place with its bytes as they are now. */
export interface OpenedFeed {
  /** What tells them from any others. */
  readonly source: string;
  readonly files: () => AsyncIterable<FeedFile>;
}

/** A file, a directory or a URL; or a revision of a git repository. */
export type FeedPlace = string | { readonly git: string; readonly revision: string };

export interface FeedContext {
  readonly http: Http;
  readonly scratch: Scratch;
  readonly cache: string;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** The CVE team's repository has 90,000 files and 0.4 GB, the largest single feed 1 GB. */
const BUDGET = { entries: 1_000_000, bytes: 8 * 1024 ** 3 } as const;
const FILE_LIMIT_BYTES = 2 * 1024 ** 3;
const TAR = /\.(tar|tgz|txz|tbz2)$|\.tar\.(gz|xz|zst|bz2)$/;
const SHORT: Readonly<Record<string, string>> = { tgz: "gz", txz: "xz", tbz2: "bz2" };

/**
 * Opens a place for `use`, unless its bytes are those that `known` names: undefined then.
 * @throws FarmError FILE_UNREADABLE, REMOTE_UNAVAILABLE, and what git and archives do wrong
 */
export async function withFeed<T>(
  place: FeedPlace,
  known: string | undefined,
  context: FeedContext,
  use: (opened: OpenedFeed) => Promise<T>,
): Promise<T | undefined> {
  const unlessKnown = (opened: OpenedFeed) => (opened.source === known ? undefined : use(opened));
  if (typeof place !== "string") return withGit(place, context, unlessKnown);
  if (/^https?:/.test(place)) return withUrl(place, known, context, use);
  const status = await stat(place).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the feed ${place} cannot be read (${cause.code})`,
      cause,
    });
  });
  if (!status.isDirectory() && !status.isFile())
    throw new FarmError("FILE_UNREADABLE", { detail: `the feed ${place} is neither a file nor a directory` });
  if (!status.isDirectory())
    return unlessKnown({ source: await fileDigest(place), files: () => filesOf(place, basename(place)) });
  const isRepository =
    kindIn(place, ".git") === "directory" ||
    (kindIn(place, "HEAD") === "file" && kindIn(place, "objects") === "directory");
  if (isRepository) return withGit({ git: place, revision: "HEAD" }, context, unlessKnown);
  return unlessKnown(await openDirectory(place));
}

function withGit<T>(
  place: { readonly git: string; readonly revision: string },
  context: FeedContext,
  use: (opened: OpenedFeed) => Promise<T> | undefined,
): Promise<T | undefined> {
  return withGitCommit(place, { ...context, base: "/" }, async ({ commit, tar }) =>
    use({ source: `commit ${commit}`, files: () => filesInTar(tar(), place.git) }),
  );
}

async function openDirectory(top: string): Promise<OpenedFeed> {
  const refuse = (path: string, fact: string) =>
    new FarmError("FILE_UNREADABLE", { detail: `the feed ${top} contains ${path}, which ${fact}` });
  const files: (readonly [path: string, size: number, changed: number])[] = [];
  await walkTree(top, BUDGET, refuse, ({ path, kind, status }) => {
    if (kind === "file") files.push([path, status.size, status.mtimeMs]);
    return undefined;
  });
  async function* read(): AsyncGenerator<FeedFile> {
    for (const [path] of files) {
      const bytes = readFileIn(top, path, FILE_LIMIT_BYTES);
      if (bytes === undefined) throw refuse(path, "is gone while it is read");
      yield* bodyOf(path, [bytes]);
    }
  }
  return { source: digestOf(files), files: read };
}

const Remembered = z.object({
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  source: z.string(),
});

/** Only a server whose last answer is the one that was read may say that nothing changed. */
async function withUrl<T>(
  url: string,
  known: string | undefined,
  { http, scratch, cache, signal }: FeedContext,
  use: (opened: OpenedFeed) => Promise<T>,
): Promise<T | undefined> {
  const memory = join(cache, "remembered", `${sha256(`feed ${url}`).slice(7, 39)}.json`);
  const remembered = await readJson(memory, Remembered);
  const validators: Validators = remembered !== undefined && remembered.source === known ? remembered : {};
  const answer = await http.get(url, validators, signal);
  if (answer.kind === "notModified") return undefined;
  if (answer.kind === "missing")
    throw new FarmError("REMOTE_UNAVAILABLE", { detail: `the server has no ${url}`, at: { url } });
  const file = scratch.path();
  try {
    await pipeline(answer.body, limited(url), createWriteStream(file)).catch((thrown) => {
      throw http.toError(url, thrown);
    });
    const source = await fileDigest(file);
    const name = basename(new URL(url).pathname);
    const used = source === known ? undefined : await use({ source, files: () => filesOf(file, name) });
    await scratch.write(memory, JSON.stringify({ ...answer.validators, source }));
    return used;
  } finally {
    await rm(file, { force: true });
  }
}

function limited(url: string) {
  return async function* (body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let size = 0;
    for await (const chunk of body) {
      size += chunk.length;
      if (size > FILE_LIMIT_BYTES)
        throw new FarmError("REMOTE_UNAVAILABLE", {
          about: url,
          detail: `it is longer than ${FILE_LIMIT_BYTES} bytes`,
        });
      yield chunk;
    }
  };
}

async function* filesOf(file: string, name: string): AsyncGenerator<FeedFile> {
  const body = createReadStream(file);
  try {
    if (TAR.test(name)) yield* filesInTar(plainBytes(body, name), name);
    else yield* bodyOf(name, body as AsyncIterable<Buffer>);
  } finally {
    body.destroy();
  }
}

/** The plain files of an archive; what else is in it, a link or a device, is passed over and leads nowhere. */
async function* filesInTar(bytes: AsyncIterable<Buffer>, what: string): AsyncGenerator<FeedFile> {
  const parts = partsOf(bytes, what);
  try {
    for (let next = await parts.next(); !next.done; ) {
      const entry = next.value;
      next = await parts.next();
      if (Buffer.isBuffer(entry) || entry.kind !== "file") continue;
      const content = (async function* () {
        for (; !next.done && Buffer.isBuffer(next.value); next = await parts.next()) yield next.value;
      })();
      yield* bodyOf(entry.name.toString(), content);
      for await (const _ of content);
    }
  } finally {
    await parts.return(undefined);
  }
}

async function* partsOf(bytes: AsyncIterable<Buffer>, what: string) {
  const scan = new TarScan();
  let [entries, size] = [0, 0];
  for await (const piece of bytes) {
    size += piece.length;
    for (const part of scan.parts(piece)) {
      if (!Buffer.isBuffer(part)) entries++;
      if (entries > BUDGET.entries || size > BUDGET.bytes)
        throw new FarmError("FILE_UNREADABLE", {
          detail: `the feed ${what} contains more than ${BUDGET.entries} entries or ${BUDGET.bytes} bytes`,
        });
      yield part;
    }
  }
  scan.end();
}

/** A file as a reader gets it: unpacked, and without the ending that says so. */
async function* bodyOf(name: string, body: FeedFile["body"]): AsyncGenerator<FeedFile> {
  const ending = /\.(gz|xz|zst|bz2)$/.exec(name)?.[0];
  if (ending === undefined) yield { name, body };
  else {
    yield { name: name.slice(0, -ending.length), body: plainBytes(Readable.from(body), name) };
  }
}

function plainBytes(body: Readable, name: string): AsyncIterable<Buffer> {
  const ending = name.split(".").at(-1) ?? "";
  const compression = SHORT[ending] ?? ending;
  if (compression === "tar") return body as AsyncIterable<Buffer>;
  return decompressed(body, ending === compression ? name : `${name}.${compression}`, BUDGET.bytes);
}
