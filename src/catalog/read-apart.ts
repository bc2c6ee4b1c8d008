/**
 * Reading indices and lists in processes of their own: each within its time and memory, so that what a stranger wrote costs
 * no more than its own source, whatever a reader has overlooked.
 */

import { rm } from "node:fs/promises";
import { FarmError, toFarmError } from "../base/error.ts";
import { Helpers } from "../base/helpers.ts";
import { ownScript } from "../base/own-files.ts";
import type { IndexContent, IndexFile } from "./index-file.ts";
import type { SourceContext } from "./source.ts";

/** The largest real index takes a few seconds, and a tenth of that memory. */
const BOUNDS = { minutes: 2, memoryMiB: 1024 } as const;

/** What is read is in memory for a while: a mirror may have many of the largest. */
const HELPERS = new Helpers({
  script: ownScript("catalog/index-helper"),
  most: 2,
  memoryMiB: BOUNDS.memoryMiB,
});

/** @throws FarmError REMOTE_UNAVAILABLE for what takes too long or too much, and what `readIndexFile` throws */
export async function readApart<Kind extends keyof IndexContent>(
  what: string,
  index: Extract<IndexFile, { kind: Kind }>,
  signal: AbortSignal | undefined,
): Promise<IndexContent[Kind]> {
  try {
    return await HELPERS.ask<IndexContent[Kind]>(index, { timeoutMs: BOUNDS.minutes * 60_000, signal });
  } catch (thrown) {
    const error = toFarmError(thrown);
    const bound =
      error.code === "TIMED_OUT"
        ? `${BOUNDS.minutes} minutes`
        : error.code === "OUT_OF_MEMORY"
          ? `${BOUNDS.memoryMiB} MiB of memory`
          : undefined;
    if (bound === undefined) throw thrown;
    throw new FarmError("REMOTE_UNAVAILABLE", {
      about: what,
      joint: " ",
      detail: `takes more than ${bound} to read`,
      hint: "None of it was used. Real ones take a few seconds: do not trust who made it.",
    });
  }
}

/** What an index must be, as the file says that names it. */
export interface IndexFacts {
  readonly sha256: string;
  readonly size: number;
}

/** The largest real ones have a tenth of that, compressed. */
const INDEX_LIMIT_BYTES = 512 << 20;

/**
 * Fetches an index whole, verifies its digest, and only then reads it: before that nobody vouches for a byte of it.
 * @throws FarmError REMOTE_UNAVAILABLE, DIGEST_MISMATCH, NOT_FETCHABLE, and what reading it throws
 */
export async function readVerified<Kind extends keyof IndexContent>(
  url: string,
  expected: IndexFacts,
  { http, scratch, signal }: SourceContext,
  as: (file: string) => Extract<IndexFile, { kind: Kind }>,
): Promise<IndexContent[Kind]> {
  if (expected.size > INDEX_LIMIT_BYTES)
    throw new FarmError("REMOTE_UNAVAILABLE", {
      detail: `${url} would have ${expected.size} bytes; no more than ${INDEX_LIMIT_BYTES} are fetched`,
      at: { url },
    });
  const file = scratch.path();
  try {
    await http.download(url, expected, file, scratch, signal);
    return await readApart(url, as(file), signal);
  } finally {
    await rm(file, { force: true });
  }
}
