/**
 * What sources of kernels have in common, whatever the format of their repository: how they answer, and what is
 * kept of them between nights.
 */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { markUsed } from "../base/cache.ts";
import { Deadline } from "../base/deadline.ts";
import { FarmError, toFarmError } from "../base/error.ts";
import type { Http } from "../base/http.ts";
import { sha256 } from "../base/json.ts";
import type { RunResult } from "../base/run.ts";
import type { Scratch } from "../base/scratch.ts";
import { ListedPackage } from "../kernel/distributions/distribution.ts";

/** What a look at any source needs to know of it. */
export interface AnySource {
  /** `debian/bookworm-security` */
  readonly id: string;
  /** Distribution release key of every kernel in it. */
  readonly release: string;
  readonly acceptExpired: boolean;
  /** The configuration names it, or its release is nothing without it: that it is not there is a failure. */
  readonly isRequired: boolean;
  /** A place that the configuration names: where nothing that should be there is, the place is wrong. */
  readonly place?: string;
  /** Its kernels are still to come: no user has them yet. */
  readonly isUpcoming?: true;
}

export interface SourceContext {
  readonly http: Http;
  readonly scratch: Scratch;
  /** Where verified indices' extracts and validators are kept between nights. */
  readonly cache: string;
  /** Longest that one source may take. */
  readonly longestMs?: number;
  readonly signal?: AbortSignal;
}

export type SourceAnswer =
  | {
      readonly kind: "read";
      /** What the paths of its packages are relative to. */
      readonly url: string;
      readonly metadata: SourceMetadata;
      readonly packages: readonly ListedPackage[];
    }
  /** The server says that there is no such suite or repository. */
  | { readonly kind: "notServed"; readonly url: string }
  | { readonly kind: "failed"; readonly error: FarmError };

/** Something that should exist does not: a person has to look at the configuration, or at the server. */
export function missingError(detail: string): FarmError {
  const hint = "Compare the mirror, release, suites or list in the configuration with what the server has.";
  return new FarmError("REMOTE_UNAVAILABLE", { detail, hint });
}

export interface SourceMetadata {
  readonly date: string;
  readonly validUntil?: string;
  readonly digest: string;
  /** It is unsigned: its digests prove only that it is whole. */
  readonly unsigned?: true;
  /** The advisories that came with it. */
  readonly updateinfo?: { readonly path: string; readonly sha256: string };
}

/**
 * A failure is an answer, not an exception: the other sources go on. That holds for our own faults too, which a source
 * may well provoke; only a stop is thrown.
 */
export async function answering(read: () => Promise<SourceAnswer>): Promise<SourceAnswer> {
  try {
    return await read();
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.code === "INTERRUPTED") throw error;
    return { kind: "failed", error };
  }
}

const LONGEST_MS = 30 * 60_000;

/**
 * Reads a source within the time that one may take, all its documents and mirrors together: each of them may be in
 * time, and the next one as well.
 * @throws FarmError REMOTE_UNAVAILABLE when it is over
 */
export async function inTime<T>(
  source: string,
  context: SourceContext,
  read: (context: SourceContext) => Promise<T>,
): Promise<T> {
  const { signal, longestMs = LONGEST_MS } = context;
  const minutes = Math.round(longestMs / 6000) / 10;
  const tooLong = new FarmError("REMOTE_UNAVAILABLE", {
    about: source,
    joint: " ",
    detail: `did not finish within ${minutes} minutes`,
    at: { source },
  });
  const deadline = new Deadline(longestMs, tooLong, signal);
  try {
    return await read({ ...context, signal: deadline.signal });
  } catch (thrown) {
    throw deadline.isOver && !signal?.aborted ? tooLong : thrown;
  } finally {
    deadline.end();
  }
}

const Remembered = z.object({
  etag: z.string().optional(),
  lastModified: z.string().optional(),
  text: z.string(),
});

export interface RememberedText {
  readonly text: string;
  /** Whether it is the text that an earlier look remembered, and so had verified. */
  readonly isKnown: boolean;
  /** Keeps it for conditional requests. */
  remember(): Promise<void>;
  /** Has it asked for without conditions the next time. */
  forget(): Promise<void>;
}

/**
 * Works with a document, and remembers it only once everything that it leads to proved good: a bad copy would
 * come back with every "not modified", even when the server has the good one again.
 */
export async function relyOn<T>(document: RememberedText, work: () => Promise<T>): Promise<T> {
  let made: T;
  try {
    made = await work();
  } catch (thrown) {
    if (toFarmError(thrown).code !== "INTERRUPTED") await document.forget();
    throw thrown;
  }
  await document.remember();
  return made;
}

/** A small document, asked for conditionally; undefined when the server has none. `trust` names what verified it. */
export async function fetchRemembered(
  url: string,
  limitBytes: number,
  trust: string,
  { http, scratch, cache, signal }: SourceContext,
): Promise<RememberedText | undefined> {
  const memory = join(cache, "remembered", `${sha256(`${url}\n${trust}`).slice(7, 39)}.json`);
  const remembered = await readJson(memory, Remembered);
  await markUsed(memory);
  const forget = () => rm(memory, { force: true });
  const answer = await http.fetchDocument(url, limitBytes, remembered ?? {}, signal);
  if (answer.kind === "missing") return undefined;
  if (answer.kind === "notModified")
    return { text: remembered?.text ?? "", isKnown: true, async remember() {}, forget };
  const fresh = { ...answer.validators, text: answer.bytes.toString("utf8") };
  const isKnown = fresh.text === remembered?.text;
  const isSame = isKnown && fresh.etag === remembered.etag && fresh.lastModified === remembered.lastModified;
  const remember = async () => (isSame ? undefined : scratch.write(memory, JSON.stringify(fresh)));
  return { text: fresh.text, isKnown, remember, forget };
}

/** The bytes of a keyring: a key may come or go while its path stays the same. */
export async function readKeyring(path: string): Promise<Buffer> {
  return readFile(path).catch((cause) => {
    throw new FarmError("FILE_UNREADABLE", { detail: `the keyring ${path} cannot be read`, cause });
  });
}

/** What is made of verified bytes, from a room of the cache or made now; `origin` names all that determines it. */
export async function madeOnce<T>(
  room: string,
  origin: string,
  type: z.ZodType<T>,
  { cache, scratch }: SourceContext,
  make: () => Promise<T>,
): Promise<T> {
  const memory = join(cache, room, `${origin}.json`);
  const remembered = await readJson(memory, type);
  await markUsed(memory);
  if (remembered !== undefined) return remembered;
  const made = await make();
  await scratch.write(memory, JSON.stringify(made));
  return made;
}

const Packages = z.array(ListedPackage);

/** What we need of an index, from the cache or by reading it. `sought` says what is looked for in it. */
export async function extractOf(
  index: { readonly sha256: string },
  sought: string,
  source: string,
  context: SourceContext,
  read: () => Promise<ListedPackage[]>,
): Promise<ListedPackage[]> {
  const origin = `${index.sha256}-${sha256(sought).slice(7, 15)}`;
  const packages = await madeOnce("indices", origin, Packages, context, read);
  // Suites share indices; who lists a package is not part of that.
  return packages.map((listed) => ({ ...listed, source }));
}

/** What gpgv said when it refused. */
export function signatureFault(source: string, what: string, keyring: string, result: RunResult): FarmError {
  const said = result.stderr
    .split("\n")
    .filter((line) => /BAD|Can't check|keyblock|error|no valid/i.test(line));
  return new FarmError("SIGNATURE_INVALID", {
    about: source,
    detail: `no key of ${keyring} signed its ${what} (${said.join("; ") || `gpgv ended with ${result.exitCode}`})`,
    at: { source },
  });
}

/** Something we wrote ourselves; damaged or absent is the same: it is made anew. */
export async function readJson<T>(path: string, type: z.ZodType<T>): Promise<T | undefined> {
  try {
    return type.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}
