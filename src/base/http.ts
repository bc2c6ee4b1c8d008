/**
 * Fetching from servers that may be slow, down, half updated or hostile: retries with back-off, conditional
 * requests, sizes and digests checked while the bytes go by.
 */
import { createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Dispatcher } from "undici";
import type { Connections } from "./connections.ts";
import { Deadline } from "./deadline.ts";
import { FarmError } from "./error.ts";
import { requireSpeed } from "./least-speed.ts";
import {
  CutOff,
  type Patience,
  retryAfterMs,
  StatusError,
  TooLong,
  TooSlow,
  toRemoteError,
  waitBeforeRetry,
} from "./network-faults.ts";
import { OwnServers } from "./own-servers.ts";
import { throwIfAborted } from "./run.ts";
import type { Scratch } from "./scratch.ts";
import { type Credentials, credentialsFor } from "./secret.ts";
import { consumeMetered } from "./verified.ts";

/** What a server told us to ask with next time. */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

export type Answer =
  | { readonly kind: "ok"; readonly body: Readable; readonly validators: Validators }
  | { readonly kind: "notModified" }
  /** The server answered that there is no such thing (404 or 410). Failing to ask is an error instead. */
  | { readonly kind: "missing"; readonly status: number };

/** Bytes as an index promised them. */
export interface Expected {
  readonly sha256: string;
  /** Unknown where a person wrote the digest down. */
  readonly size?: number;
  /** Whether no password is sent for it, because somebody named it who has no right to one: a list of kernels, say. */
  readonly isAnonymous?: boolean;
}

/** No file that we fetch is larger; what has no promised size ends there. */
const UNKNOWN_SIZE_LIMIT_BYTES = 4 * 1024 ** 3;

export interface HttpOptions {
  /** Tries after the first one. */
  readonly retries?: number;
  readonly firstDelayMs?: number;
  /** Longest silence of a server before it counts as gone. */
  readonly silenceMs?: number;
  /** Longest time for an answer, for a whole small document, and for the least that must come of anything else. */
  readonly slowMs?: number;
  /** Longest time for anything at all, every try of it included. */
  readonly longestMs?: number;
  /**
   * URLs and hosts that a person named: only they may lie elsewhere than on the public internet. Default: the
   * servers that are asked for, but none that those lead to.
   */
  readonly own?: Iterable<string>;
  /** Sent to the servers they are for; a redirect to another one does not take them along. */
  readonly credentials?: readonly Credentials[];
}

/** Servers refuse requests with headers of some kilobytes; a real tag is a digest, or a size and a time. */
const LONGEST_ETAG = 512;
const DAY_MS = 86_400_000;

/**
 * What can do no harm the next time: whoever once stood between us and a server could have it answer 'not modified' for ever, or
 * refuse whatever we ask.
 */
function believable({ etag, lastModified }: Validators): Validators {
  const isTag = etag !== undefined && /^[\x21-\x7e ]+$/.test(etag) && etag.length <= LONGEST_ETAG;
  const isPast = lastModified !== undefined && Date.parse(lastModified) <= Date.now() + DAY_MS;
  return { ...(isTag ? { etag } : {}), ...(isPast ? { lastModified } : {}) };
}

/** Counts of what went over the wire, for reports and for the promise that a quiet night stays quiet. */
export interface Traffic {
  requests: number;
  notModified: number;
  bytes: number;
}

const MOST_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** With them, what was sent to one place is sent to the next. */
const KEEPING_REDIRECTS = new Set([307, 308]);
const NO_REDIRECTS: ReadonlySet<number> = new Set();
const CONNECT_MS = 10_000;

interface Following {
  readonly posted?: Buffer;
  readonly isAnonymous?: boolean;
  /** Default: where the server sends us. */
  readonly goesOn?: boolean;
}

export class Http {
  readonly traffic: Traffic = { requests: 0, notModified: 0, bytes: 0 };
  /** Loaded with the first request: the HTTP client is half of what a start would load. */
  #connections: Promise<Connections> | undefined;
  readonly #own: OwnServers;
  readonly #isAskerTrusted: boolean;
  readonly #retries: number;
  readonly #firstDelayMs: number;
  readonly #credentials: readonly Credentials[];
  readonly #patience: Patience;
  readonly #slowMs: number;
  readonly #longestMs: number;

  constructor(options: HttpOptions = {}) {
    const silenceMs = options.silenceMs ?? 30_000;
    this.#patience = { connectMs: CONNECT_MS, silenceMs };
    this.#slowMs = options.slowMs ?? 60_000;
    this.#longestMs = options.longestMs ?? 3_600_000;
    this.#isAskerTrusted = options.own === undefined;
    this.#own = new OwnServers(options.own);
    this.#retries = options.retries ?? 3;
    this.#firstDelayMs = options.firstDelayMs ?? 500;
    this.#credentials = options.credentials ?? [];
  }

  async close(): Promise<void> {
    await (await this.#connections)?.close();
  }

  async #connect(): Promise<Connections> {
    const { openConnections } = await import("./connections.ts");
    return openConnections(this.#own, { ...this.#patience, answerMs: this.#slowMs });
  }

  /** The catalogue's error for what went wrong while a body of `get` was read. */
  toError(url: string, thrown: unknown): unknown {
    return toRemoteError(url, thrown, this.#patience);
  }

  /**
   * Asks for a URL once its server answers with something final; the caller must read `body` to its end.
   * @throws FarmError REMOTE_UNAVAILABLE, INTERRUPTED
   */
  async get(url: string, validators: Validators = {}, signal?: AbortSignal): Promise<Answer> {
    return this.#retrying(url, signal, (until) => this.#ask(url, validators, until), true);
  }

  /**
   * Sends a document, until a server takes it. A redirect that does not keep what is sent is an answer like any other.
   * @throws FarmError REMOTE_UNAVAILABLE, INTERRUPTED
   */
  async post(
    url: string,
    posted: Buffer,
    headers: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#retrying(url, signal, async (until) => {
      const sent = { "user-agent": "kmodfarm", ...headers };
      const { statusCode, headers: answered, body } = await this.#follow(url, sent, until, { posted });
      // Its status is all that a server has to say, and words may never end.
      body.on("error", () => {}).destroy();
      if (statusCode < 200 || statusCode > 299)
        throw new StatusError(url, statusCode, retryAfterMs(one(answered["retry-after"])));
    });
  }

  /**
   * Asks a server, with a document or without, for a short answer, whatever its status. Goes nowhere else: what is sent may be
   * a secret. @throws FarmError REMOTE_UNAVAILABLE, INTERRUPTED
   */
  async exchange(
    url: string,
    { posted, headers }: { readonly posted?: Buffer; readonly headers: Readonly<Record<string, string>> },
    limitBytes: number,
    signal?: AbortSignal,
  ): Promise<{ readonly status: number; readonly bytes: Buffer }> {
    return this.#retrying(url, signal, async (until) => {
      const sent = { "user-agent": "kmodfarm", "accept-encoding": "identity", ...headers };
      const how = posted === undefined ? { goesOn: false } : { posted, goesOn: false };
      const { statusCode, headers: answered, body } = await this.#follow(url, sent, until, how);
      if (statusCode >= 500 || statusCode === 408 || statusCode === 429) {
        body.on("error", () => {}).destroy();
        throw new StatusError(url, statusCode, retryAfterMs(one(answered["retry-after"])));
      }
      return { status: statusCode, bytes: await readAll(body, url, limitBytes, this.#slowMs) };
    });
  }

  /** Fetches a whole small document, at most `limitBytes` long. */
  async fetchDocument(
    url: string,
    limitBytes: number,
    validators: Validators = {},
    signal?: AbortSignal,
  ): Promise<Exclude<Answer, { kind: "ok" }> | { kind: "ok"; bytes: Buffer; validators: Validators }> {
    return this.#retrying(url, signal, async (until) => {
      const answer = await this.#ask(url, validators, until);
      if (answer.kind !== "ok") return answer;
      return {
        kind: "ok",
        bytes: await readAll(answer.body, url, limitBytes, this.#slowMs),
        validators: answer.validators,
      };
    });
  }

  /**
   * Fetches a file to `target`, which appears only when every byte was right.
   * @throws FarmError NOT_FETCHABLE on 404 and 410, DIGEST_MISMATCH, REMOTE_UNAVAILABLE
   */
  async download(
    url: string,
    expected: Expected,
    target: string,
    scratch: Scratch,
    signal?: AbortSignal,
  ): Promise<void> {
    await this.#retrying(url, signal, async (until) => {
      const temporary = scratch.path();
      try {
        const save = (body: Readable) => pipeline(body, createWriteStream(temporary, { flags: "wx" }));
        await this.#verified(url, expected, save, until);
        await mkdir(dirname(target), { recursive: true });
        await rename(temporary, target);
      } finally {
        await rm(temporary, { force: true });
      }
    });
  }

  /**
   * Lets `consume` read a file as it comes, then reads on to the end: only after that is it known whether
   * the bytes were right. `consume` may stop early, and runs anew at a retry.
   * @throws as `download`
   */
  async streamVerified<T>(
    url: string,
    expected: Expected,
    consume: (body: Readable) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#retrying(url, signal, (until) => this.#verified(url, expected, consume, until));
  }

  async #verified<T>(
    url: string,
    expected: Expected,
    consume: (body: Readable) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const answer = await this.#ask(url, {}, signal, expected.isAnonymous);
    if (answer.kind !== "ok") {
      throw new FarmError("NOT_FETCHABLE", {
        detail: `${url} is listed in the mirror's index, but the mirror does not have it`,
        at: { url },
      });
    }
    const limit = expected.size ?? UNKNOWN_SIZE_LIMIT_BYTES;
    const tooLong = () => mismatch(url, `longer than the ${limit} bytes of the index`);
    return consumeMetered(answer.body, consume, limit, tooLong, ({ size, sha256 }) => {
      if (expected.size !== undefined && size !== expected.size) throw new CutOff(url, size, expected.size);
      // What came instead is not described: its digest would tell what a server in our network answers.
      if (sha256 !== expected.sha256)
        throw mismatch(url, `its sha256 is not ${expected.sha256}, as the index says`);
    });
  }

  async #ask(url: string, validators: Validators, signal: AbortSignal, isAnonymous = false): Promise<Answer> {
    const headers: Record<string, string> = { "user-agent": "kmodfarm" };
    if (validators.etag !== undefined) headers["if-none-match"] = validators.etag;
    if (validators.lastModified !== undefined) headers["if-modified-since"] = validators.lastModified;
    const {
      statusCode,
      headers: answered,
      body,
    } = await this.#follow(url, headers, signal, {
      isAnonymous,
    });
    if (statusCode === 200) {
      const tooSlow = (bytes: number, waitedMs: number) => new TooSlow(url, bytes, waitedMs);
      requireSpeed(body, this.#slowMs, tooSlow, (bytes) => {
        this.traffic.bytes += bytes;
      });
      return {
        kind: "ok",
        body,
        validators: believable({ etag: one(answered.etag), lastModified: one(answered["last-modified"]) }),
      };
    }
    await body.dump();
    if (statusCode === 304) {
      if (validators.etag === undefined && validators.lastModified === undefined)
        throw new FarmError("REMOTE_UNAVAILABLE", {
          about: url,
          joint: " ",
          detail: "answers 'not modified' to a plain request",
          at: { url },
        });
      this.traffic.notModified++;
      return { kind: "notModified" };
    }
    if (statusCode === 404 || statusCode === 410) return { kind: "missing", status: statusCode };
    throw new StatusError(url, statusCode, retryAfterMs(one(answered["retry-after"])));
  }

  /** Goes where the server sends us, never in circles, and without a name as soon as that is another server. */
  async #follow(
    url: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
    { posted, isAnonymous = false, goesOn = true }: Following = {},
  ): Promise<Dispatcher.ResponseData> {
    const followed = !goesOn ? NO_REDIRECTS : posted === undefined ? REDIRECTS : KEEPING_REDIRECTS;
    if (this.#isAskerTrusted) this.#own.add(url);
    const visited: string[] = [];
    for (let place = url; ; ) {
      visited.push(place);
      const isElsewhere = visited.some((one) => URL.parse(one)?.origin !== URL.parse(url)?.origin);
      const credentials = isAnonymous || isElsewhere ? undefined : credentialsFor(place, this.#credentials);
      this.traffic.requests++;
      this.#connections ??= this.#connect();
      const connections = await this.#connections;
      const sent =
        credentials === undefined
          ? headers
          : { ...headers, authorization: credentials.authorization.reveal() };
      const answer = await connections.ask(place, sent, signal, posted);
      const location = one(answer.headers.location);
      if (!followed.has(answer.statusCode) || location === undefined) return answer;
      await answer.body.dump();
      place = nextPlace(location, visited);
    }
  }

  /** `isOpen`: what comes of it is read later, and within the same time. */
  async #retrying<T>(
    url: string,
    signal: AbortSignal | undefined,
    attempt: (until: AbortSignal) => Promise<T>,
    isOpen = false,
  ): Promise<T> {
    const tooLong = new TooLong(url, this.#longestMs);
    const deadline = new Deadline(this.#longestMs, tooLong, signal);
    try {
      for (let tried = 0; ; tried++) {
        throwIfAborted(signal);
        try {
          return await attempt(deadline.signal);
        } catch (thrown) {
          throwIfAborted(signal);
          if (deadline.isOver) throw this.toError(url, tooLong);
          const wait =
            tried < this.#retries ? waitBeforeRetry(thrown, this.#firstDelayMs * 2 ** tried) : undefined;
          if (wait === undefined) throw this.toError(url, thrown);
          await sleep(wait, undefined, { signal: deadline.signal }).catch(() => {}); // A stop is seen at the next try.
        }
      }
    } finally {
      if (!isOpen) deadline.end();
    }
  }
}

function mismatch(url: string, fact: string): FarmError {
  return new FarmError("DIGEST_MISMATCH", { about: url, detail: fact, at: { url } });
}

/** @throws FarmError REMOTE_UNAVAILABLE for what we do not follow */
function nextPlace(location: string, visited: readonly string[]): string {
  const [first = ""] = visited;
  const next = URL.parse(location, visited.at(-1));
  const refused = (fact: string) =>
    new FarmError("REMOTE_UNAVAILABLE", { about: first, joint: " ", detail: fact, at: { url: first } });
  if (next === null) throw refused("redirects to something that is not an address");
  if (next.protocol !== "http:" && next.protocol !== "https:")
    throw refused(`redirects to a ${next.protocol} address, which is refused`);
  if (visited.includes(next.href)) throw refused(`redirects in a circle: ${next.href} comes again`);
  if (visited.length > MOST_REDIRECTS) throw refused(`redirects more than ${MOST_REDIRECTS} times`);
  return next.href;
}

async function readAll(body: Readable, url: string, limitBytes: number, limitMs: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => body.destroy(new TooSlow(url, size, limitMs)), limitMs);
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limitBytes)
        throw new FarmError("REMOTE_UNAVAILABLE", {
          about: url,
          joint: " ",
          detail: `is longer than ${limitBytes} bytes`,
          at: { url },
        });
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks);
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
