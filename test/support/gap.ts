/** CVEs and releases for tests of the patch gap; where they come from, test/fixtures/gap/how-made.md says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { ReadFeed } from "../../src/gap/book.ts";
import { type Cve, type FeedRecord, readRecord } from "../../src/gap/records.ts";

const FIXTURES = join(import.meta.dirname, "..", "fixtures", "gap");

export function fixture(name: string): Buffer {
  const bytes = readFileSync(join(FIXTURES, name));
  return name.endsWith(".gz") ? gunzipSync(bytes) : bytes;
}

interface Golden {
  readonly counts: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly samples: Readonly<Record<string, Readonly<Record<string, readonly [string, string | null]>>>>;
}

export const GOLDEN = JSON.parse(fixture("verdict_vectors.json").toString()) as Golden;

/** All CVEs of the vectors: with their pairs, without their titles and real commits. */
export function goldenCves(): ReadonlyMap<string, Cve> {
  const cves = records("pairs.ndjson.gz").filter((record) => record.type === "cve");
  return new Map(cves.map((cve) => [cve.id, cve]));
}

/** A file of records. */
export function records(name: string): FeedRecord[] {
  const lines = fixture(name).toString().split("\n");
  return lines
    .filter((line) => line !== "")
    .map((line) => {
      const read = readRecord(JSON.parse(line));
      if (read.kind === "bad") throw new Error(`${name}: ${read.reason}: ${line.slice(0, 100)}`);
      return read.record;
    });
}

/** A feed as the book takes it. */
export function feedOf(kind: string, all: readonly FeedRecord[], date?: string): ReadFeed {
  return { kind, content: { records: all, date } };
}

/** A CVE with nothing but pairs. */
export function makeCve(id: string, pairs: Cve["pairs"], more: Partial<Cve> = {}): Cve {
  return { type: "cve", id, title: `a fix for ${id}`, fix: [], pairs, files: [], ...more };
}
