/**
 * Fetching from servers that may be slow, down, half updated or hostile: retries with back-off, conditional
 * requests, sizes and digests checked while the bytes go by.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type Dispatcher, EnvHttpProxyAgent, interceptors, request } from "undici";
import { FarmError } from "./error.ts";
import { throwIfAborted } from "./run.ts";
import type { Scratch } from "./scratch.ts";
import { type Credentials, credentialsFor } from "./secret.ts";

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
  readonly size: number;
}

export interface HttpOptions {
  /** Tries after the first one. */
  readonly retries?: number;
  readonly firstDelayMs?: number;
  /** Longest silence of a server before it counts as gone. */
  readonly silenceMs?: number;
  /** Sent to the servers they are for; a redirect to another one does not take them along. */
  readonly credentials?: readonly Credentials[];
}

/** Counts of what went over the wire, for reports and for the promise that a quiet night stays quiet. */
export interface Traffic {
  requests: number;
  notModified: number;
  bytes: number;
}

const RETRIED_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);
const LONGEST_WAIT_MS = 60_000;

export class Http {
  readonly traffic: Traffic = { requests: 0, notModified: 0, bytes: 0 };
  readonly #dispatcher: Dispatcher;
  readonly #retries: number;
  readonly #firstDelayMs: number;
  readonly #credentials: readonly Credentials[];

  constructor(options: HttpOptions = {}) {
    const silence = options.silenceMs ?? 30_000;
    this.#dispatcher = new EnvHttpProxyAgent({
      connections: 8,
      connect: { timeout: 10_000 },
      headersTimeout: silence,
      bodyTimeout: silence,
    }).compose(interceptors.redirect({ maxRedirections: 5 }));
    this.#retries = options.retries ?? 3;
    this.#firstDelayMs = options.firstDelayMs ?? 500;
    this.#credentials = options.credentials ?? [];
  }

  async close(): Promise<void> {
    await this.#dispatcher.close();
  }

  /**
   * Asks for a URL once its server answers with something final; the caller must read `body` to its end.
   * @throws FarmError REMOTE_UNAVAILABLE, INTERRUPTED
   */
  async get(url: string, validators: Validators = {}, signal?: AbortSignal): Promise<Answer> {
    return this.#retrying(url, signal, () => this.#ask(url, validators, signal));
  }

  /** Fetches a whole small document, at most `limitBytes` long. */
  async fetchDocument(
    url: string,
    limitBytes: number,
    validators: Validators = {},
    signal?: AbortSignal,
  ): Promise<Exclude<Answer, { kind: "ok" }> | { kind: "ok"; bytes: Buffer; validators: Validators }> {
    return this.#retrying(url, signal, async () => {
      const answer = await this.#ask(url, validators, signal);
      if (answer.kind !== "ok") return answer;
      return {
        kind: "ok",
        bytes: await readAll(answer.body, url, limitBytes),
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
    await this.#retrying(url, signal, async () => {
      const temporary = scratch.path();
      try {
        const save = (body: Readable) => pipeline(body, createWriteStream(temporary, { flags: "wx" }));
        await this.#verified(url, expected, save, signal);
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
    return this.#retrying(url, signal, () => this.#verified(url, expected, consume, signal));
  }

  async #verified<T>(
    url: string,
    expected: Expected,
    consume: (body: Readable) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const answer = await this.#ask(url, {}, signal);
    if (answer.kind !== "ok") {
      throw new FarmError("NOT_FETCHABLE", {
        detail: `${url} is listed in the mirror's index, but the mirror does not have it`,
        at: { url },
      });
    }
    const hash = createHash("sha256");
    let size = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        size += chunk.length;
        if (size > expected.size)
          return done(mismatch(url, `longer than the ${expected.size} bytes of the index`));
        hash.update(chunk);
        done(null, chunk);
      },
    });
    const moved = pipeline(answer.body, meter);
    const consumed = consume(meter);
    // A consumer that stops early leaves the rest unread; the digest needs every byte.
    const drained = consumed.catch(() => {}).then(() => drain(meter));
    const [outcome, flow] = await Promise.allSettled([consumed, moved, drained]);
    if (flow.status === "rejected") throw flow.reason;
    if (size !== expected.size) throw new CutOff(url, size, expected.size);
    const digest = hash.digest("hex");
    if (digest !== expected.sha256)
      throw mismatch(url, `sha256 is ${digest}, the index says ${expected.sha256}`);
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }

  async #ask(url: string, validators: Validators, signal: AbortSignal | undefined): Promise<Answer> {
    const headers: Record<string, string> = { "user-agent": "kmodfarm" };
    if (validators.etag !== undefined) headers["if-none-match"] = validators.etag;
    if (validators.lastModified !== undefined) headers["if-modified-since"] = validators.lastModified;
    const credentials = credentialsFor(url, this.#credentials);
    if (credentials !== undefined) headers.authorization = credentials.authorization.reveal();
    this.traffic.requests++;
    const {
      statusCode,
      headers: answered,
      body,
    } = await request(url, {
      headers,
      dispatcher: this.#dispatcher,
      ...(signal ? { signal } : {}),
    });
    if (statusCode === 200) {
      body.on("data", (chunk: Buffer) => {
        this.traffic.bytes += chunk.length;
      });
      body.pause();
      return {
        kind: "ok",
        body,
        validators: { etag: one(answered.etag), lastModified: one(answered["last-modified"]) },
      };
    }
    await body.dump();
    if (statusCode === 304) {
      this.traffic.notModified++;
      return { kind: "notModified" };
    }
    if (statusCode === 404 || statusCode === 410) return { kind: "missing", status: statusCode };
    throw new StatusError(url, statusCode, retryAfterMs(one(answered["retry-after"])));
  }

  async #retrying<T>(url: string, signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
    for (let tried = 0; ; tried++) {
      throwIfAborted(signal);
      try {
        return await attempt();
      } catch (thrown) {
        throwIfAborted(signal);
        const wait =
          tried < this.#retries ? waitBeforeRetry(thrown, this.#firstDelayMs * 2 ** tried) : undefined;
        if (wait === undefined) throw toRemoteError(url, thrown);
        await sleep(wait, undefined, signal ? { signal } : {}).catch(() => {});
      }
    }
  }
}

class StatusError extends Error {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(url: string, status: number, retryAfter: number | undefined) {
    super(`${url} answers with status ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfter;
  }
}

class CutOff extends Error {
  constructor(url: string, got: number, wanted: number) {
    super(`${url} ended after ${got} of ${wanted} bytes`);
  }
}

function mismatch(url: string, fact: string): FarmError {
  return new FarmError("DIGEST_MISMATCH", { detail: `${url}: ${fact}`, at: { url } });
}

/** How long to wait before the next try, or undefined when another try cannot help. */
function waitBeforeRetry(thrown: unknown, backOffMs: number): number | undefined {
  if (thrown instanceof StatusError) {
    if (!RETRIED_STATUS.has(thrown.status)) return undefined;
    return Math.min(thrown.retryAfterMs ?? backOffMs, LONGEST_WAIT_MS);
  }
  // A mirror caught in the middle of an update heals by itself; any other of our errors is final.
  if (thrown instanceof FarmError) return thrown.code === "DIGEST_MISMATCH" ? backOffMs : undefined;
  return isNetworkError(thrown) ? backOffMs : undefined;
}

function toRemoteError(url: string, thrown: unknown): unknown {
  if (thrown instanceof FarmError) return thrown;
  if (thrown instanceof CutOff)
    return new FarmError("DIGEST_MISMATCH", { detail: thrown.message, at: { url }, cause: thrown });
  if (thrown instanceof StatusError || isNetworkError(thrown)) {
    const detail = (thrown as Error).message || String((thrown as { code?: unknown }).code);
    return new FarmError("REMOTE_UNAVAILABLE", {
      detail: detail.includes(url) ? detail : `${url}: ${detail}`,
      at: { url },
      cause: thrown,
      ...(isRefusal(thrown) ? { hint: WANTS_CREDENTIALS } : {}),
    });
  }
  return thrown;
}

const WANTS_CREDENTIALS =
  "The server wants other credentials: see `credentials` of sources in docs/config.md.";

function isRefusal(thrown: unknown): boolean {
  return thrown instanceof StatusError && (thrown.status === 401 || thrown.status === 403);
}

function isNetworkError(thrown: unknown): boolean {
  if (thrown instanceof CutOff || thrown instanceof StatusError) return true;
  if (!(thrown instanceof Error)) return false;
  const code = "code" in thrown ? String(thrown.code) : "";
  return (
    code.startsWith("UND_ERR_") ||
    /^(E(CONN|HOST|NET|ADDR|PIPE|AI_|TIMEDOUT|NOTFOUND)|ENOTFOUND)/.test(code) ||
    thrown instanceof AggregateError
  );
}

function retryAfterMs(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

async function readAll(body: Readable, url: string, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limitBytes)
      throw new FarmError("REMOTE_UNAVAILABLE", {
        detail: `${url} is longer than ${limitBytes} bytes`,
        at: { url },
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function drain(stream: Readable): Promise<void> {
  if (stream.destroyed || stream.readableEnded) return;
  for await (const _ of stream);
}

function one(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
