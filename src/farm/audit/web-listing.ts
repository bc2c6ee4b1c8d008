/**
 * What a web server shows below an address: pages of links, as nginx, Apache and others make them of a directory, a list
 * of names, or a bucket that is listed as S3 does. Every part that could not be read is named: who does not know how much
 * is missing must not say that all is well.
 */
import { FarmError, toFarmError } from "../../base/error.ts";

/** A place whose files are not all known. */
export interface Gap {
  readonly place: string;
  readonly why: string;
}

interface Listing {
  /** Path below the address → where it is. */
  readonly files: ReadonlyMap<string, string>;
  readonly gaps: readonly Gap[];
}

/** Undefined for what is not there. */
type Get = (url: string) => Promise<Buffer | undefined>;

const PAGE_LIMIT = 10_000;
/** Some five times what the largest place of drivers has that we know. */
const FILE_LIMIT = 1_000_000;
/** Four times the longest key that S3 takes: what is longer is no file's name, and costs more to look at than it may. */
const LONGEST = 4096;

/** @throws FarmError REMOTE_UNAVAILABLE where the address itself gives nothing */
export async function listPlace(root: string, get: Get): Promise<Listing> {
  const first = await get(root);
  if (first === undefined)
    throw new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${root} does not exist`,
      hint: "Check the address.",
    });
  const text = first.toString("utf8");
  const lister = new Lister(root, get);
  if (/<ListBucketResult\b/.test(text)) await lister.listBucket(text);
  else if (text.includes("<")) await lister.listPages(text);
  else lister.listLines(text);
  return lister;
}

class Lister implements Listing {
  readonly files = new Map<string, string>();
  readonly gaps: Gap[] = [];
  readonly #root: string;
  /** The root without a question. */
  readonly #base: string;
  readonly #get: Get;
  #pages = 1;
  #saidFull = false;

  constructor(root: string, get: Get) {
    this.#root = root;
    this.#base = root.replace(/\?.*$/, "");
    this.#get = get;
  }

  /** A list of names, one a line. */
  listLines(text: string): void {
    for (const line of text.split(/\r?\n/)) {
      const path = line.trim().replace(/^\.?\//, "");
      if (path.length > LONGEST) this.#gap(this.#base, `a line is longer than ${LONGEST} characters`);
      else if (path !== "" && !path.endsWith("/"))
        this.#add(URL.parse(encoded(path), this.#base)?.href ?? "");
    }
  }

  /** Every page of links at or below the first. */
  async listPages(first: string): Promise<void> {
    const [queue, seen] = [[this.#root], new Set([this.#root])];
    for (let page = queue.pop(); page !== undefined; page = queue.pop()) {
      const text = page === this.#root ? first : await this.#read(page);
      if (text === undefined) continue;
      if (isCutOff(text)) this.#gap(page, "the page is truncated");
      const { links, isEndless } = linksIn(text);
      if (isEndless) this.#gap(page, `a link is longer than ${LONGEST} characters`);
      for (const link of links) {
        const url = addressOf(link, page);
        if (url === undefined || !url.href.startsWith(this.#base) || seen.has(url.href)) continue;
        seen.add(url.href);
        if (isPage(url)) queue.push(url.href);
        else this.#add(url.href.replace(/\?.*$/, ""));
      }
    }
  }

  /** S3's ListObjects, both versions of it, from page to page. */
  async listBucket(first: string): Promise<void> {
    const seen = new Set([this.#root]);
    let [page, text]: [string, string | undefined] = [this.#root, first];
    while (text !== undefined) {
      const keys = this.#addKeys(text);
      for (const [, prefix = ""] of text.matchAll(/<CommonPrefixes>\s*<Prefix>([^<]*)</g))
        this.#gap(
          unescaped(prefix).toWellFormed(),
          "the server lists it as a directory, but not its contents",
        );
      const next = nextPage(page, text, keys.at(-1));
      if (next === undefined) return;
      if ("why" in next || seen.has(next.url)) {
        this.#gap(page, "why" in next ? next.why : "the listing's pages form a loop");
        return;
      }
      seen.add(next.url);
      [page, text] = [next.url, await this.#read(next.url)];
      if (text !== undefined && !/<ListBucketResult\b/.test(text)) {
        this.#gap(page, "it is not a page of the bucket's listing");
        return;
      }
    }
  }

  #addKeys(text: string): string[] {
    const isEncoded = /<EncodingType>url</.test(text);
    const keys = [...text.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key = ""]) => unescaped(key));
    for (const key of keys) {
      if (key.length > LONGEST) {
        this.#gap(this.#base, `a key is longer than ${LONGEST} characters`);
        continue;
      }
      const path = isEncoded ? decodedPath(key.replaceAll("+", " ")) : key;
      // Half of a character cannot be asked for.
      if (!path.isWellFormed()) this.#gap(this.#base + path.toWellFormed(), "its key is not valid text");
      else if (this.#isFull()) break;
      else if (!path.endsWith("/")) this.files.set(path, this.#base + encoded(path));
    }
    return keys;
  }

  #add(url: string): void {
    if (this.#isFull()) return;
    if (url.startsWith(this.#base)) this.files.set(decodedPath(url.slice(this.#base.length)), url);
  }

  #isFull(): boolean {
    if (this.files.size < FILE_LIMIT) return false;
    if (!this.#saidFull) this.#gap(this.#root, `it lists more than ${FILE_LIMIT} files`);
    this.#saidFull = true;
    return true;
  }

  #gap(place: string, why: string): void {
    this.gaps.push({ place, why });
  }

  async #read(page: string): Promise<string | undefined> {
    if (++this.#pages > PAGE_LIMIT) {
      if (this.#pages === PAGE_LIMIT + 1) this.#gap(page, `it is beyond the limit of ${PAGE_LIMIT} pages`);
      return undefined;
    }
    try {
      const bytes = await this.#get(page);
      if (bytes === undefined) this.#gap(page, "it is listed but does not exist");
      return bytes?.toString("utf8");
    } catch (thrown) {
      const error = toFarmError(thrown);
      if (error.code !== "REMOTE_UNAVAILABLE") throw error;
      this.#gap(page, error.factAbout(page));
      return undefined;
    }
  }
}

type NextPage = { readonly url: string } | { readonly why: string };

/** Undefined where a page says that it is the last one. */
function nextPage(page: string, text: string, lastKey: string | undefined): NextPage | undefined {
  if (!text.includes("</ListBucketResult>")) return { why: "the page is truncated" };
  const url = URL.parse(page) as URL;
  const value = (name: string) => {
    const found = new RegExp(`<${name}>([^<]+)<`).exec(text)?.[1];
    return found === undefined ? undefined : unescaped(found);
  };
  const token = value("NextContinuationToken");
  if (token !== undefined) {
    url.searchParams.set("list-type", "2");
    url.searchParams.set("continuation-token", token);
    return { url: url.href };
  }
  const isMore = value("IsTruncated") === "true";
  // Version 1 names the next page only where it was asked for directories: else it goes on behind the last key.
  const marker = value("NextMarker") ?? (isMore ? lastKey : undefined);
  if (marker === undefined)
    return isMore ? { why: "the listing says that there is more, but not where" } : undefined;
  if (url.searchParams.get("list-type") === "2")
    return { why: "the listing says that there is more, but not where" };
  url.searchParams.set("marker", marker);
  return { url: url.href };
}

interface Links {
  readonly links: readonly string[];
  /** One is longer than any may be: its content would be hidden. */
  readonly isEndless: boolean;
}

/** Every link of a page, in one pass: whatever was looked at once is not looked at again. */
function linksIn(text: string): Links {
  const [attribute, word] = [/\bhref\s*=\s*/gi, /[^"'\s>]*/y];
  const links: string[] = [];
  let isEndless = false;
  const last = { '"': text.lastIndexOf('"'), "'": text.lastIndexOf("'") };
  for (let found = attribute.exec(text); found !== null; found = attribute.exec(text)) {
    const start = attribute.lastIndex;
    const quote = text[start];
    const isQuoted = quote === '"' || quote === "'";
    const isClosed = isQuoted && last[quote] > start;
    word.lastIndex = isQuoted ? start + 1 : start;
    word.exec(text);
    // What a quote begins and none ends is no link, but may hide one.
    const end = isClosed ? text.indexOf(quote, start + 1) : word.lastIndex;
    const link = text.slice(isQuoted ? start + 1 : start, end);
    if (link.length > LONGEST) isEndless = true;
    else if (isClosed || (!isQuoted && link !== "")) links.push(link);
    attribute.lastIndex = isClosed ? end + 1 : Math.max(end, start);
  }
  return { links, isEndless };
}

function addressOf(link: string, page: string): URL | undefined {
  const url = URL.parse(unescaped(link), page);
  if (url === null || isOrder(url)) return undefined;
  url.hash = "";
  return url;
}

/** Apache's `?C=N;O=D` and its like: the same page in another order. */
function isOrder({ search }: URL): boolean {
  return /^\?(?:(?:C|O|F|V|P|sort|order|orderby|dir|direction|view|layout)=[\w.*-]*[;&]?)+$/i.test(search);
}

/** A directory, or a part of one: listings of many files have several pages. */
function isPage({ pathname, search }: URL): boolean {
  if (/\.ko(?:\.\w+)?$/.test(pathname)) return false;
  return pathname.endsWith("/") || search !== "" || /\.(?:html?|php)$/i.test(pathname);
}

/** A document that began and has no end, or a link that has none. */
function isCutOff(text: string): boolean {
  return (
    (/<html\b/i.test(text) && !/<\/html\s*>/i.test(text)) || text.lastIndexOf("<") > text.lastIndexOf(">")
  );
}

export function decodedPath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function encoded(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ["amp", "&"],
  ["lt", "<"],
  ["gt", ">"],
  ["quot", '"'],
  ["apos", "'"],
]);

function unescaped(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w{1,10}));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES.get(name) ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return String.fromCodePoint(Math.min(code, 0x10ffff));
  });
}
