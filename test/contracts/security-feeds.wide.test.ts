/**
 * Whether a feed of nothing but values ends the program that reads it: every kind gets files as large as its limits allow, in
 * a process whose memory is that of a small machine.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { FEED_KINDS } from "../../src/gap/feeds/index.ts";

const FEEDS = new URL("../../src/gap/feeds/", import.meta.url).href;
const MEGABYTES = 384;

/** What surrounds the values, for the kinds that look inside. */
const AROUND: Readonly<Record<string, readonly [name: string, before: string, after: string]>> = {
  cna: ["cve/published/2025/CVE-2025-1000.json", '{"containers":{"cna":{"affected":', "}}}"],
  compact: ["all.ndjson", '{"type":"cve","pairs":', "}"],
  "cve-list": ["list.json", '{"vulnerabilities":', "}"],
  "csaf-vex": ["cve.json", '{"product_tree":{"branches":', "}}"],
  "debian-tracker": ["tracker.json", '{"linux":{"CVE-2025-1000":{"releases":', "}}}"],
  kernelctf: ["metadata.json", '{"vulnerability":', "}"],
  kev: ["kev.json", '{"vulnerabilities":', "}"],
  livepatch: ["status.json", '{"Status":', "}"],
  nodes: ["nodes.ndjson", '{"type":"node","node":', "}"],
  osv: ["OSV-1.json", '{"id":"X-1","affected":', "}"],
  releases: ["linux.json", '{"versions":', "}"],
};

const READ = `
  const [feeds, kind, name, before, value, after, size] = process.argv.slice(1);
  const { feedKind } = await import(feeds + "index.ts");
  const { readFeed } = await import(feeds + "feed.ts");
  const chunk = Buffer.from(value.repeat(1 << 15));
  function* body() {
    yield Buffer.from(before + "[");
    for (let sent = 0; sent < Number(size); sent += chunk.length) yield chunk;
    yield Buffer.from(value.slice(0, -1) + "]" + after);
  }
  const content = await readFeed(feedKind(kind), [{ name, body: body() }]).catch((thrown) => {
    if (thrown.code === undefined) throw thrown;
    return { bad: [{ reason: thrown.code }], records: [] };
  });
  console.log(JSON.stringify([content.records.length, content.bad.length]));
`;

const kinds = FEED_KINDS.flatMap(({ name }) => {
  const around = AROUND[name];
  return around === undefined ? [] : [[name, around] as const];
});

test("every kind that reads JSON is tried", () => {
  expect(kinds).toHaveLength(Object.keys(AROUND).length);
  expect(FEED_KINDS.map(({ name }) => name).filter((name) => AROUND[name] === undefined)).toEqual([
    ...["epss", "updateinfo"],
  ]);
});

test.each(
  kinds.flatMap(([kind, around]) =>
    ["1,", "{},", "[],", '"",', "null,"].map((value) => [kind, value, around] as const),
  ),
)("%s of nothing but %s is no feed, and ends nothing", async (kind, value, [name, before, after]) => {
  const bytes = kind === "debian-tracker" ? 200 << 20 : 16_000_000;
  const argv = [`--max-old-space-size=${MEGABYTES}`, "--input-type=module", "--eval", READ, "--", FEEDS];

  const { stdout } = await promisify(execFile)(process.execPath, [
    ...argv,
    ...[kind, name, before, value, after, `${bytes}`],
  ]);

  const [records, bad] = JSON.parse(stdout) as [number, number];
  expect(records).toBe(0);
  expect(bad).toBeGreaterThan(0);
});
