/**
 * What a feed is: files in, records out. Whether the files came as a tar, a directory, a git repository or alone is for
 * whoever opens them; what is bad in them is counted, and never ends the rest.
 */
import { cut } from "../../base/copied.ts";
import { FarmError } from "../../base/error.ts";
import { type Day, type FeedRecord, keyOf, readRecord } from "../records.ts";

/** One file. Its body is read, or left, before the next file is asked for. */
export interface FeedFile {
  /** Its path in a tar or directory, or its own name; without the ending of a compression. */
  readonly name: string;
  readonly body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export type FeedFiles = AsyncIterable<FeedFile> | Iterable<FeedFile>;

/** A kind of feed. */
export interface FeedKind {
  readonly name: string;
  /** Where its owner publishes it; the configuration may say otherwise. */
  readonly address: string;
  /** What its owner allows. */
  readonly licence: string;
  read(files: FeedFiles, found: Found): Promise<void>;
}

/** Bad records of one reason, with the first of them. */
interface BadRecords {
  readonly reason: string;
  readonly count: number;
  readonly first: string;
}

export interface FeedContent {
  /** In the order of their keys; each once. */
  readonly records: readonly FeedRecord[];
  /** The newest day that the feed itself names; undefined for a feed without any. */
  readonly date: Day | undefined;
  readonly bad: readonly BadRecords[];
}

/** Different reasons that are kept apart: a hostile feed may have as many as it has records. */
const MOST_REASONS = 50;
const OTHER_REASONS = "other reasons";

/** The largest feeds have some hundred thousand short records; what is published of one is read as one document. */
const MOST_RECORDS = 1_000_000;
const MOST_BYTES = 128 << 20;

/** What is kept of one feed: a small one may say the same very often. */
export class Budget {
  readonly #kind: string;
  readonly #limits: { readonly records: number; readonly bytes: number };
  #records = 0;
  #bytes = 0;

  constructor(kind: string, limits = { records: MOST_RECORDS, bytes: MOST_BYTES }) {
    this.#kind = kind;
    this.#limits = limits;
  }

  /**
   * Counts a value and returns a copy, which holds nothing of the file that it was read from.
   * @throws FarmError DOCUMENT_INVALID beyond the limits: a part of a feed would say what it does not mean
   */
  keep<T>(value: T): T {
    const text = JSON.stringify(value) ?? "";
    this.#records++;
    this.#bytes += Buffer.byteLength(text);
    const { records, bytes } = this.#limits;
    if (this.#records <= records && this.#bytes <= bytes)
      return text === "" ? value : (JSON.parse(text) as T);
    throw new FarmError("DOCUMENT_INVALID", {
      about: `the ${this.#kind} feed`,
      joint: " ",
      detail: `has more than ${records} records, or ${bytes} bytes of them`,
      hint: "No such feed has as many: look at where it comes from. What it said before stays.",
    });
  }
}

/** Gathers what a reader finds. */
export class Found {
  readonly #budget: Budget;
  readonly #records = new Map<string, FeedRecord>();
  readonly #bad = new Map<string, { count: number; first: string }>();
  #date: Day | undefined;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** Adds a value if it is a record; `where` names it if it is not. @throws as `Budget.keep` */
  add(value: unknown, where: string): void {
    const read = readRecord(value);
    if (read.kind === "bad") {
      this.drop(read.reason, where);
      return;
    }
    const key = `${read.record.type}\n${keyOf(read.record)}`;
    if (this.#records.has(key)) {
      this.drop("is there twice", where);
      return;
    }
    const kept = this.#budget.keep(read.record);
    this.#records.set(`${kept.type}\n${keyOf(kept)}`, kept);
  }

  drop(reason: string, where: string): void {
    const known = this.#bad.has(reason) || this.#bad.size < MOST_REASONS ? reason : OTHER_REASONS;
    const bad = this.#bad.get(known);
    if (bad === undefined) this.#bad.set(known, { count: 1, first: cut(where, 200) });
    else bad.count++;
  }

  /** The feed names a day; the newest of all is its date. What is no day is left out. */
  dated(text: unknown): void {
    const day = typeof text === "string" ? dayOf(text) : undefined;
    if (day !== undefined && (this.#date === undefined || day > this.#date)) this.#date = day;
  }

  content(): FeedContent {
    const entries = [...this.#records].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return {
      records: entries.map(([, record]) => record),
      date: this.#date,
      bad: [...this.#bad]
        .map(([reason, { count, first }]) => ({ reason, count, first }))
        .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
    };
  }
}

/** Everything that a feed says. @throws what its files throw; FarmError DOCUMENT_INVALID for what is no such feed */
export async function readFeed(
  kind: FeedKind,
  files: FeedFiles,
  budget = new Budget(kind.name),
): Promise<FeedContent> {
  const found = new Found(budget);
  await kind.read(files, found);
  return found.content();
}

/** The day of a time, in UTC if it names its zone; undefined for what is none. */
export function dayOf(text: string | undefined): Day | undefined {
  const day = /^\d{4}-\d\d-\d\d/.exec(text ?? "")?.[0];
  if (text === undefined || day === undefined) return undefined;
  const hasZone = /[T ][\d:.]{5,20}(?:[zZ]|[+-]\d\d:?\d\d)$/.test(text);
  const time = new Date(hasZone ? text : `${day}T00:00:00Z`);
  if (Number.isNaN(time.getTime())) return undefined;
  const found = time.toISOString().slice(0, 10);
  // 31 February is no day, though Date takes it for one of March.
  return hasZone || found === day ? found : undefined;
}
