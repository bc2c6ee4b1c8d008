/**
 * Messages to servers that people name, signed as Standard Webhooks has it: whoever has the secret knows that a message is
 * ours and of now, and one that comes twice by its id.
 */
import { createHmac } from "node:crypto";
import { FarmError } from "../../base/error.ts";
import { Http } from "../../base/http.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { Secret } from "../../base/secret.ts";
import type { WebhookConfig } from "../config/notices.ts";

/** For one message, all tries and redirects included. */
const LONGEST_MS = 90_000;
const TRIES = { retries: 3, firstDelayMs: 1000, silenceMs: 10_000, slowMs: 10_000 } as const;
const LEAST_SECRET_BYTES = 24;

export interface Sending {
  readonly id: string;
  readonly body: string;
}

/** `tries` are for tests. @throws FarmError REMOTE_UNAVAILABLE, FILE_UNREADABLE, CONFIG_INVALID, INTERRUPTED */
export async function sendTo(
  { url, secretFile }: WebhookConfig,
  { id, body }: Sending,
  { privateHosts, now, signal, tries = {} }: WebhookContext,
): Promise<void> {
  const secret = await readSecret(secretFile);
  // What the person named may be anywhere; where it redirects to must be public, or named too.
  const http = new Http({ ...TRIES, longestMs: LONGEST_MS, ...tries, own: [url, ...privateHosts] });
  try {
    const timestamp = String(Math.floor(now().getTime() / 1000));
    await http.post(
      url,
      Buffer.from(body),
      {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": `v1,${signatureOf(`${id}.${timestamp}.${body}`, secret)}`,
      },
      signal,
    );
  } finally {
    await http.close();
  }
}

export interface WebhookContext {
  readonly privateHosts: readonly string[];
  readonly now: () => Date;
  readonly signal: AbortSignal;
  readonly tries?: Partial<Record<"retries" | "firstDelayMs" | "silenceMs" | "slowMs" | "longestMs", number>>;
}

function signatureOf(text: string, secret: Secret): string {
  const key = secret.reveal();
  const bytes = key.startsWith(ENCODED) ? Buffer.from(key.slice(ENCODED.length), "base64") : Buffer.from(key);
  return createHmac("sha256", bytes).update(text).digest("base64");
}

const SECRET_LIMIT_BYTES = 64 * 1024;
const ENCODED = "whsec_";

async function readSecret(file: string): Promise<Secret> {
  const text = await readAtMost(file, SECRET_LIMIT_BYTES).catch((cause: NodeJS.ErrnoException) => {
    throw new FarmError("FILE_UNREADABLE", {
      detail: `the secret ${file} of a webhook cannot be read (${cause.code})`,
      cause,
    });
  });
  const secret = String(text).trim();
  const size = secret.startsWith(ENCODED)
    ? Buffer.from(secret.slice(ENCODED.length), "base64").length
    : Buffer.byteLength(secret);
  if (size < LEAST_SECRET_BYTES)
    throw new FarmError("CONFIG_INVALID", {
      detail: `the secret ${file} of a webhook has ${size} bytes`,
      hint: `Write ${LEAST_SECRET_BYTES} or more into it: head -c 32 /dev/urandom | base64.`,
    });
  return new Secret(secret);
}
