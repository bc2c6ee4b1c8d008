/**
 * What can go wrong with a server, in words of our own, and whether asking again can help.
 */
import { FarmError } from "./error.ts";

const RETRIED_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);
const LONGEST_WAIT_MS = 60_000;

/** What a server did, in a sentence that begins with its address. */
class ServerFault extends Error {
  readonly url: string;
  readonly fact: string;
  constructor(url: string, fact: string) {
    super(`${url} ${fact}`);
    this.url = url;
    this.fact = fact;
  }
}

export class StatusError extends ServerFault {
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(url: string, status: number, retryAfter: number | undefined) {
    super(url, `answers with status ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfter;
  }
}

export class CutOff extends ServerFault {
  constructor(url: string, got: number, wanted: number) {
    super(url, `ended after ${got} of ${wanted} bytes`);
  }
}

/** A server that trickles would hold us for ever; it will not be faster when asked again. */
export class TooSlow extends ServerFault {
  constructor(url: string, got: number, ms: number) {
    super(url, `comes too slowly: ${got} bytes in ${seconds(ms)} s`);
  }
}

/** A server that is not configured leads to an address of this machine, of its network, or of no one. */
export class NotPublic extends Error {
  constructor(host: string) {
    super(`leads to ${host}, which has no public address and is not configured`);
  }
}

/** All tries together took longer than any good server needs. */
export class TooLong extends ServerFault {
  constructor(url: string, ms: number) {
    super(url, `did not come whole within ${seconds(ms)} s`);
  }
}

/** Times that the sentences below name. */
export interface Patience {
  readonly connectMs: number;
  readonly silenceMs: number;
}

/** How long to wait before the next try, or undefined when another try cannot help. */
export function waitBeforeRetry(thrown: unknown, backOffMs: number): number | undefined {
  if (thrown instanceof StatusError) {
    if (!RETRIED_STATUS.has(thrown.status)) return undefined;
    return Math.min(thrown.retryAfterMs ?? backOffMs, LONGEST_WAIT_MS);
  }
  // A mirror caught in the middle of an update heals by itself; any other of our errors is final.
  if (thrown instanceof FarmError) return thrown.code === "DIGEST_MISMATCH" ? backOffMs : undefined;
  return thrown instanceof CutOff || isNetworkError(thrown) ? backOffMs : undefined;
}

/** The catalogue's error for what a server did; whatever is none of its doing stays as it is. */
export function toRemoteError(url: string, thrown: unknown, patience: Patience): unknown {
  if (thrown instanceof FarmError) return thrown;
  if (thrown instanceof CutOff)
    return new FarmError("DIGEST_MISMATCH", { ...sentence(thrown), at: { url }, cause: thrown });
  if (thrown instanceof NotPublic)
    return new FarmError("REMOTE_UNAVAILABLE", {
      about: url,
      joint: " ",
      detail: thrown.message,
      at: { url },
      hint: NAME_IT,
      cause: thrown,
    });
  if (thrown instanceof StatusError || thrown instanceof TooSlow || thrown instanceof TooLong)
    return new FarmError("REMOTE_UNAVAILABLE", {
      ...sentence(thrown),
      at: { url },
      cause: thrown,
      ...(isRefusal(thrown) ? { hint: WANTS_CREDENTIALS } : {}),
    });
  if (!isNetworkError(thrown)) return thrown;
  return new FarmError("REMOTE_UNAVAILABLE", {
    about: url,
    detail: sentenceOf(thrown, patience),
    at: { url },
    cause: thrown,
  });
}

function sentence({ url, fact }: ServerFault) {
  return { about: url, joint: " ", detail: fact } as const;
}

const NAME_IT =
  "If that host is meant to be asked, name it in `privateHosts` of the configuration (`try` reads that only of one that --config names), or, for `work` and `rebuild --registry`, with --private-host; else distrust who names it.";
const WANTS_CREDENTIALS = "The server requires credentials: see `credentials` of sources in docs/config.md.";

function isRefusal(thrown: unknown): boolean {
  return thrown instanceof StatusError && (thrown.status === 401 || thrown.status === 403);
}

function sentenceOf(thrown: Error, { connectMs, silenceMs }: Patience): string {
  const code = codeOf(thrown);
  switch (code) {
    case "UND_ERR_CONNECT_TIMEOUT":
      return `the server could not be reached within ${seconds(connectMs)} s`;
    case "UND_ERR_HEADERS_TIMEOUT":
      return `the server did not answer within ${seconds(silenceMs)} s`;
    case "UND_ERR_BODY_TIMEOUT":
      return `the server sent nothing more for ${seconds(silenceMs)} s`;
    case "UND_ERR_SOCKET":
    case "ECONNRESET":
    case "EPIPE":
      return "the server closed the connection before its answer was complete";
    case "ECONNREFUSED":
      return "nothing listens there (connection refused)";
    case "ENOTFOUND":
      return "the server's name is unknown";
    case "EAI_AGAIN":
      return "the server's name cannot be looked up now";
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return `the server cannot be reached (${code})`;
    default:
      return thrown.name === "HTTPParserError"
        ? "the server's answer is not HTTP"
        : `the connection failed (${[code, thrown.message].filter((word) => word !== "").join(": ")})`;
  }
}

/** `localhost` has several addresses; where none of them answers, the first says why. */
function codeOf(thrown: Error): string {
  const first = thrown instanceof AggregateError && !("code" in thrown) ? thrown.errors[0] : thrown;
  return first instanceof Error && "code" in first ? String(first.code) : "";
}

function isNetworkError(thrown: unknown): thrown is Error {
  if (!(thrown instanceof Error)) return false;
  const code = codeOf(thrown);
  return (
    thrown instanceof AggregateError ||
    thrown.name === "HTTPParserError" ||
    /^(UND_ERR_|ECONN|EHOST|ENET|EADDR|EPIPE|EAI_|ETIMEDOUT|ENOTFOUND|CERT_|ERR_TLS_|ERR_SSL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(
      code,
    )
  );
}

export function retryAfterMs(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}
