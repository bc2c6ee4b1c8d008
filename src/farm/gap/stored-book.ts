/**
 * What the feeds of a generation say, read again from what it keeps of them: all of it, or what there is to know for one
 * CVE. Of the others, that takes no more than their ids, releases and, where a title is the same, titles.
 */
import { type Book, bookOf, type Outline } from "../../gap/book.ts";
import { type SourceChangelog, subjectOf } from "../../gap/evidence/changelog.ts";
import { type FeedRecord, type Pair, readRecord } from "../../gap/records.ts";
import { readBlob } from "../../registry/blobs.ts";
import type { FeedNote } from "../../registry/documents.ts";
import { unpacked } from "../../registry/packed.ts";
import { corruptStore } from "../../registry/stored.ts";
import type { Store } from "../../registry/stores/store.ts";

/** The kind of what is made from changelogs of kernels. */
export const CHANGELOG = "changelog";

/** What the published feeds say, put together; with a CVE, what they say of it alone. @throws FarmError STORE_CORRUPT */
export async function readBook(store: Store, feeds: readonly FeedNote[], about?: string): Promise<Book> {
  const others = feeds.filter(({ kind }) => kind !== CHANGELOG);
  const hasChangelogs = others.length < feeds.length;
  const read = others.map(async (note) => {
    const { kind, date } = note;
    const lines = linesOf(await textOf(store, note));
    const recordOf = (line: string) => storedRecord(line, store, note);
    if (about === undefined) return { kind, content: { records: lines.map(recordOf), date } };
    const records = lines.filter((line) => isAbout(line, about)).map(recordOf);
    // A feed without a day of its own has that of the newest release that it names.
    const isNeeded = hasChangelogs || date === undefined;
    const outline = isNeeded ? outlineOf(lines, records, recordOf) : { ...NO_OUTLINE, ids: idsOf(lines) };
    return { kind, content: { records, date, outline } };
  });
  return bookOf(await Promise.all(read), await keptChangelogs(store, feeds));
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

/** Records that are about CVEs, as we write them. */
const OF_CVES = /^\{"type":"(?:cve|advisory|exploited|likelihood|exploit)",/;

/** Whether a line is about a CVE, or about none. */
function isAbout(line: string, cve: string): boolean {
  return line.includes(`"${cve}"`) || !OF_CVES.test(line);
}

const ID = /^\{"type":"cve","id":"(CVE-\d{4}-\d{4,12})",/;
const PAIR = /\["([\d.]{1,24})","[^"]{0,40}","([\d.]{1,24})","/g;

const NO_OUTLINE = { pairs: [], same: [] };

function idsOf(lines: readonly string[]): Set<string> {
  return new Set(lines.flatMap((line) => ID.exec(line)?.[1] ?? []));
}

/** What of all CVEs of a feed counts for one of them: `records` are what it says of that one. */
function outlineOf(
  lines: readonly string[],
  records: readonly FeedRecord[],
  recordOf: (line: string) => FeedRecord,
): Outline {
  const [ids, pairs] = [new Set<string>(), new Map<string, Pair>()];
  const own = records.find((record) => record.type === "cve");
  const subject = own === undefined ? "" : subjectOf(own.title);
  const same: FeedRecord[] = [];
  for (const line of lines) {
    const id = ID.exec(line)?.[1];
    if (id === undefined) continue;
    ids.add(id);
    for (const [, introduced = "", fixed = ""] of line.matchAll(PAIR))
      pairs.set(`${introduced} ${fixed}`, [introduced, "", fixed, ""]);
    if (subject === "" || id === own?.id || !line.toLowerCase().includes(escaped(subject))) continue;
    same.push(recordOf(line));
  }
  return {
    ...{ ids, pairs: [...pairs.values()] },
    same: same.flatMap((record) => (record.type === "cve" ? [record] : [])),
  };
}

/** As it stands between the quotes of JSON. */
function escaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

async function textOf(store: Store, { name, content: { digest } }: FeedNote): Promise<string> {
  return (await unpacked(store, digest, await readBlob(store, digest), `the feed ${name}`)).toString("utf8");
}
