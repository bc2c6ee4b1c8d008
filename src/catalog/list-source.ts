/**
 * A kernel-crawler list as a configured source: asked for every night like a repository, believed no more
 * than a list deserves.
 */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { decompressed } from "../base/decompress.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import type { Catalog, CatalogSource } from "./catalog.ts";
import { readKernelCrawler } from "./kernel-crawler.ts";
import { type KernelList, reportsOfList } from "./kernel-list.ts";
import { mergeCatalog, type ReleaseReport } from "./merge.ts";
import type { SourceContext } from "./source.ts";
import type { SourceProblem, Update, UpdateOptions } from "./update.ts";

export interface ListSource {
  readonly kind: "kernel-crawler";
  /** `kernel-crawler-x86_64`; each distribution release of the list is a source `<id>/<release>`. */
  readonly id: string;
  /** A URL, or an absolute path. */
  readonly place: string;
  readonly architecture: ArchitectureName | undefined;
}

const LIST_LIMIT_BYTES = 512 * 1024 * 1024;

/** Lays configured lists over a catalog, one after the other; a list that cannot be read changes no kernel. */
export async function updateFromLists(
  previous: Catalog,
  lists: readonly ListSource[],
  context: SourceContext,
  options: UpdateOptions,
): Promise<Update> {
  const now = options.now.toISOString();
  const problems: SourceProblem[] = [];
  let catalog = previous;
  for (const source of lists) {
    const read = await readList(source, context);
    const reports =
      read instanceof FarmError
        ? failedReports(catalog, source, read, now)
        : reportsOfList(read, catalog, now);
    catalog = mergeCatalog(catalog, reports, {
      now,
      ...(options.acceptWithdrawals ? { acceptWithdrawals: true } : {}),
    });
    problems.push(...(read instanceof FarmError ? [problemOf(source, read)] : suspectsOf(catalog, source)));
    if (!(read instanceof FarmError) && read.dropped.length > 0) problems.push(droppedOf(source, read));
  }
  return { catalog, problems };
}

async function readList(source: ListSource, context: SourceContext): Promise<KernelList | FarmError> {
  try {
    const body = await openList(source.place, context);
    const { place: url, id: name, architecture } = source;
    const bytes = /\.(gz|zst|xz)$/.test(url) ? decompressed(body, url, LIST_LIMIT_BYTES) : body;
    return await readKernelCrawler(bytes as AsyncIterable<Uint8Array>, { url, name, architecture });
  } catch (thrown) {
    const error = toListError(source, thrown);
    if (error.code === "INTERRUPTED" || error.blame === "bug") throw error;
    return error;
  }
}

async function openList(place: string, { http, signal }: SourceContext): Promise<Readable> {
  if (!/^https?:/.test(place)) return createReadStream(place);
  const answer = await http.get(place, {}, signal);
  if (answer.kind === "ok") return answer.body;
  throw new FarmError("REMOTE_UNAVAILABLE", { detail: `${place} is not there`, at: { url: place } });
}

/** A connection that breaks while the list is read, or a file that cannot be, is no fault of ours. */
function toListError({ place }: ListSource, thrown: unknown): FarmError {
  const error = toFarmError(thrown);
  if (error.code !== "BUG" || !(thrown instanceof Error) || !("code" in thrown)) return error;
  return new FarmError("REMOTE_UNAVAILABLE", { detail: `${place}: ${thrown.message}`, cause: thrown });
}

/** Every release that the list was known for, with nothing said of its kernels. */
function failedReports(catalog: Catalog, { id }: ListSource, error: FarmError, now: string): ReleaseReport[] {
  return sourcesOf(catalog, id).map((before) => ({
    distribution: before.distribution,
    kernels: [],
    guests: [],
    sources: [{ ...before, status: "failed", detail: error.message, checkedAt: now }],
  }));
}

function sourcesOf(catalog: Catalog, id: string): CatalogSource[] {
  return catalog.sources.filter((source) => source.id.startsWith(`${id}/`));
}

function problemOf({ id }: ListSource, { code, message, blame }: FarmError): SourceProblem {
  return { source: id, detail: `failed: ${message}`, code, integrity: blame === "integrity" };
}

function suspectsOf(catalog: Catalog, { id }: ListSource): SourceProblem[] {
  return sourcesOf(catalog, id)
    .filter(({ status }) => status === "suspect")
    .map((source) => ({
      source: source.id,
      detail: `suspect: ${source.detail ?? ""}`,
      code: "CATALOG_SUSPECT",
      integrity: false,
    }));
}

/** Bad entries cost the list nothing but themselves, and are told. */
function droppedOf({ id }: ListSource, { dropped }: KernelList): SourceProblem {
  const detail = dropped
    .map(({ reason, count, examples }) => `${count} entries dropped: ${reason} (${examples[0] ?? ""})`)
    .join("; ");
  return { source: id, detail, code: "CATALOG_SUSPECT", integrity: false };
}
