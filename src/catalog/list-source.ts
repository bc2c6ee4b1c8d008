/**
 * A kernel-crawler list as a configured source: asked for every night like a repository, believed no more
 * than a list deserves.
 */
import { rm, writeFile } from "node:fs/promises";
import { FarmError, isErrno, toFarmError } from "../base/error.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";
import { NOTHING_KNOWN } from "../kernel/facts.ts";
import { kernelName } from "../kernel/kernel.ts";
import type { Catalog, CatalogSource } from "./catalog.ts";
import { LIST_LIMIT_BYTES } from "./index-file.ts";
import { isOfList, type KernelList, reportsOfList } from "./kernel-list.ts";
import { mergeCatalog, type ReleaseReport } from "./merge.ts";
import { readApart } from "./read-apart.ts";
import { inTime, missingError, type SourceContext } from "./source.ts";
import {
  ACCEPT_LOSS,
  failureOf,
  type SourceProblem,
  type SourceWarning,
  suspicionOf,
  type Update,
  type UpdateOptions,
} from "./update.ts";

export interface ListSource {
  readonly kind: "kernel-crawler";
  /** `kernel-crawler-x86_64`; each distribution release of the list is a source `<id>/<release>`. */
  readonly id: string;
  /** A URL, or an absolute path. */
  readonly place: string;
  readonly architecture: ArchitectureName | undefined;
  /** A person vouches for its digests. */
  readonly isTrusted: boolean;
}

export interface ReadList {
  readonly source: ListSource;
  readonly read: KernelList | FarmError;
}

/** Reads configured lists, one after the other: each may be large. */
export async function askLists(lists: readonly ListSource[], context: SourceContext): Promise<ReadList[]> {
  const answers: ReadList[] = [];
  for (const source of lists) answers.push({ source, read: await readList(source, context) });
  return answers;
}

/** Lays lists over a catalog, one after the other; a list that cannot be read changes no kernel. */
export function updateFromLists(
  previous: Catalog,
  answers: readonly ReadList[],
  { now, facts = NOTHING_KNOWN, acceptWithdrawals = false }: UpdateOptions,
): Update {
  const time = now.toISOString();
  let catalog = previous;
  // A list may have more sources than a call takes arguments.
  let [sources, problems]: [CatalogSource[], SourceProblem[]] = [[], []];
  const warnings: SourceWarning[] = [];
  for (const { source, read: answer } of answers) {
    const read = withinReason(answer, catalog);
    const isFailed = read instanceof FarmError;
    const reports = isFailed
      ? failedReports(catalog, source, read, time)
      : reportsOfList(read, catalog, time, acceptWithdrawals);
    catalog = mergeCatalog(catalog, reports, { now: time, facts, acceptWithdrawals });
    const own = sourcesOf(catalog, source.id);
    sources = sources.concat(own.length > 0 ? own : [emptySource(source, read, time)]);
    if (isFailed) problems.push(failureOf(source.id, read));
    else problems = problems.concat(own.filter(isSuspect).map((one) => suspicionOf(one, ACCEPT_LOSS)));
    if (!isFailed && read.dropped.length > 0) warnings.push(droppedOf(source, read));
  }
  return { catalog, sources, problems, warnings };
}

/** Nothing leaves a catalog again: a list with other names every night would make it grow for ever. */
const MOST_KERNELS = 250_000;

function withinReason(read: KernelList | FarmError, { kernels }: Catalog): KernelList | FarmError {
  if (read instanceof FarmError) return read;
  const known = new Set(kernels.map(kernelName));
  const fresh = read.kernels.filter((kernel) => !known.has(kernelName(kernel))).length;
  if (fresh === 0 || kernels.length + fresh <= MOST_KERNELS) return read;
  return new FarmError("DOCUMENT_INVALID", {
    detail: `${read.url} has ${fresh} kernels that are new to the catalog's ${kernels.length}, and the catalog keeps at most ${MOST_KERNELS}`,
    hint: "None of it was used. There are not that many kernels: do not trust the list.",
  });
}

function isSuspect({ status }: CatalogSource): boolean {
  return status === "suspect";
}

/** The row of a list that no kernel was ever known of. */
function emptySource(
  { id, kind, place }: ListSource,
  read: KernelList | FarmError,
  now: string,
): CatalogSource {
  const state =
    read instanceof FarmError
      ? { status: "failed" as const, detail: read.message }
      : { status: "ok" as const };
  return {
    id,
    kind,
    distribution: "unknown",
    url: place,
    ...state,
    checkedAt: now,
    kernels: {},
    cadence: [],
  };
}

async function readList(source: ListSource, context: SourceContext): Promise<KernelList | FarmError> {
  try {
    return await inTime(source.id, context, (its) => parseList(source, its));
  } catch (thrown) {
    const error = toListError(source, thrown, context);
    if (error.code === "INTERRUPTED") throw error;
    return error;
  }
}

async function parseList(source: ListSource, { http, scratch, signal }: SourceContext): Promise<KernelList> {
  const { place: url, id: name, architecture, isTrusted } = source;
  const read = (file: string) =>
    readApart(url, { kind: "list", file, options: { url, name, architecture, isTrusted } }, signal);
  if (!/^https?:/.test(url)) return read(url);
  const file = scratch.path();
  try {
    const answer = await http.get(url, {}, signal);
    if (answer.kind !== "ok") throw missingError(`the server has no ${url}`);
    await writeFile(file, beginOf(answer.body), { flag: "wx" });
    return await read(file);
  } finally {
    await rm(file, { force: true });
  }
}

/** A list that is longer is cut off, and its reader says that it is too long. */
async function* beginOf(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let size = 0;
  for await (const chunk of body) {
    yield chunk;
    size += chunk.length;
    if (size > LIST_LIMIT_BYTES) return;
  }
}

/** A connection that breaks while the list is fetched is no fault of ours. */
function toListError({ place }: ListSource, thrown: unknown, { http }: SourceContext): FarmError {
  const error = toFarmError(http.toError(place, thrown));
  if (error.code !== "BUG" || !isErrno(thrown)) return error;
  const detail = `${place} cannot be read (${thrown.code})`;
  return new FarmError("REMOTE_UNAVAILABLE", { detail, cause: thrown });
}

/** Every release that the list was known for, with nothing said of its kernels. */
function failedReports(
  catalog: Catalog,
  { id, isTrusted }: ListSource,
  error: FarmError,
  now: string,
): ReleaseReport[] {
  const state = { status: "failed" as const, detail: error.message, checkedAt: now };
  return sourcesOf(catalog, id).map(({ trusted: _, ...before }) => ({
    distribution: before.distribution,
    kernels: [],
    guests: [],
    sources: [{ ...before, ...state, ...(isTrusted ? { trusted: true as const } : {}) }],
  }));
}

function sourcesOf(catalog: Catalog, id: string): CatalogSource[] {
  return catalog.sources.filter((source) => isOfList(id, source.id));
}

/** Bad entries cost the list nothing but themselves, and are reported. */
function droppedOf({ id }: ListSource, { dropped }: KernelList): SourceWarning {
  const detail = dropped
    .map(
      ({ reason, count, examples }) =>
        `${count} ${count === 1 ? "entry" : "entries"} dropped: ${reason} (${examples[0] ?? ""})`,
    )
    .join("; ");
  return { source: id, count: dropped.reduce((sum, { count }) => sum + count, 0), detail };
}
