/**
 * A source in a .tar archive: a file, or what a web server has under a digest that is known beforehand.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { isCached } from "../../base/cache.ts";
import { decompressed } from "../../base/decompress.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import { fileDigest } from "../../base/file-digest.ts";
import { hexOf } from "../../base/json.ts";
import {
  invalidDriver,
  keepTree,
  type Origin,
  type OriginContext,
  type Place,
  type UrlPlace,
  withOwnCopy,
  withoutTop,
} from "./origin.ts";
import { UNPACKED_LIMIT_BYTES, unpackTar } from "./unpack-tar.ts";

/** Name's end → what base/decompress.ts calls the compression. */
const ENDINGS: readonly (readonly [ending: string, compression: string | undefined])[] = [
  [".tar", undefined],
  [".tar.gz", "gz"],
  [".tgz", "gz"],
  [".tar.xz", "xz"],
  [".txz", "xz"],
  [".tar.zst", "zst"],
  [".tar.bz2", "bz2"],
  [".tbz2", "bz2"],
];

export function isArchiveName(place: string): boolean {
  return ENDINGS.some(([ending]) => place.endsWith(ending));
}

export const archive: Origin = {
  kind: "archive",
  fits: (place) => (typeof place === "string" ? isArchiveName(place) : "url" in place),
  async fetch(place, version, context) {
    const { file, name, sha256 } = await archiveFile(place, version, context);
    const directory = await keepTree(`tar-${sha256}`, context, async (empty) => {
      await withOwnCopy(file, sha256, context, (own) =>
        unpackTar(() => bytesOf(own, name), name, empty, context.signal),
      );
      return withoutTop(empty);
    });
    return { directory, origin: { kind: "archive", place: name, sha256 } };
  },
};

interface ArchiveFile {
  readonly file: string;
  /** As the configuration says it; its end tells the compression. */
  readonly name: string;
  readonly sha256: string;
}

async function archiveFile(place: Place, version: string, context: OriginContext): Promise<ArchiveFile> {
  if (typeof place !== "string") return fetchArchive(place as UrlPlace, version, context);
  if (/^https?:/.test(place)) {
    throw new FarmError("CONFIG_INVALID", {
      detail: `the source ${place} needs a digest: write {url: ${place}, sha256: …}`,
    });
  }
  const file = resolve(context.base, place);
  const digest = await fileDigest(file).catch((cause: NodeJS.ErrnoException) => {
    throw invalidDriver(`the archive ${file} cannot be read (${cause.code})`, cause);
  });
  return { file, name: file, sha256: hexOf(digest) };
}

async function fetchArchive(
  { url, sha256: configured }: UrlPlace,
  version: string,
  context: OriginContext,
): Promise<ArchiveFile> {
  const sha256 =
    typeof configured === "string" ? configured : new Map(Object.entries(configured)).get(version);
  if (sha256 === undefined)
    throw new FarmError("CONFIG_INVALID", {
      detail: `the source ${url} has no sha256 for version ${version}`,
    });
  if (!isArchiveName(new URL(url).pathname))
    throw new FarmError("CONFIG_INVALID", {
      detail: `the source ${url} is not a supported archive: ${ENDINGS.map(([ending]) => ending).join(" ")}`,
      hint: "Configure a .tar archive; many servers offer one beside a .zip. Or unpack it, and configure the directory.",
    });
  const file = join(context.cache, "inputs", `${sha256}.tar`);
  // What a loss of power or anybody else left of it is not believed by its name.
  if (!(await isCached(file)) || hexOf(await fileDigest(file)) !== sha256)
    await download(url, sha256, file, context);
  // Who may have a driver's source its owner knows, not we: it is not among what everybody may read.
  await context.archive?.write(sha256, file, true);
  return { file, name: url, sha256 };
}

/** From its server, else from the farm's own archive. */
async function download(url: string, sha256: string, file: string, context: OriginContext): Promise<void> {
  const { http, scratch, signal, archive, say } = context;
  try {
    await http.download(url, { sha256 }, file, scratch, signal);
  } catch (thrown) {
    const error = settingFault(thrown, url, sha256);
    const kept = error.code === "INTERRUPTED" ? undefined : await archive?.open(sha256);
    if (kept === undefined) throw error;
    const copy = scratch.path();
    try {
      await pipeline(kept, createWriteStream(copy, { mode: 0o600 }));
      if (hexOf(await fileDigest(copy)) !== sha256) throw error;
      await mkdir(dirname(file), { recursive: true });
      await rename(copy, file);
    } finally {
      await rm(copy, { force: true });
    }
    say(`${url}: from the archive (${error.message})`);
  }
}

/** Who wrote address and digest down is the one who can correct them; no index says otherwise. */
function settingFault(thrown: unknown, url: string, sha256: string): FarmError {
  const error = toFarmError(thrown);
  if (error.code === "NOT_FETCHABLE")
    return new FarmError("CONFIG_INVALID", {
      detail: `the source ${url} does not exist`,
      hint: "Correct the `url` of the driver's source.",
      cause: error,
    });
  if (error.code !== "DIGEST_MISMATCH") return error;
  return new FarmError("CONFIG_INVALID", {
    detail: `the sha256 of the source ${url} is not ${sha256}, as the configuration says`,
    hint: "Correct the `sha256` of the driver's source. If it was right before, the server now sends different bytes: ask its owner first.",
    cause: error,
  });
}

async function* bytesOf(file: string, name: string): AsyncGenerator<Buffer> {
  const path = /^https?:/.test(name) ? new URL(name).pathname : basename(name);
  const compression = ENDINGS.find(([ending]) => path.endsWith(ending))?.[1];
  const body = createReadStream(file);
  try {
    if (compression === undefined) yield* body as AsyncIterable<Buffer>;
    else {
      // By the name's end it knows how, whatever the name is.
      const what = path.endsWith(`.${compression}`) ? basename(path) : `${basename(path)}.${compression}`;
      yield* decompressed(body, what, UNPACKED_LIMIT_BYTES);
    }
  } finally {
    body.destroy();
  }
}
