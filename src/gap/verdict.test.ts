/** What may be said of a kernel, rule by rule. */
import { describe, expect, test } from "vitest";
import { feedOf, fixture, makeCve } from "../../test/support/gap.ts";
import { compareDebVersions } from "../kernel/deb-version.ts";
import { compareRpmVersions } from "../kernel/rpm-version.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../kernel/upstream-version.ts";
import { bookOf } from "./book.ts";
import { readFeed } from "./feeds/feed.ts";
import { feedKind } from "./feeds/index.ts";
import { Gap } from "./gap.ts";
import type { FeedRecord, Pair } from "./records.ts";
import { type Target, upstreamTarget } from "./target.ts";

const ID = "CVE-2024-10001";
const PAIRS: Pair[] = [
  ["5.4", "a", "6.1.50", "x"],
  ["5.4", "a", "6.6", "y"],
];
const FEED_DAY = "2024-06-01";

function base(text: string): UpstreamVersion {
  return parseUpstreamVersion(text) as UpstreamVersion;
}

function debian(packageVersion: string, more: Partial<Target> = {}): Target {
  return {
    name: `debian12/x86_64/${packageVersion}`,
    ...{ distribution: "debian12", packageVersion, packages: ["linux"], proof: "both", day: "2024-05-01" },
    base: base(packageVersion.replace(/-.*/, "")),
    compareVersions: compareDebVersions,
    ...more,
  };
}

function almalinux(packageVersion: string, more: Partial<Target> = {}): Target {
  return {
    name: `almalinux9/x86_64/${packageVersion}`,
    ...{
      distribution: "almalinux9.4",
      packageVersion,
      packages: ["kernel"],
      proof: "none",
      day: "2024-05-01",
    },
    compareVersions: compareRpmVersions,
    ...more,
  };
}

function verdict(
  target: Target,
  records: readonly FeedRecord[] = [makeCve(ID, PAIRS)],
  more: readonly FeedRecord[] = [],
) {
  const gap = new Gap(bookOf([feedOf("cna", records, FEED_DAY), feedOf("osv", more, FEED_DAY)]));
  const kernel = gap.ofKernel(target);
  const one = kernel.of(ID);
  // What bits say and what the cell says is the same.
  expect(kernel.counts[one.verdict]).toBe(records.length === 0 ? 0 : 1);
  return one;
}

function advisory(release: string, version: string, more: object = {}): FeedRecord {
  return {
    ...{
      type: "advisory",
      id: `SA-${version}`,
      release,
      package: release.startsWith("debian") ? "linux" : "kernel",
    },
    ...{ status: "fixed", version, cves: [ID], ...more },
  } as FeedRecord;
}

describe("a kernel whose release proves both", () => {
  test("has what its release has", () => {
    expect(verdict(debian("6.1.50-1"))).toMatchObject({
      verdict: "fixed",
      fixedIn: "6.1.50",
      confidence: "sound",
    });
    expect(verdict(debian("6.6.3-1"))).toMatchObject({ verdict: "fixed", fixedIn: "6.6" });
    expect(verdict(debian("4.19.3-1"))).toMatchObject({ verdict: "not_affected" });
  });

  test("lags behind its series, or waits for it", () => {
    expect(verdict(debian("6.1.49-1"))).toMatchObject({
      verdict: "affected",
      fixedIn: "6.1.50",
      confidence: "provisional",
    });
    expect(verdict(debian("6.5.9-1"))).toMatchObject({ verdict: "no_upstream_fix" });
    expect(verdict(debian("6.5.9-1")).fixedIn).toBeUndefined();
  });

  test("carries the day of the feed, and says where to look", () => {
    expect(verdict(debian("6.1.49-1"))).toMatchObject({
      feedDate: FEED_DAY,
      evidence: [
        { id: "E1", says: "affected", ref: "6.1.49", fixedIn: "6.1.50", feed: "cna", feedDate: FEED_DAY },
      ],
    });
  });

  test("that is newer than the feed is fixed or unknown, never affected", () => {
    const day = "2024-06-02";

    expect(verdict(debian("6.1.49-1", { day }))).toMatchObject({ verdict: "unknown", reason: "feed_stale" });
    expect(verdict(debian("4.19.3-1", { day }))).toMatchObject({ verdict: "unknown", reason: "feed_stale" });
    expect(verdict(debian("6.1.60-1", { day }))).toMatchObject({ verdict: "fixed" });
  });

  test("a candidate of a release is not the release", () => {
    const candidate = (text: string) => ({ ...debian("6.6~rc7-1~exp1"), base: base(text) });

    expect(verdict(candidate("6.6-rc7"))).toMatchObject({ verdict: "unknown", reason: "prerelease" });
    expect(verdict(candidate("6.7-rc1"))).toMatchObject({ verdict: "fixed" });
    expect(verdict(candidate("6.5-rc1"))).toMatchObject({ verdict: "no_upstream_fix" });
  });

  test("whose release two places name differently is disputed where it matters", () => {
    const otherBases = [base("6.1.49")];

    expect(verdict(debian("6.1.50-1", { otherBases }))).toMatchObject({ verdict: "disputed" });
    expect(verdict(debian("6.1.51-1", { otherBases: [base("6.1.52")] }))).toMatchObject({ verdict: "fixed" });
  });

  test("whose distribution contradicts its release is disputed", () => {
    const never = {
      type: "advisory",
      id: "T",
      release: "debian12",
      package: "linux",
      status: "not_affected",
      cves: [ID],
    };

    expect(verdict(debian("6.1.49-1"), undefined, [never as FeedRecord])).toMatchObject({
      verdict: "disputed",
    });
    expect(verdict(debian("6.1.50-1"), undefined, [advisory("debian12", "6.1.52-1")])).toMatchObject({
      verdict: "disputed",
    });
  });

  test("has a fix that its distribution took before its series", () => {
    expect(verdict(debian("6.1.40-2"), undefined, [advisory("debian12", "6.1.40-2")])).toMatchObject({
      ...{ verdict: "fixed", fixedIn: "6.1.40-2", confidence: "sound" },
    });
  });
});

describe("a kernel whose release proves less", () => {
  test("a distribution that adds fixes has what its release has, and perhaps more", () => {
    const ubuntu = (version: string) =>
      debian("5.15.0-91.101", { distribution: "ubuntu22.04", proof: "fixed", base: base(version) });

    expect(verdict(ubuntu("6.1.50"))).toMatchObject({ verdict: "fixed" });
    expect(verdict(ubuntu("6.1.49"))).toMatchObject({ verdict: "unknown", reason: "vendor_not_assessed" });
  });

  test("a frozen base proves nothing, even if it says so", () => {
    const frozen = { base: base("6.6.1") };

    expect(verdict(almalinux("5.14.0-427.1.1.el9_4", frozen))).toMatchObject({
      ...{ verdict: "unknown", reason: "no_advisory_feed", evidence: [] },
    });
  });

  test("advisories say what is fixed and what is not", () => {
    const fixed = [advisory("almalinux9", "5.14.0-427.13.1.el9_4")];

    expect(verdict(almalinux("5.14.0-427.13.1.el9_4"), undefined, fixed)).toMatchObject({ verdict: "fixed" });
    expect(verdict(almalinux("5.14.0-427.9.1.el9_4"), undefined, fixed)).toMatchObject({
      ...{ verdict: "affected", fixedIn: "5.14.0-427.13.1.el9_4" },
    });
    expect(verdict(almalinux("5.14.0-427.9.1.el9_4", { day: "2024-07-01" }), undefined, fixed)).toMatchObject(
      {
        ...{ verdict: "unknown", reason: "feed_stale" },
      },
    );
  });

  test("what they say of a stream counts more than what they say of the whole release", () => {
    const both = [
      advisory("almalinux9", "5.14.0-503.1.1.el9_5"),
      advisory("almalinux9.4", "5.14.0-427.13.1.el9_4"),
    ];

    expect(verdict(almalinux("5.14.0-427.13.1.el9_4"), undefined, both)).toMatchObject({ verdict: "fixed" });
  });

  test("other releases and other packages say nothing, and silence is no word", () => {
    const others = [
      advisory("almalinux8", "4.18.0-1.el8"),
      advisory("almalinux9", "5.14.0-1.rt.el9", { package: "kernel-rt" }),
      advisory("almalinux9", "5.14.0-1.el9", { cves: ["CVE-2024-99999"] }),
    ];

    expect(verdict(almalinux("5.14.0-427.13.1.el9_4"), undefined, others)).toMatchObject({
      ...{ verdict: "unknown", reason: "vendor_not_assessed" },
    });
  });

  test("without a release nothing is known", () => {
    const { base: _, ...unmapped } = debian("6.1.50-1");

    expect(verdict(unmapped)).toMatchObject({ verdict: "unknown", reason: "no_version_mapping" });
  });
});

describe("a CVE", () => {
  test("that was taken back is rejected everywhere", () => {
    expect(verdict(debian("6.1.49-1"), [makeCve(ID, [], { rejected: true })])).toMatchObject({
      verdict: "rejected",
    });
  });

  test("that no feed has is unknown, not absent", () => {
    expect(verdict(debian("6.1.49-1"), [])).toMatchObject({ verdict: "unknown", reason: "cve_not_in_feed" });
  });

  test("of which two accounts differ is disputed in the releases where they do", () => {
    const two = [makeCve(ID, PAIRS, { otherPairs: [["5.4", "b", "6.1.45", ""]] })];

    expect(verdict(debian("6.1.47-1"), two)).toMatchObject({ verdict: "disputed" });
    expect(verdict(debian("6.1.30-1"), two)).toMatchObject({ verdict: "affected" });
  });

  test("in an upstream release itself needs no caution", () => {
    expect(verdict(upstreamTarget("6.1.49", base("6.1.49"), "2023-09-01"))).toMatchObject({
      ...{ verdict: "affected", confidence: "sound" },
    });
  });
});

test("CVE-2024-35974 is disputed where its pairs and its JSON differ, and both are shown", async () => {
  const files = fixture("cna.ndjson.gz")
    .toString()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const feed = await readFeed(
    feedKind("cna"),
    files.map(({ name, text }: { name: string; text: string }) => ({ name, body: [Buffer.from(text)] })),
  );
  const gap = new Gap(bookOf([{ kind: "cna", content: { ...feed, date: "2026-08-21" } }]));
  const of = (text: string) => gap.ofKernel(upstreamTarget(text, base(text), undefined)).of("CVE-2024-35974");

  for (const text of ["6.1.119", "6.1.182", "6.1.183"])
    expect(of(text), text).toMatchObject({
      verdict: "disputed",
      evidence: [
        { id: "E1", says: "no_upstream_fix" },
        { id: "E1", says: "fixed", fixedIn: "6.1.17" },
      ],
    });
  expect(of("6.6.30")).toMatchObject({ verdict: "fixed", fixedIn: "6.6.28" });
  expect(of("5.15.131")).toMatchObject({ verdict: "not_affected" });
  // All others of the samples agree with their JSON everywhere, the one with an unknown beginning included.
  expect(gap.book.cves.flatMap(({ id, otherPairs }) => (otherPairs === undefined ? [] : [id]))).toEqual([
    "CVE-2024-35974",
  ]);
});
