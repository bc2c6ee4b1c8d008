/**
 * Feeds: read where they lie, and kept by what they said last. One that fails, or says what cannot be, leaves what it said
 * before.
 */

import { Deadline } from "../../base/deadline.ts";
import { FarmError, toFarmError } from "../../base/error.ts";
import { pauses } from "../../base/pauses.ts";
import type { SourceChangelog } from "../../gap/evidence/changelog.ts";
import type { FeedContent, FeedFile } from "../../gap/feeds/feed.ts";
import { readFeed } from "../../gap/feeds/feed.ts";
import { feedKind } from "../../gap/feeds/index.ts";
import type { RecordOf } from "../../gap/records.ts";
import { factsByKernel, type KernelFacts, withAllLearned } from "../../kernel/facts.ts";
import { putBlob } from "../../registry/blobs.ts";
import { type Author, publish } from "../../registry/commit.ts";
import type { FeedNote, Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { withHappened } from "../../registry/history.ts";
import { packed } from "../../registry/packed.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { FeedConfig } from "../config/feeds.ts";
import { isHttp } from "../config/sources.ts";
import { type Farm, openInputs } from "../open.ts";
import { authorOf } from "../signing/heads.ts";

import { learnChangelogs } from "./changelogs.ts";
import { indexAmong, putIndex, withIndex } from "./cve-index.ts";
import { type FeedContext, type FeedPlace, type OpenedFeed, withFeed } from "./feed-files.ts";
import { happenedOnNodes } from "./nodes-seen.ts";
import { CHANGELOG, readBook, recordsOf } from "./stored-book.ts";

/** Raised whenever a reader finds more in the same bytes. */
const READERS = 1;

/** What came of asking one feed. */
export interface FeedAnswer {
  readonly name: string;
  readonly kind: string;
  readonly from: string;
  readonly result: "read" | "unchanged" | "suspect" | "failed";
  /** What is published of it now; undefined if it never said anything. */
  readonly note?: FeedNote;
  readonly error?: FarmError;
}

export interface Ingested {
  readonly answers: readonly FeedAnswer[];
  readonly generation: number;
}

interface IngestOptions {
  readonly by: string;
  readonly now: () => Date;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
  /** Take what a suspect feed says. Default: false. */
  readonly acceptsSuspects?: boolean;
  /** Look for changelogs of the catalog's kernels, too. Default: false. */
  readonly learnsChangelogs?: boolean;
  /** For one feed. Default: an hour. */
  readonly longestMs?: number;
}

/** Reads feeds, and publishes what they say. Whatever happens to one of them loses nothing of the others. */
export async function ingest(
  farm: Farm,
  feeds: readonly FeedConfig[],
  {
    by,
    now,
    say,
    signal,
    acceptsSuspects = false,
    learnsChangelogs = false,
    longestMs = LONGEST_MS,
  }: IngestOptions,
): Promise<Ingested> {
  const { http, scratch, cache, store } = farm;
  const before = await readPublished(store);
  const context = { http, scratch, cache, say, signal, longestMs };
  const answers: FeedAnswer[] = [];
  for (const feed of feeds) {
    const name = feed.name ?? feed.kind;
    const known = before.feeds.find((one) => one.name === name && one.kind === feed.kind);
    const { from = feedKind(feed.kind).address } = feed;
    const answer = await ask({ ...feed, name, from }, known, { context, store, at: now(), acceptsSuspects });
    answers.push(answer);
    if (answer.error?.code === "INTERRUPTED") break;
  }
  const author = authorOf(farm, by, "gap ingest", now);
  // Before anything else can fail: what was read is worth as much without the rest.
  const state = await publishAnswers(store, before, answers, [], author, say);
  for (const { error } of answers) if (error?.code === "INTERRUPTED") throw error;
  if (!learnsChangelogs) return { answers, generation: state.head?.number ?? 0 };
  const changelogs = await readChangelogs(farm, before, { at: now(), say, signal });
  const { head } = await publishAnswers(store, state, changelogs.answers, changelogs.facts, author, say);
  return { answers: [...answers, ...changelogs.answers], generation: head?.number ?? 0 };
}

/** Publishes what is new, with an index by CVE of all that is known by then. Returns what is published. */
async function publishAnswers(
  store: Store,
  known: Published,
  answers: readonly FeedAnswer[],
  facts: readonly KernelFacts[],
  author: Author,
  say: (text: string) => void,
): Promise<Published> {
  const { feeds } = withNotes(known, answers);
  const isIndexed = feeds.length === 0 || indexAmong(feeds) !== undefined;
  if (isIndexed && facts.length === 0 && feeds === known.feeds) return known;
  const index = isIndexed ? undefined : await indexOf(store, feeds, author, say);
  const nodes = await nodesIn(store, answers);
  const { state } = await publish(
    store,
    (before) => {
      const noted = withNotes(before, answers);
      return {
        state: {
          ...noted,
          feeds: index === undefined ? noted.feeds : withIndex(noted.feeds, index),
          facts: withAllLearned(before.facts, facts),
          history: withHappened(
            before.history,
            happenedOnNodes(nodes, before.catalog.kernels, before.history),
          ),
        },
        result: undefined,
      };
    },
    author,
  );
  return state;
}

/** Undefined where none can be made, whatever one of the feeds says: what is new is published all the same. */
async function indexOf(
  store: Store,
  feeds: readonly FeedNote[],
  { now }: Author,
  say: (text: string) => void,
): Promise<FeedNote | undefined> {
  try {
    return await putIndex(store, feeds, await readBook(store, feeds), now());
  } catch (thrown) {
    const { code, message } = toFarmError(thrown);
    say(`index by CVE: none could be made, so \`gap explain\` reads all feeds: ${message} [${code}]`);
    return undefined;
  }
}

type TimedContext = FeedContext & { readonly longestMs: number };

interface Asking {
  readonly context: TimedContext;
  readonly store: Store;
  readonly at: Date;
  readonly acceptsSuspects: boolean;
}

async function ask(
  { kind, name, from }: { readonly kind: string; readonly name: string; readonly from: FeedPlace },
  known: FeedNote | undefined,
  { context, store, at, acceptsSuspects }: Asking,
): Promise<FeedAnswer> {
  const place = typeof from === "string" ? from : `${from.git} ${from.revision}`;
  const base = { name, kind, from: place };
  const kept = known === undefined ? {} : { note: known };
  const made = `${READERS}/${kind}/`;
  try {
    const asked = isGitAddress(from) ? { git: from, revision: "HEAD" } : from;
    const source = known?.source.startsWith(made) === true ? known.source.slice(made.length) : undefined;
    const read = await inTime(name, context, (within) =>
      withFeed(asked, source, within, (opened) => readOpened(kind, opened, within.signal)),
    );
    if (read === undefined) return { ...base, result: "unchanged", ...kept };
    const { content, opened } = read;
    const { records, date, bad } = content;
    const fault = suspicion(content, known, at);
    if (fault !== undefined && !acceptsSuspects)
      return {
        ...{ ...base, result: "suspect", ...kept },
        error: new FarmError("FEED_SUSPECT", { detail: fault }),
      };
    const bytes = await packed(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const note: FeedNote = {
      ...{ ...base, source: `${made}${opened.source}`, at: at.toISOString() },
      ...(date === undefined ? {} : { date }),
      licence: feedKind(kind).licence,
      records: records.length,
      bad: [...bad],
      content: { digest: await putBlob(store, bytes), size: bytes.length },
    };
    return { ...base, result: "read", note };
  } catch (thrown) {
    return { ...base, result: "failed", ...kept, error: toFarmError(thrown) };
  }
}

/** Of kernels of which it is not known yet; each that is found becomes a feed of its own. */
async function readChangelogs(
  farm: Farm,
  { catalog, facts }: Published,
  {
    at,
    say,
    signal,
  }: { readonly at: Date; readonly say: (text: string) => void; readonly signal: AbortSignal },
): Promise<{ readonly answers: readonly FeedAnswer[]; readonly facts: readonly KernelFacts[] }> {
  const inputs = openInputs(farm, catalog, { archived: "none", say });
  const known = factsByKernel(facts);
  const {
    found,
    facts: learned,
    unfetchable,
    failed,
  } = await learnChangelogs(catalog, known, inputs, at, signal);
  if (unfetchable > 0)
    say(`changelogs: ${unfetchable} kernels are listed, but their packages are not on the mirror`);
  const answers: FeedAnswer[] = failed.map(({ kernel, error }) => ({
    ...{ name: kernel, kind: CHANGELOG, from: kernel, result: "failed", error },
  }));
  for (const { feed, distribution, from, changelog } of found) {
    const { entries, isTrimmed, damaged } = changelog;
    const date = entries.find(({ day }) => day !== undefined)?.day;
    const [{ source } = { source: "linux" }] = entries;
    const bytes = await packed(
      JSON.stringify({ source, distribution, isTrimmed, entries } satisfies SourceChangelog),
    );
    const note: FeedNote = {
      ...{
        name: feed,
        kind: CHANGELOG,
        from: `${from.name} ${from.version}`,
        source: `sha256:${from.sha256}`,
      },
      at: at.toISOString(),
      ...(date === undefined ? {} : { date }),
      licence: "GPL-2.0",
      records: entries.length,
      bad: damaged === 0 ? [] : [{ reason: "has no trailer that can be read", count: damaged, first: "" }],
      content: { digest: await putBlob(farm.store, bytes), size: bytes.length },
    };
    answers.push({ name: feed, kind: CHANGELOG, from: note.from, result: "read", note });
  }
  return { answers, facts: learned };
}

/** An address of a kind that is a repository, and not a file that a server has. */
function isGitAddress(from: FeedPlace): from is string {
  return typeof from === "string" && isHttp(from) && from.endsWith(".git");
}

/** The largest feed has 300,000 files. */
const LONGEST_MS = 60 * 60_000;

/** Whatever a feed has its reader do, the next one is read. */
async function inTime<T>(
  name: string,
  context: TimedContext,
  read: (context: FeedContext) => Promise<T>,
): Promise<T> {
  const { longestMs } = context;
  const detail = `the feed ${name} was not read within ${Math.round(longestMs / 6000) / 10} minutes`;
  const deadline = new Deadline(longestMs, new FarmError("REMOTE_UNAVAILABLE", { detail }), context.signal);
  try {
    return await read({ ...context, signal: deadline.signal });
  } finally {
    deadline.end();
  }
}

async function readOpened(
  kind: string,
  opened: OpenedFeed,
  signal: AbortSignal,
): Promise<{ readonly content: FeedContent; readonly opened: OpenedFeed }> {
  return { content: await readFeed(feedKind(kind), stoppable(opened.files(), signal)), opened };
}

/** Files that are there give nobody else the thread: neither a deadline nor who wants to stop would be heard. */
async function* stoppable(files: AsyncIterable<FeedFile>, signal: AbortSignal): AsyncGenerator<FeedFile> {
  const pause = pauses();
  for await (const { name, body } of files) {
    const pieces = async function* () {
      for await (const piece of body) {
        await pause();
        signal.throwIfAborted();
        yield piece;
      }
    };
    yield { name, body: pieces() };
  }
}

/** Share of its records that a feed may lose from one time to the next. */
const TOLERATED_LOSS = 0.01;
const DAY_MS = 86_400_000;

/** Why a feed is not to be believed; undefined if nothing speaks against it. */
function suspicion(
  { records, date, bad }: FeedContent,
  known: FeedNote | undefined,
  now: Date,
): string | undefined {
  if (records.length === 0)
    return `it has no records${bad[0] === undefined ? "" : `: ${bad[0].first} ${bad[0].reason}`}`;
  const tomorrow = new Date(now.getTime() + DAY_MS).toISOString().slice(0, 10);
  if (date !== undefined && date > tomorrow) return `it is of ${date}, which is still to come`;
  if (known === undefined) return undefined;
  const lost = known.records - records.length;
  // First: what was cut is mostly older, too.
  if (lost > known.records * TOLERATED_LOSS) return `it lost ${lost} of its ${known.records} records`;
  if (date !== undefined && known.date !== undefined && date < known.date)
    return `it went back in time, from ${known.date} to ${date}`;
  return undefined;
}

function withNotes(state: Published, answers: readonly FeedAnswer[]): Published {
  const fresh = answers.flatMap(({ result, note }) =>
    result === "read" && note !== undefined ? [note] : [],
  );
  if (fresh.length === 0) return state;
  const names = new Set(fresh.map(({ name }) => name));
  const feeds = [...state.feeds.filter(({ name }) => !names.has(name)), ...fresh];
  return { ...state, feeds: feeds.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

async function nodesIn(store: Store, answers: readonly FeedAnswer[]): Promise<RecordOf<"node">[]> {
  const fresh = answers.flatMap(({ result, kind, note }) =>
    result === "read" && kind !== CHANGELOG && note !== undefined ? [note] : [],
  );
  // Our own records may come as a feed that is not called after them.
  const mixed = fresh.filter(({ kind }) => kind === "nodes" || kind === "compact");
  const records = (await Promise.all(mixed.map((note) => recordsOf(store, note)))).flat();
  return records.filter((record) => record.type === "node");
}
