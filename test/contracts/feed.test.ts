/** Every kind of feed, on real records where there are any: test/fixtures/gap/how-made.md. */
import { describe, expect, test } from "vitest";
import { FEED_KINDS, feedKind } from "../../src/gap/feeds/index.ts";
import { fixture } from "../support/gap.ts";
import { type FeedSample, feedContract } from "./feed.ts";

const kind = feedKind;
const files = (name: string) =>
  fixture(name)
    .toString()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { name: string; text: string });
const one = (name: string, value: unknown) => [
  { name, text: typeof value === "string" ? value : JSON.stringify(value) },
];

const CNA = files("cna.ndjson.gz");

const SAMPLES: readonly FeedSample[] = [
  { kind: kind("cna"), files: CNA, records: 8, date: undefined, isJson: true },
  {
    kind: kind("compact"),
    files: one(
      "cves.ndjson",
      [
        '{"id":"CVE-2024-26581","published":"2024-02-20T13:52:57+01:00","title":"netfilter: x","fix":[],"vulnerable":[],"pairs":[["6.5","a","6.8","b"]],"files":["net/x.c"],"cvss":{"v":"CVSS:3.1/AV:L","s":7.8,"sev":"HIGH"}}',
        '{"type":"release","version":"6.8","day":"2024-03-10"}',
      ].join("\n"),
    ),
    records: 2,
    date: "2024-02-20",
    isJson: true,
  },
  {
    kind: kind("cve-list"),
    files: CNA.filter(({ name }) => name.endsWith("CVE-2024-26581.json")).map(({ text }) => ({
      name: "cves/2024/26xxx/CVE-2024-26581.json",
      text: text
        .replaceAll("f4215fc3-5b6b-47ff-a258-f7189bd81038", "416baaa9-dc9f-4396-8d5f-8c081fb06d67")
        .replace('"state": "PUBLISHED"', '"state": "PUBLISHED", "dateUpdated": "2025-05-04T08:51:26.141Z"'),
    })),
    records: 1,
    date: "2025-05-04",
    isJson: true,
  },
  {
    kind: kind("releases"),
    files: one("linux.json", {
      snapshot: "2026-08-22",
      releases: { "6.1.183": "2026-08-19", "7.2-rc1": "2026-07-01" },
    }),
    records: 1,
    date: "2026-08-22",
    isJson: true,
  },
  {
    kind: kind("osv"),
    files: one("ALSA-2026:A008.json", fixture("ALSA-2026_A008.json").toString()),
    records: 2,
    date: "2026-05-16",
    isJson: true,
  },
  {
    kind: kind("debian-tracker"),
    files: one("json", {
      linux: {
        "CVE-2024-1086": {
          releases: {
            bookworm: { status: "resolved", fixed_version: "6.1.76-1", urgency: "not yet assigned" },
            bullseye: { status: "open", urgency: "unimportant" },
            sid: { status: "resolved", fixed_version: "0", urgency: "not yet assigned" },
            trixie: { status: "undetermined", urgency: "not yet assigned" },
          },
        },
        "TEMP-0000000-000000": { releases: {} },
      },
      bash: { "CVE-2014-6271": { releases: { sid: { status: "resolved", fixed_version: "4.3-9.1" } } } },
    }),
    records: 4,
    date: undefined,
    isJson: true,
  },
  {
    kind: kind("updateinfo"),
    files: one(
      "updateinfo.xml",
      `<?xml version="1.0"?><updates><update from="security@example.org" status="final" type="security" version="1">
       <id>ALSA-2024:1000</id><title>kernel</title><issued date="2024-03-01 10:00:00"/><updated date="2024-03-05 10:00:00"/>
       <references><reference href="https://example.org/CVE-2024-1086" id="CVE-2024-1086" type="cve"/></references>
       <pkglist><collection short="x"><name>x</name>
       <package name="kernel" version="5.14.0" release="362.24.1.el9_3" epoch="0" arch="x86_64"><filename>k.rpm</filename></package>
       <package name="bpftool" version="7.2.0" release="362.24.1.el9_3" epoch="0" arch="x86_64"><filename>b.rpm</filename></package>
       </collection></pkglist></update></updates>`,
    ),
    records: 1,
    date: "2024-03-05",
    isJson: false,
  },
  { kind: kind("csaf-vex"), files: files("csaf-vex.ndjson"), records: 6, date: "2026-02-27", isJson: true },
  {
    kind: kind("kev"),
    files: one("kev.json", fixture("kev.json").toString()),
    records: 3,
    date: "2025-08-25",
    isJson: true,
  },
  {
    kind: kind("epss"),
    files: one(
      "epss_scores-2026-08-20.csv",
      "#model_version:v2025.03.14,score_date:2026-08-20T12:55:00Z\ncve,epss,percentile\nCVE-2024-1086,0.86352,0.99345\nCVE-2024-26581,4.2e-04,0.1\n",
    ),
    records: 2,
    date: "2026-08-20",
    isJson: false,
  },
  {
    kind: kind("kernelctf"),
    files: one("metadata.json", fixture("kernelctf.json").toString()),
    records: 2,
    date: "2023-09-20",
    isJson: true,
  },
  {
    kind: kind("livepatch"),
    files: one("node-1.json", {
      "Client-Version": "10.8.3",
      "Last-Check": "2026-08-01T10:00:00Z",
      Status: [
        {
          Kernel: "5.15.0-91.101-generic",
          Running: true,
          Livepatch: {
            CheckState: "checked",
            State: "applied",
            Version: "110.1",
            Fixes: [
              { Name: "cve-2024-1086", Description: "", Bug: "", Patched: true },
              { Name: "cve-2024-26581", Description: "", Bug: "", Patched: false },
            ],
          },
        },
      ],
    }),
    records: 1,
    date: "2026-08-01",
    isJson: true,
  },
  {
    kind: kind("nodes"),
    files: one(
      "nodes.ndjson",
      '{"node":"web-1","release":"6.1.0-28-amd64","version":"#1 SMP Debian 6.1.119-1 (2024-11-22)","machine":"x86_64","at":"2026-08-01T10:00:00Z"}\n',
    ),
    records: 1,
    date: "2026-08-01",
    isJson: true,
  },
];

test("each kind has a sample, and a name of its own", () => {
  expect(SAMPLES.map((sample) => sample.kind.name).toSorted()).toEqual(
    FEED_KINDS.map(({ name }) => name).toSorted(),
  );
  expect(new Set(FEED_KINDS.map(({ name }) => name)).size).toBe(FEED_KINDS.length);
  expect(() => feedKind("constructor")).toThrow(/no kind of feed/);
});

describe.each(SAMPLES)("$kind.name", (sample) => feedContract(sample));
