/** How long fixes took: on a few of them, and on all of them where the data is there. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../test/support/gap.ts";
import { readDebChangelog } from "../formats/deb-changelog.ts";
import { bookOf } from "./book.ts";
import { readFeed } from "./feeds/feed.ts";
import { feedKind } from "./feeds/index.ts";
import type { FeedRecord } from "./records.ts";
import { advisedReleases, advisoryGaps, daysBetween, summariesOf, uploadGaps } from "./report.ts";

const entry = (version: string, suite: string, day: string, bullets: readonly string[] = []) =>
  `linux (${version}) ${suite}; urgency=medium\n\n${["  * x", ...bullets].join("\n")}\n\n -- A <a@debian.org>  ${day} 10:00:00 +0000\n\n`;

/** Newest first. */
const CHANGELOG = [
  entry("6.1.120-1", "bookworm-security", "Mon, 10 Mar 2025"),
  entry("6.1.100-1", "bookworm", "Thu, 01 Aug 2024", ["  * net: early fix"]),
  entry("6.1.37-1", "bookworm-security", "Mon, 03 Jul 2023"),
  entry("6.1.27-1", "unstable", "Mon, 08 May 2023"),
].join("");

const release = (version: string, day: string): FeedRecord => ({ type: "release", version, day });
const RELEASES = [
  release("6.1.20", "2023-03-17"),
  release("6.1.90", "2024-05-02"),
  release("6.1.110", "2024-09-12"),
  release("6.1.125", "2025-03-20"),
  release("6.6.30", "2024-05-01"),
  release("6.6.40", "2024-08-20"),
];
const CVES = [
  makeCve("CVE-2024-10001", [["5.4", "a", "6.1.20", ""]]),
  makeCve("CVE-2024-10002", [
    ["5.4", "a", "6.1.90", ""],
    ["5.4", "a", "6.6.30", ""],
  ]),
  makeCve(
    "CVE-2024-10003",
    [
      ["5.4", "a", "6.1.110", ""],
      ["5.4", "a", "6.6.40", ""],
    ],
    { title: "net: early fix" },
  ),
  makeCve("CVE-2024-10004", [["5.4", "a", "6.1.125", ""]]),
  makeCve("CVE-2024-10005", [["5.4", "a", "6.1.126", ""]]),
  makeCve("CVE-2024-10006", [
    ["5.4", "a", "6.6.30", ""],
    ["5.4", "a", "0", "0"],
  ]),
  makeCve("CVE-2024-10007", [["6.6", "a", "6.6.30", ""]]),
];

async function bookWith(records: readonly FeedRecord[] = [], text = CHANGELOG) {
  const { entries, isTrimmed } = await readDebChangelog([Buffer.from(text)], "linux");
  return bookOf(
    [feedOf("cna", CVES, "2025-04-01"), feedOf("releases", RELEASES), feedOf("osv", records, "2025-04-01")],
    [{ source: "linux", distribution: "debian12", isTrimmed, entries }],
  );
}

describe("uploads of a distribution", () => {
  test("each fix counts from its series to the first upload that has it, by release or by subject", async () => {
    const book = await bookWith();
    const { rows, leftOut, ...named } = uploadGaps(book, book.changelogs[0]!, "bookworm");
    expect(named).toEqual({ release: "debian12", package: "linux", series: "6.1" });

    expect(leftOut).toEqual({ beforeRelease: 1, withoutDay: 1, slips: 0 });
    expect(rows).toEqual([
      {
        ...{ cve: "CVE-2024-10002", first: "2024-05-01", series: { version: "6.1.90", day: "2024-05-02" } },
        distribution: { version: "6.1.100-1", day: "2024-08-01", evidence: "E1" },
      },
      {
        ...{ cve: "CVE-2024-10003", first: "2024-08-20", series: { version: "6.1.110", day: "2024-09-12" } },
        distribution: { version: "6.1.100-1", day: "2024-08-01", evidence: "E3" },
      },
      { cve: "CVE-2024-10004", first: "2025-03-20", series: { version: "6.1.125", day: "2025-03-20" } },
      { cve: "CVE-2024-10006", first: "2024-05-01" },
    ]);
  });

  test("early ones keep their sign, and open ones their age", async () => {
    const book = await bookWith();
    const all = summariesOf(uploadGaps(book, book.changelogs[0]!, "bookworm"), book, "2025-04-09");
    const of = (stage: string) => all.find((one) => one.stage === stage && one.group === "all");

    expect(of("series to distribution")).toMatchObject({
      ...{ count: 2, min: -42, max: 91, negative: 1, open: 1, openMedian: 20 },
    });
    expect(of("first release to series")).toMatchObject({ count: 3, open: 1, openMedian: 343 });
    expect(all.map(({ group }) => group)).toContain("year 2024");
    expect(all.map(({ group }) => group)).toContain("severity not rated");
  });

  test("a changelog without the release says nothing", async () => {
    const book = await bookWith();

    expect(uploadGaps(book, book.changelogs[0]!, "trixie").rows).toEqual([]);
    expect(uploadGaps(book, book.changelogs[0]!, "").rows).toEqual([]);
  });
});

describe("advisories of a distribution", () => {
  const advisory = (id: string, published: string, more: object = {}): FeedRecord =>
    ({
      ...{
        type: "advisory",
        id,
        release: "almalinux9",
        package: "kernel",
        status: "fixed",
        version: "5.14.0-1.el9",
      },
      ...{ cves: ["CVE-2024-10002", "CVE-2024-99999"], published, ...more },
    }) as FeedRecord;

  test("each CVE counts from the first release anywhere to its first advisory", async () => {
    const book = await bookWith([
      advisory("A2", "2024-10-01"),
      advisory("A1", "2024-08-01"),
      advisory("A0", "2024-06-01", { package: "kernel-rt" }),
      advisory("L0", "2024-05-05", { livepatch: true }),
    ]);

    expect(advisedReleases(book)).toEqual([{ release: "almalinux9", package: "kernel" }]);
    expect(advisoryGaps(book, "almalinux9", "kernel")).toEqual({
      package: "kernel",
      release: "almalinux9",
      rows: [
        {
          ...{ cve: "CVE-2024-10002", first: "2024-05-01" },
          distribution: { version: "5.14.0-1.el9", day: "2024-08-01", evidence: "E4" },
        },
      ],
      leftOut: { beforeRelease: 0, withoutDay: 1, slips: 0 },
    });
  });

  test("what a distribution is said to have had half a year before anybody is a slip", async () => {
    const book = await bookWith([advisory("A1", "2021-01-01", { cves: ["CVE-2024-10002"] })]);

    expect(advisoryGaps(book, "almalinux9", "kernel")).toMatchObject({ rows: [], leftOut: { slips: 1 } });
  });
});

/** A directory with feeds as test/fixtures/gap/how-made.md describes it. */
const DATA = process.env.KMODFARM_GAP_DATA ?? "";
const hasData = DATA !== "" && existsSync(join(DATA, "cna/kernel_cves_compact.ndjson.gz"));

describe.skipIf(!hasData)("all CVEs of the kernel (skipped unless KMODFARM_GAP_DATA names the feeds)", () => {
  const whole = (name: string) => {
    const path = join(DATA, name);
    if (name.endsWith(".xz")) return execFileSync("xz", ["-dc", path], { maxBuffer: 1 << 28 });
    return name.endsWith(".gz") ? gunzipSync(readFileSync(path)) : readFileSync(path);
  };
  const read = async (kind: string, bytes: Buffer) => ({
    kind,
    content: await readFeed(feedKind(kind), [{ name: "feed.json", body: [bytes] }]),
  });
  const realBook = async () => {
    const { entries, isTrimmed } = await readDebChangelog([whole("debian/linux61_changelog.xz")], "linux");
    return bookOf(
      [
        await read("compact", whole("cna/kernel_cves_compact.ndjson.gz")),
        await read("releases", whole("releases/linux_kernel_releases.json")),
        await read("osv", osvOf(whole("alma/alma_kernel_advisories.json"))),
      ],
      [{ source: "linux", distribution: "debian12", isTrimmed, entries }],
    );
  };

  test("Debian 12: 6,255 fixes, half of them within 19 days, each as in the table", async () => {
    const book = await realBook();
    const gaps = uploadGaps(book, book.changelogs[0]!, "bookworm");
    const summary = summariesOf(gaps, book, "2026-11-22").find(
      ({ stage, group }) => stage === "series to distribution" && group === "all",
    );
    const [head = "", ...lines] = whole("debian/bookworm_linux61_cve_gap.csv.xz")
      .toString()
      .trim()
      .split("\n");
    const column = (name: string) => head.trim().split(",").indexOf(name);

    expect(summary).toMatchObject({ count: 6255, median: 19, p90: 40, max: 59 });
    const rows = new Map(gaps.rows.map((row) => [row.cve, row]));
    let compared = 0;
    for (const line of lines) {
      const cells = cellsOf(line.trim());
      const of = (name: string) => cells[column(name)] ?? "";
      if (Number(of("series_fixed").split(".")[2]) <= 27) continue;
      const { series, distribution } = rows.get(of("cve")) ?? {};
      compared++;
      expect([series?.version, distribution?.version], of("cve")).toEqual([
        of("series_fixed"),
        of("debian_version"),
      ]);
      expect(String(daysBetween(series?.day ?? "", distribution?.day ?? "")), of("cve")).toBe(
        of("gap_series_days"),
      );
    }
    expect(compared).toBe(6255);
  });

  test.each([
    ["almalinux8", 537, 110],
    ["almalinux9", 705, 109],
    ["almalinux10", 241, 145],
  ])("%s: %d fixes, half of them within %d days", async (name, count, median) => {
    const book = await realBook();
    const [summary] = summariesOf(advisoryGaps(book, name, "kernel"), book, "2026-11-22");

    expect(summary).toMatchObject({ stage: "first release to distribution", group: "all", count, median });
  });
});

/** The advisories as OSV has them. */
function osvOf(bytes: Buffer): Buffer {
  const { advisories } = JSON.parse(bytes.toString()) as { advisories: Record<string, string>[] };
  const records = advisories.map(({ id, published, modified, cves, ecosystem, package: name, fixed }) => ({
    ...{ id, published, modified, related: cves },
    affected: [
      {
        package: { ecosystem, name },
        ranges: [{ type: "ECOSYSTEM", events: [{ introduced: "0" }, { fixed }] }],
      },
    ],
  }));
  return Buffer.from(JSON.stringify(records));
}

/** Of a line of CSV; titles may hold commas. */
function cellsOf(line: string): string[] {
  return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, cell = ""]) => cell);
}
