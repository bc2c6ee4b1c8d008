/**
 * What a server of objects, or the way to it, answers as one of our errors: the thing, the fact, the next step. Nothing
 * of the SDK's own error goes along: it may hold the key's name, the string that was signed, or a token.
 */
import { FarmError, isErrno } from "../../base/error.ts";

/** What is known of an answer; both are undefined where there was none. */
export interface Refusal {
  readonly status: number | undefined;
  /** S3's own word, or the system's. */
  readonly code: string;
  /** How often it was asked. */
  readonly attempts: number;
  readonly request: string | undefined;
}

/** A server that does not come to an end; `fact` follows "the server". */
export class Endless extends Error {
  readonly fact: string;

  constructor(fact: string) {
    super(fact);
    this.name = "Endless";
    // The SDK adds words of its own to messages.
    this.fact = fact;
  }
}

interface SdkError extends Error {
  readonly code?: string;
  readonly Code?: string;
  readonly $metadata?: { httpStatusCode?: number; attempts?: number; requestId?: string };
}

export function refusalOf(thrown: unknown): Refusal {
  const { name, code, Code, $metadata = {} } = (thrown instanceof Error ? thrown : new Error()) as SdkError;
  const word =
    [Code, name === "Error" ? undefined : name, code].find((one) => one !== undefined) ?? "no answer";
  return {
    status: $metadata.httpStatusCode,
    // A server's word is a stranger's.
    code: /^[\w.-]{1,64}$/.test(word) ? word : "no answer",
    attempts: $metadata.attempts ?? 1,
    request: $metadata.requestId,
  };
}

/** Nobody answered, or somebody said that it is not the time: whether something happened is not known. */
export function isUncertain(thrown: unknown): boolean {
  const { status } = refusalOf(thrown);
  return !(thrown instanceof FarmError) && (status === undefined || status >= 500) && status !== 501;
}

const RIGHTS =
  "Allow this role s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on the prefix.";
const KEYS =
  "Check the credentials of this environment: AWS_ACCESS_KEY_ID and its secret, AWS_PROFILE, or the role.";
const REGION = "Name the bucket's own `region` under `store`, or in AWS_REGION.";
const NEW_CREDENTIALS =
  "Get new credentials and run the same command again: nothing that was published is lost.";

const STEPS: Readonly<Record<string, readonly [fact: string, hint: string]>> = {
  AccessDenied: ["the server refuses it", RIGHTS],
  InvalidAccessKeyId: ["the server does not know the access key", KEYS],
  SignatureDoesNotMatch: ["the server does not accept the signature", KEYS],
  ExpiredToken: ["the credentials have expired", NEW_CREDENTIALS],
  InvalidToken: ["the server does not accept the session's token", NEW_CREDENTIALS],
  RequestTimeTooSkewed: [
    "this machine's clock differs from the server's",
    "Set the clock (NTP) and run again.",
  ],
  NoSuchBucket: [
    "there is no such bucket",
    "Create the bucket, or correct its name, `endpoint` or `region`.",
  ],
  PermanentRedirect: ["the bucket is in another region", REGION],
  AuthorizationHeaderMalformed: ["the bucket is in another region", REGION],
  BadDigest: ["other bytes arrived than were sent", "Run again; if it stays, look at what lies between."],
  XAmzContentSHA256Mismatch: [
    "other bytes arrived than were sent",
    "Run again; if it stays, look at what lies between.",
  ],
};

const FULL = new Set(["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull"]);

/** @param where a place with the path in it */
export function s3Error(thrown: unknown, where: string): unknown {
  if (thrown instanceof FarmError) return thrown;
  if (!(thrown instanceof Error) || thrown.name === "AbortError") return thrown;
  if (thrown instanceof Endless)
    return new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${where}: the server ${thrown.fact}`,
      hint: "Look at the server, and at what lies between; then run again: nothing that was published is lost.",
    });
  const refusal = refusalOf(thrown);
  const { status, code, request } = refusal;
  const answer = [...new Set([String(status ?? ""), code])].join(" ").trim();
  const at = request === undefined ? {} : { at: { request } };
  if (FULL.has(code) || status === 507)
    return new FarmError("DISK_FULL", { detail: `${where} cannot be written (${answer})`, ...at });
  const [fact, hint] = STEPS[code] ?? [];
  if (fact !== undefined && hint !== undefined)
    return new FarmError("STORE_UNUSABLE", { detail: `${where}: ${fact} (${answer})`, hint, ...at });
  if (code === "CredentialsProviderError" || code === "TokenProviderError")
    return new FarmError("STORE_UNUSABLE", {
      detail: `${where}: no credentials were found in this environment`,
      hint: KEYS,
    });
  if (status === undefined) return silence(thrown, where, code);
  const times = refusal.attempts > 1 ? `, ${refusal.attempts} times` : "";
  if (status >= 500 || status === 429)
    return new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${where}: the server answers ${answer}${times}`,
      hint: "Try again later: nothing that was published is lost.",
      ...at,
    });
  const step =
    status === 401 || status === 403 ? RIGHTS : status === 301 || status === 307 ? REGION : undefined;
  return new FarmError("STORE_UNUSABLE", {
    detail: `${where}: the server answers ${answer}`,
    hint: step ?? "Check `url`, `endpoint` and `region` of the store.",
    ...at,
  });
}

/** Of the way, or of this machine: the SDK says such things before it asks anybody. */
function silence(thrown: Error, where: string, code: string): unknown {
  const isOfTheWay = isErrno(thrown) || ["TimeoutError", "aborted"].includes(code) || "$response" in thrown;
  if (isOfTheWay)
    return new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${where}: the server does not answer (${code})`,
      hint: "Check `endpoint` of the store and the network; then run again: nothing that was published is lost.",
    });
  if (thrown instanceof TypeError || thrown instanceof RangeError) return thrown;
  // The SDK has no code for what it misses.
  return new FarmError("STORE_UNUSABLE", {
    detail: `${where}: it cannot be asked (${code})`,
    hint: `${REGION} ${KEYS}`,
  });
}
