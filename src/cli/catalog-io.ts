/**
 * Catalogs in and out, in every format there is: our own, kernel-crawler's lists, driverkit's configurations.
 * What a document is, its first bytes say.
 */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline, Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { FarmError } from "../base/error.ts";
import { Http } from "../base/http.ts";
import { parseDocument } from "../base/json.ts";
import { entriesOf } from "../base/scratch.ts";
import { Catalog, EMPTY_CATALOG } from "../catalog/catalog.ts";
import { readDriverkit } from "../catalog/driverkit.ts";
import { readKernelCrawler } from "../catalog/kernel-crawler.ts";
import {
  architectureOfPlace,
  type KernelList,
  type ListOptions,
  reportsOfList,
} from "../catalog/kernel-list.ts";
import { mergeCatalog } from "../catalog/merge.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";

const CATALOG_FORMATS = ["kmodfarm", "kernel-crawler", "driverkit"] as const;
export type CatalogFormat = (typeof CATALOG_FORMATS)[number];

export type AnyCatalog =
  | { readonly format: "kmodfarm"; readonly catalog: Catalog }
  | { readonly format: "kernel-crawler" | "driverkit"; readonly list: KernelList };

export interface ReadOptions {
  readonly as?: CatalogFormat | undefined;
  readonly name?: string | undefined;
  readonly architecture?: ArchitectureName | undefined;
  readonly keepEntries?: boolean | undefined;
}

/** A document longer than this does not fit into one string of this machine. */
const DOCUMENT_LIMIT_BYTES = 500_000_000;
const CONFIG_LIMIT_BYTES = 4 * 1024 * 1024;
const HEAD_BYTES = 512;

/** A file, a URL, standard input (`-`), or a directory of driverkit configurations; .gz and .zst unpacked. */
export async function readAnyCatalog(place: string, options: ReadOptions = {}): Promise<AnyCatalog> {
  const { as, name } = options;
  const architecture = options.architecture ?? architectureOfPlace(place);
  const listOptions: ListOptions = { url: place, name, architecture, keepEntries: options.keepEntries };
  if ((await stat(place).catch(() => undefined))?.isDirectory()) {
    return { format: "driverkit", list: readDriverkit(await configsBelow(place), listOptions) };
  }
  await using input = await openInput(place);
  const { head, rest } = await peek(input.bytes);
  const format = as ?? formatOf(head, place);
  switch (format) {
    case "kernel-crawler":
      return { format, list: await readKernelCrawler(rest, listOptions) };
    case "driverkit": {
      const text = await readWhole(rest, place, CONFIG_LIMIT_BYTES);
      return { format, list: readDriverkit([{ name: place, text }], listOptions) };
    }
    case "kmodfarm":
      return {
        format,
        catalog: parseDocument(Catalog, await readWhole(rest, place, DOCUMENT_LIMIT_BYTES), place),
      };
  }
}

/** A catalog of the document alone, for commands that keep nothing. */
export async function readCatalog(place: string): Promise<{ catalog: Catalog; list?: KernelList }> {
  const read = await readAnyCatalog(place);
  return read.format === "kmodfarm" ? read : { catalog: catalogOfList(read.list), list: read.list };
}

/** What a list says to nobody's memory. */
export function catalogOfList(list: KernelList): Catalog {
  const now = new Date().toISOString();
  return mergeCatalog(EMPTY_CATALOG, reportsOfList(list, EMPTY_CATALOG, now), { now });
}

/** Whether a file or URL is a kernel list, by its first bytes; standard input is not looked at. */
export async function isKernelList(place: string): Promise<boolean> {
  if (place === "-") return false;
  await using input = await openInput(place);
  const { head } = await peek(input.bytes);
  return /^\s*\{/.test(head) && !OWN_DOCUMENT.test(head);
}

const OWN_DOCUMENT = /^\s*\{\s*"(schema|guests|sources|kernels|elements|generatedAt)"/;

function formatOf(head: string, place: string): CatalogFormat {
  if (OWN_DOCUMENT.test(head)) return "kmodfarm";
  if (/^\s*\{/.test(head)) return "kernel-crawler";
  if (/^[^{["]*\bkernelrelease:/.test(head)) return "driverkit";
  throw new FarmError("DOCUMENT_INVALID", {
    detail: `${place} is neither a catalog nor a kernel list nor a driverkit configuration`,
    hint: `Name its format with --as ${CATALOG_FORMATS.join("|")}, if it is one of them.`,
  });
}

interface Input extends AsyncDisposable {
  readonly bytes: AsyncIterable<Buffer>;
}

async function openInput(place: string): Promise<Input> {
  if (/^https?:\/\//.test(place)) {
    const http = new Http();
    const answer = await http.get(place);
    if (answer.kind !== "ok") {
      await http.close();
      throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${place} is not there` });
    }
    const { body } = answer;
    return { bytes: unpacked(body, place), [Symbol.asyncDispose]: async () => void body.destroy() };
  }
  const stream = place === "-" ? process.stdin : createReadStream(place);
  return { bytes: unpacked(stream, place), [Symbol.asyncDispose]: async () => void stream.destroy() };
}

/** The bytes inside, if they are compressed. */
async function* unpacked(stream: Readable, place: string): AsyncGenerator<Buffer> {
  try {
    const { first, rest } = await takeFirst(stream as AsyncIterable<Buffer>);
    const filter = first.subarray(0, 2).equals(GZIP)
      ? createGunzip()
      : first.subarray(0, 4).equals(ZSTD)
        ? createZstdDecompress()
        : undefined;
    if (filter === undefined) yield* rest;
    else yield* pipeline(Readable.from(rest), filter, () => {}) as AsyncIterable<Buffer>;
  } catch (thrown) {
    throw inputError(thrown, place);
  }
}

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

function inputError(thrown: unknown, place: string): unknown {
  if (thrown instanceof FarmError || !(thrown instanceof Error)) return thrown;
  const code = "code" in thrown ? String(thrown.code) : "";
  if (/^(Z_|ZSTD_|ERR_)/.test(code))
    return new FarmError("DOCUMENT_INVALID", {
      detail: `${place} cannot be unpacked: ${thrown.message}`,
      cause: thrown,
    });
  if (code.startsWith("UND_"))
    return new FarmError("REMOTE_UNAVAILABLE", { detail: `${place}: ${thrown.message}`, cause: thrown });
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

async function peek(chunks: AsyncIterable<Buffer>): Promise<{ head: string; rest: AsyncIterable<Buffer> }> {
  const { first, rest } = await takeFirst(chunks);
  return { head: first.toString("utf8", 0, HEAD_BYTES), rest };
}

async function readWhole(chunks: AsyncIterable<Buffer>, place: string, limitBytes: number): Promise<string> {
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

/** dbg-go keeps its configurations at any depth. */
async function configsBelow(directory: string): Promise<{ name: string; text: string }[]> {
  const found: { name: string; text: string }[] = [];
  for (const entry of await entriesOf(directory)) {
    const path = join(directory, entry);
    const status = await stat(path).catch(() => undefined);
    if (status?.isDirectory()) found.push(...(await configsBelow(path)));
    else if (/\.ya?ml$/.test(entry) && (status?.size ?? 0) <= CONFIG_LIMIT_BYTES)
      found.push({ name: path, text: await readFile(path, "utf8") });
  }
  return found;
}
