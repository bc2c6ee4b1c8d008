/**
 * Where `audit` reads: a directory, or what a web server shows below an address, by its pages of links or as S3 lists a
 * bucket. Nothing is written.
 */
import type { Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { FarmError, isErrno, toFarmError } from "../../base/error.ts";
import { Http } from "../../base/http.ts";
import { FILE_LIMIT_BYTES, readLocalFile } from "./local-file.ts";
import { decodedPath, type Gap, listPlace } from "./web-listing.ts";

export interface ReadPlace extends AsyncDisposable {
  /** Paths of all files, sorted. */
  readonly paths: readonly string[];
  /** Parts that could not be listed: they may hold unknown files. */
  readonly gaps: readonly Gap[];
  /** An absolute path or an address. */
  readonly name: string;
  /** Where they are on this machine, if they are. */
  readonly directory?: string;
  /** Undefined for what a server lists and does not have. */
  read(path: string): Promise<Buffer | undefined>;
}

/** A directory of 50,000 files takes 10 MiB to be shown; S3 shows a thousand at a time. */
const PAGE_LIMIT_BYTES = 16 * 1024 * 1024;

/** @throws FarmError FILE_UNREADABLE, REMOTE_UNAVAILABLE, USAGE */
export async function openPlace(place: string): Promise<ReadPlace> {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(place) ? openUrl(place) : openDirectory(place);
}

/** Links are not followed: what they lead to is found where it is, if it is here. */
async function openDirectory(directory: string): Promise<ReadPlace> {
  if (directory === "") throw new FarmError("USAGE", { detail: "the path to audit is empty" });
  const place = await stat(directory).catch((cause: NodeJS.ErrnoException) => {
    const fact = cause.code === "ENOENT" ? "does not exist" : `cannot be read (${cause.code})`;
    throw new FarmError("FILE_UNREADABLE", { detail: `${directory} ${fact}`, cause });
  });
  if (!place.isDirectory()) throw notOneFile(directory);
  const absolute = resolve(directory);
  const [paths, gaps]: [string[], Gap[]] = [[], []];
  await walk(absolute, "", paths, gaps);
  return {
    paths: paths.sort(),
    gaps,
    name: absolute,
    directory: absolute,
    read: async (path) => readLocalFile(join(absolute, path), FILE_LIMIT_BYTES),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** One directory that cannot be read is no reason to say nothing of the others. */
async function walk(root: string, below: string, paths: string[], gaps: Gap[]): Promise<void> {
  let entries: Dirent[];
  try {
    entries = await readdir(join(root, below), { withFileTypes: true });
  } catch (thrown) {
    if (!isErrno(thrown)) throw thrown;
    gaps.push({ place: below === "" ? root : below, why: `it cannot be listed (${thrown.code})` });
    return;
  }
  for (const entry of entries) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) await walk(root, path, paths, gaps);
    else if (entry.isFile()) paths.push(path);
  }
}

function notOneFile(place: string): FarmError {
  return new FarmError("USAGE", {
    detail: `${place} is a file; audit needs a directory`,
    hint: "Name the directory that holds the file, or use `kmodfarm check` for a single module.",
  });
}

/** A person waits for the answer, so a server that gives none is not queried for minutes. */
const PATIENCE = { retries: 1, silenceMs: 15_000 };

async function openUrl(words: string): Promise<ReadPlace> {
  const parsed = URL.parse(words);
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new FarmError("USAGE", {
      detail: `${words} is not an http or https address`,
      hint: "Give a directory, or an address that works in a browser.",
    });
  // As it is sent: links are compared with it.
  const address = parsed.href;
  if (/\.ko(\.(xz|zst|gz))?$/.test(address)) throw notOneFile(address);
  const http = new Http(PATIENCE);
  const get = (url: string) => fetchFile(http, url, PAGE_LIMIT_BYTES);
  try {
    const root = address.includes("?") || address.endsWith("/") ? address : `${address}/`;
    const { files, gaps } = await listPlace(root, get);
    const paths = [...files.keys()].sort();
    return {
      paths,
      gaps,
      name: decodedPath(root.replace(/\?.*$/, "").replace(/\/$/, "")),
      read: (path) => fetchFile(http, files.get(path) as string, FILE_LIMIT_BYTES),
      [Symbol.asyncDispose]: () => http.close(),
    };
  } catch (thrown) {
    await http.close();
    throw thrown;
  }
}

async function fetchFile(http: Http, url: string, limitBytes: number): Promise<Buffer | undefined> {
  const answer = await http.get(url);
  if (answer.kind !== "ok") return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limitBytes) {
        answer.body.destroy();
        throw new FarmError("REMOTE_UNAVAILABLE", {
          about: url,
          joint: " ",
          detail: `is longer than ${limitBytes} bytes`,
        });
      }
      chunks.push(chunk);
    }
  } catch (thrown) {
    throw toFarmError(http.toError(url, thrown));
  }
  return Buffer.concat(chunks);
}
