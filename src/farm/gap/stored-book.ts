/**
 * What the feeds of a generation say, read again from what it keeps of them: all of it, or what there is to know for one
 * CVE.
 */
import { FarmError } from "../../base/error.ts";
import { type Book, bookOf } from "../../gap/book.ts";
import type { SourceChangelog } from "../../gap/evidence/changelog.ts";
import { type FeedRecord, readRecord } from "../../gap/records.ts";
import { readBlob } from "../../registry/blobs.ts";
import type { FeedNote } from "../../registry/documents.ts";
import { unpacked } from "../../registry/packed.ts";
import { corruptStore } from "../../registry/stored.ts";
import type { Store } from "../../registry/stores/store.ts";
import { BY_CVE, indexAmong, readIndexed } from "./cve-index.ts";

/** The kind of what is made from changelogs of kernels. */
export const CHANGELOG = "changelog";

/**
 * What the published feeds say, put together. With a CVE, what they say of that one, which is read from the index if there
 * is one; else it is all that they say. @throws FarmError STORE_CORRUPT
 */
export async function readBook(store: Store, feeds: readonly FeedNote[], about?: string): Promise<Book> {
  const index = about === undefined ? undefined : indexAmong(feeds);
  if (about !== undefined && index !== undefined) {
    const found = await readIndexed(store, index, about).catch(unlessCorrupt);
    if (found !== undefined) return found;
  }
  const read = feeds
    .filter(({ kind }) => kind !== CHANGELOG && kind !== BY_CVE)
    .map(async (note) => {
      const { kind, date } = note;
      return { kind, content: { records: await recordsOf(store, note), date } };
    });
  return bookOf(await Promise.all(read), await keptChangelogs(store, feeds));
}

/** What is made of the feeds is not missed as long as they are there. */
function unlessCorrupt(thrown: unknown): undefined {
  if (!(thrown instanceof FarmError) || thrown.code !== "STORE_CORRUPT") throw thrown;
  return undefined;
}

/** The changelogs among the published feeds. @throws FarmError STORE_CORRUPT */
export function keptChangelogs(store: Store, feeds: readonly FeedNote[]): Promise<SourceChangelog[]> {
  return Promise.all(
    feeds
      .filter(({ kind }) => kind === CHANGELOG)
      .map(async (note) => JSON.parse(await textOf(store, note)) as SourceChangelog),
  );
}

/** The records of a feed. @throws FarmError STORE_CORRUPT */
export async function recordsOf(store: Store, note: FeedNote): Promise<FeedRecord[]> {
  return linesOf(await textOf(store, note)).map((line) => storedRecord(line, store, note));
}

function storedRecord(line: string, store: Store, { name }: FeedNote): FeedRecord {
  const read = readRecord(JSON.parse(line));
  if (read.kind === "record") return read.record;
  throw corruptStore(store, `the feed ${name} has a record that cannot be read: ${read.reason}`);
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

async function textOf(store: Store, { name, content: { digest } }: FeedNote): Promise<string> {
  return (await unpacked(store, digest, await readBlob(store, digest), `the feed ${name}`)).toString("utf8");
}
