/**
 * Where `audit` reads: a directory, or what a web server shows below an address, by its pages of links or as S3 lists a
 * bucket. Nothing is written.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { FarmError } from "../base/error.ts";
import { Http } from "../base/http.ts";

export interface Heap extends AsyncDisposable {
  /** Paths of all files, sorted. */
  readonly paths: readonly string[];
  /** An absolute path or an address. */
  readonly place: string;
  /** Where they are on this machine, if they are. */
  readonly directory?: string;
  /** Undefined for what a server lists and does not have. */
  read(path: string): Promise<Buffer | undefined>;
}

const FILE_LIMIT_BYTES = 512 * 1024 * 1024;
const PAGE_LIMIT_BYTES = 64 * 1024 * 1024;
const PAGE_LIMIT = 10_000;

/** @throws FarmError FILE_UNREADABLE, REMOTE_UNAVAILABLE, USAGE */
export async function openHeap(place: string): Promise<Heap> {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(place) ? openUrl(place) : openDirectory(place);
}

/** Links are not followed: what they lead to is found where it is, if it is here. */
async function openDirectory(directory: string): Promise<Heap> {
  if (directory === "")
    throw new FarmError("USAGE", { detail: "the place to look through is an empty word" });
  const unreadable = (cause: NodeJS.ErrnoException) => {
    const fact = cause.code === "ENOENT" ? "is not there" : `cannot be read (${cause.code})`;
    return new FarmError("FILE_UNREADABLE", { detail: `${directory} ${fact}`, cause });
  };
  const place = await stat(directory).catch((cause: NodeJS.ErrnoException) => {
    throw unreadable(cause);
  });
  if (!place.isDirectory()) throw notOneFile(directory);
  const absolute = resolve(directory);
  const entries = await readdir(absolute, { recursive: true, withFileTypes: true }).catch(
    (cause: NodeJS.ErrnoException) => {
      throw new FarmError("FILE_UNREADABLE", {
        detail: `what is below ${directory} cannot be listed whole (${cause.code}: ${cause.path ?? ""})`,
        cause,
      });
    },
  );
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(absolute, join(entry.parentPath, entry.name)));
  return {
    paths: paths.sort(),
    place: absolute,
    directory: absolute,
    read: (path) => readFile(join(absolute, path)),
    [Symbol.asyncDispose]: async () => {},
  };
}

function notOneFile(place: string): FarmError {
  return new FarmError("USAGE", {
    detail: `${place} is a file, and audit looks through a directory`,
    hint: "Name the directory that it lies in, or ask `kmodfarm check` about one module.",
  });
}

/** Somebody waits for the answer, so a server that gives none is not asked for minutes. */
const PATIENCE = { retries: 1, silenceMs: 15_000 };

async function openUrl(words: string): Promise<Heap> {
  const parsed = URL.parse(words);
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new FarmError("USAGE", {
      detail: `${words} is no http or https address`,
      hint: "Give a directory, or an address as a browser would take it.",
    });
  // As it is sent: links are compared with it.
  const address = parsed.href;
  if (/\.ko(\.(xz|zst|gz))?$/.test(address)) throw notOneFile(address);
  const http = new Http(PATIENCE);
  const get = (url: string, limitBytes: number) => fetchBytes(http, url, limitBytes);
  try {
    const root = address.includes("?") || address.endsWith("/") ? address : `${address}/`;
    const first = (await get(root, PAGE_LIMIT_BYTES)).toString("utf8");
    const urls = /<ListBucketResult\b/.test(first)
      ? await listBucket(root, first, get)
      : await listPages(root, first, get);
    const paths = [...urls.keys()].sort();
    return {
      paths,
      place: decodedPath(root.replace(/\?.*$/, "").replace(/\/$/, "")),
      read: (path) => fetchFile(http, urls.get(path) as string, FILE_LIMIT_BYTES),
      [Symbol.asyncDispose]: () => http.close(),
    };
  } catch (thrown) {
    await http.close();
    throw thrown;
  }
}

type Get = (url: string, limitBytes: number) => Promise<Buffer>;

async function fetchBytes(http: Http, url: string, limitBytes: number): Promise<Buffer> {
  const bytes = await fetchFile(http, url, limitBytes);
  if (bytes !== undefined) return bytes;
  throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${url} is not there`, hint: "Check the address." });
}

async function fetchFile(http: Http, url: string, limitBytes: number): Promise<Buffer | undefined> {
  const answer = await http.get(url);
  if (answer.kind !== "ok") return undefined;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limitBytes) {
      answer.body.destroy();
      throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${url} is longer than ${limitBytes} bytes` });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Every page of links at or below the first; path below it → address. */
async function listPages(root: string, first: string, get: Get): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const [queue, seen] = [[root], new Set([root])];
  for (let page = queue.pop(); page !== undefined; page = queue.pop()) {
    if (seen.size > PAGE_LIMIT)
      throw new FarmError("USAGE", { detail: `${root} leads to more than ${PAGE_LIMIT} pages` });
    const text = page === root ? first : (await get(page, PAGE_LIMIT_BYTES)).toString("utf8");
    for (const [, link = ""] of text.matchAll(/\bhref\s*=\s*["']?([^"'\s>]+)/gi)) {
      const url = URL.parse(link.replaceAll("&amp;", "&"), page);
      if (url === null) continue;
      url.hash = url.search = "";
      if (!url.href.startsWith(root) || seen.has(url.href)) continue;
      seen.add(url.href);
      if (url.href.endsWith("/")) queue.push(url.href);
      else files.set(decodedPath(url.href.slice(root.length)), url.href);
    }
  }
  return files;
}

function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** S3's ListObjectsV2, from page to page. */
async function listBucket(root: string, first: string, get: Get): Promise<Map<string, string>> {
  const bucket = root.replace(/\?.*$/, "");
  const files = new Map<string, string>();
  let text = first;
  for (let page = 1; ; page++) {
    for (const [, key = ""] of text.matchAll(/<Key>([^<]+)<\/Key>/g)) {
      const path = unescaped(key);
      files.set(path, bucket + path.split("/").map(encodeURIComponent).join("/"));
    }
    const token = /<NextContinuationToken>([^<]+)</.exec(text)?.[1];
    if (token === undefined) return files;
    if (page > PAGE_LIMIT)
      throw new FarmError("USAGE", { detail: `${root} lists more than ${PAGE_LIMIT} pages` });
    const next = URL.parse(root) as URL;
    next.searchParams.set("list-type", "2");
    next.searchParams.set("continuation-token", unescaped(token));
    text = (await get(next.href, PAGE_LIMIT_BYTES)).toString("utf8");
  }
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
]);

function unescaped(text: string): string {
  return text.replaceAll(/&(?:#(\d+)|(\w+));/g, (whole, code, name) =>
    code === undefined
      ? (ENTITIES.get(name) ?? whole)
      : String.fromCodePoint(Math.min(Number(code), 0x10ffff)),
  );
}
