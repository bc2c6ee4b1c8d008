/**
 * Verdicts on all CVEs in every upstream release that they name, from the lines of a feed to counts; beside it, reading
 * and JSON.parse of the same lines. Budget: 1.5 s of processor time, 300 MB, 6 times the peer.
 *
 *     npm run bench:gap -- [cves.ndjson]
 *
 * Without a file it takes the pairs of the test fixtures, and fills in what they leave out: titles, files and commits as
 * long as real ones.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { bookOf } from "../src/gap/book.ts";
import { Gap } from "../src/gap/gap.ts";
import { type Cve, readRecord } from "../src/gap/records.ts";
import { upstreamTarget } from "../src/gap/target.ts";
import { parseUpstreamVersion } from "../src/kernel/upstream-version.ts";
import { peakMiB } from "./peak.ts";

const FIXTURE = join(import.meta.dirname, "../test/fixtures/gap/pairs.ndjson.gz");
const RUNS = 5;
const LIMITS = { cpuMs: 1500, peakMiB: 300, timesPeer: 6 } as const;

/** Each line's value, without keeping the lines. */
function* parsed(file: string): Generator<unknown> {
  const bytes = readFileSync(file);
  const text = file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
  for (let begin = 0; begin < text.length; ) {
    const end = text.indexOf(0x0a, begin);
    const line = text.toString("utf8", begin, end < 0 ? text.length : end);
    if (line !== "") yield JSON.parse(line);
    begin = end < 0 ? text.length : end + 1;
  }
}

function judgeAll(file: string) {
  const records: Cve[] = [];
  for (const value of parsed(file)) {
    const read = readRecord(value);
    if (read.kind === "record" && read.record.type === "cve") records.push(read.record);
  }
  const gap = new Gap(bookOf([{ kind: "compact", content: { records, date: "9999-12-31" } }]));
  const targets = releasesOf(records).flatMap((name) => {
    const version = parseUpstreamVersion(name);
    return version === undefined ? [] : [upstreamTarget(name, version, undefined)];
  });
  gap.prepare(targets);
  let affected = 0;
  for (const target of targets) affected += gap.ofKernel(target).counts.affected;
  return { cves: records.length, releases: targets.length, affected };
}

/** Every release up to the newest of each series that a CVE names. */
function releasesOf(cves: readonly Cve[]): string[] {
  const newest = new Map<string, number>();
  for (const { pairs } of cves)
    for (const [introduced, , fixed] of pairs)
      for (const text of [introduced, fixed]) {
        const [, series, patch = "0"] = /^([3-9]\.\d+|2\.6\.\d+)(?:\.(\d+))?$/.exec(text) ?? [];
        if (series !== undefined) newest.set(series, Math.max(newest.get(series) ?? 0, Number(patch)));
      }
  return [...newest].flatMap(([series, last]) =>
    Array.from({ length: last + 1 }, (_, patch) => (patch === 0 ? series : `${series}.${patch}`)),
  );
}

/** The fixture as long as the feed that it was made from. */
function filledIn(): string {
  const commit = (of: string) => createHash("sha1").update(of).digest("hex");
  const lines = [...parsed(FIXTURE)].map((value) => {
    const { id, pairs } = value as Cve;
    const full = pairs.map(([introduced, culprit, fixed]) => [
      ...[introduced, culprit === "0" ? "0" : commit(`${id}${culprit}`)],
      ...[fixed, fixed === "0" ? "0" : commit(`${id}${fixed}`)],
    ]);
    const title = `subsystem: a subject of fifty to seventy characters, ${id}`;
    const rest = {
      title,
      fix: [commit(id)],
      vulnerable: [],
      pairs: full,
      files: ["drivers/net/ethernet/vendor/file.c"],
    };
    return JSON.stringify({ id, published: "2024-02-26T18:21:24+01:00", ...rest, cvss: null });
  });
  const file = join(mkdtempSync(join(tmpdir(), "kmodfarm-bench-")), "cves.ndjson.gz");
  writeFileSync(file, gzipSync(lines.join("\n")));
  return file;
}

interface Measured {
  readonly cpuMs: number;
  readonly peakMiB: number;
  readonly found: unknown;
}

/** Work in a process of its own, so that its time and its peak memory are its own. */
function measured(what: "judge" | "parse", file: string): Measured[] {
  const self = fileURLToPath(import.meta.url);
  return Array.from(
    { length: RUNS },
    () =>
      JSON.parse(execFileSync(process.execPath, [self, `--${what}`, file], { encoding: "utf8" })) as Measured,
  );
}

function middle(runs: readonly Measured[]): Measured {
  return runs.toSorted((a, b) => a.cpuMs - b.cpuMs)[Math.floor(runs.length / 2)] as Measured;
}

const [mode, named] = process.argv.slice(2);
if ((mode === "--judge" || mode === "--parse") && named !== undefined) {
  const file = named;
  const before = process.cpuUsage();
  const found = mode === "--judge" ? judgeAll(file) : { values: [...parsed(file)].length };
  const { user, system } = process.cpuUsage(before);
  console.log(JSON.stringify({ cpuMs: (user + system) / 1000, peakMiB: peakMiB(), found }));
} else {
  const file = mode ?? filledIn();
  const [judged, peer] = [middle(measured("judge", file)), middle(measured("parse", file))];
  if (mode === undefined) rmSync(dirname(file), { recursive: true });
  const times = judged.cpuMs / peer.cpuMs;
  console.log(
    `${JSON.stringify(judged.found)}: ${judged.cpuMs.toFixed(0)} ms of processor time (limit ${LIMITS.cpuMs}), ` +
      `peak ${judged.peakMiB.toFixed(0)} MiB (limit ${LIMITS.peakMiB}); ` +
      `reading and JSON.parse alone ${peer.cpuMs.toFixed(0)} ms: ${times.toFixed(1)} times (limit ${LIMITS.timesPeer})`,
  );
  const isWithin =
    judged.cpuMs <= LIMITS.cpuMs && judged.peakMiB <= LIMITS.peakMiB && times <= LIMITS.timesPeer;
  process.exitCode = isWithin ? 0 : 1;
}
