import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../test/support/gap.ts";
import { bookOf } from "./book.ts";
import { NOTICE_KINDS, noticesOf, type Situation, type WaitingFix } from "./notices.ts";
import { standingOf } from "./slo.ts";

const remote = { v: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", s: 9.8, sev: "CRITICAL" };
const local = { v: "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", s: 7.8, sev: "HIGH" };
const CVES = [
  makeCve("CVE-2026-1001", [["5.4", "a", "6.1.20", ""]], { cvss: local }),
  makeCve("CVE-2026-1002", [["5.4", "a", "6.1.20", ""]], { cvss: remote }),
  makeCve("CVE-2026-1003", [["5.4", "a", "6.1.20", ""]]),
  makeCve("CVE-2026-1004", [["5.4", "a", "6.1.20", ""]], { title: "x".repeat(400) }),
];
const EXPLOITED = {
  type: "exploited",
  cve: "CVE-2026-1003",
  added: "2026-08-01",
  ransomware: false,
} as const;
const BOOK = bookOf([feedOf("cna", CVES, "2026-11-01"), feedOf("kev", [EXPLOITED])]);
const NOTHING: Situation = {
  ...{ book: BOOK, today: "2026-11-30", waitingDays: 14, kernels: [], waiting: [], standings: [] },
};
const KERNEL = {
  ...{ distribution: "debian12", packageVersion: "6.1.170-1" },
  releases: Array.from({ length: 7 }, (_, index) => `6.1.0-${index}-amd64`),
};
const fix = (cve: string, since: string): WaitingFix => ({
  ...{ distribution: "debian12", package: "linux", series: "6.1", cve, since },
});
const due = (changes: Partial<Situation>, told: readonly string[] = []) =>
  noticesOf({ ...NOTHING, ...changes }, new Set(told));

describe("a new kernel", () => {
  test("says how many CVEs it closes, of them which kinds, and names the exploited", () => {
    const [notice] = due({ kernels: [{ ...KERNEL, closes: CVES.map(({ id }) => id) }] });

    expect(notice).toMatchObject({
      ...{ kind: "kernel", lane: "urgent", keys: ["kernel/debian12/6.1.170-1"] },
      text: "new kernel: debian12 6.1.170-1 (6.1.0-0-amd64, 6.1.0-1-amd64, 6.1.0-2-amd64, 6.1.0-3-amd64, 6.1.0-4-amd64 and 2 more) closes 4 CVEs, of them 1 exploited (CVE-2026-1003), 1 severe and remote, 1 severe",
      cves: ["CVE-2026-1003", "CVE-2026-1002", "CVE-2026-1001", "CVE-2026-1004"],
    });
    expect(notice?.titles.at(-1)?.title).toHaveLength(120);
  });

  test("waits for the digest where it closes nothing exploited, nothing, or is the first of its series", () => {
    const kernels = [
      { ...KERNEL, closes: ["CVE-2026-1001"] },
      { ...KERNEL, packageVersion: "6.1.171-1", closes: [] },
      { ...KERNEL, packageVersion: "6.12.1-1" },
    ];

    expect(due({ kernels }).map(({ lane, text }) => [lane, text.split(") ")[1]])).toEqual([
      ["digest", "closes 1 CVE, of them 1 severe"],
      ["digest", "closes nothing that the feeds know"],
      ["digest", "is the first of its series here"],
    ]);
  });

  test("is told once", () => {
    expect(due({ kernels: [KERNEL] }, ["kernel/debian12/6.1.170-1"])).toEqual([]);
  });
});

describe("fixes that a distribution has not", () => {
  const waiting = [
    fix("CVE-2026-1001", "2026-11-01"),
    fix("CVE-2026-1002", "2026-10-01"),
    fix("CVE-2026-1003", "2026-11-15"),
    fix("CVE-2026-1004", "2026-11-16"),
  ];

  test("are one notice for each series, the exploited one urgent, once they have waited for long enough", () => {
    expect(due({ waiting })).toMatchObject([
      { kind: "waiting", lane: "urgent", cves: ["CVE-2026-1003"] },
      {
        lane: "digest",
        text: "waiting on the distribution: 2 fixes that 6.1.y has had for more than 14 days are not in debian12 (linux), the oldest for 60 days: 2 CVEs, of them 1 severe and remote, 1 severe",
      },
    ]);
  });

  test("are told once each, whatever joins them later", () => {
    const told = due({ waiting }).flatMap(({ keys }) => keys);

    expect(due({ waiting }, told)).toEqual([]);
    expect(due({ waiting, today: "2026-12-01" }, told)).toMatchObject([
      { keys: ["waiting/debian12/linux/6.1/CVE-2026-1004"] },
    ]);
  });
});

test("late modules are one notice for each driver series and tier, and what burns is told before", () => {
  const now = new Date("2026-11-30T00:00:00Z");
  const promise = (kernel: string, since: string, stable?: string) =>
    standingOf(
      {
        ...{ driver: "doorbell", series: "0.1.0", kernel, tier: "P0", hours: 24, since },
        ...(stable === undefined ? {} : { stable }),
      },
      now,
    );
  const standings = [
    promise("a", "2026-11-27T00:00:00Z"),
    promise("b", "2026-11-27T00:00:00Z", "2026-11-29T00:00:00Z"),
    promise("c", "2026-11-29T02:00:00Z"),
    promise("d", "2026-11-29T23:00:00Z"),
  ];
  const notices = due({ standings });

  expect(notices.map(({ kind, lane, text }) => [kind, lane, text])).toEqual([
    [
      "breached",
      "urgent",
      "doorbell 0.1.0 on 2 kernels (a, b) was not stable within the 24 hours of P0, the longest for 72; 1 of them is stable by now",
    ],
    ["burning", "urgent", "doorbell 0.1.0 on 1 kernel (c) has used 75 % or more of the 24 hours of P0"],
  ]);
  expect(
    due(
      { standings },
      notices.flatMap(({ keys }) => keys),
    ),
  ).toEqual([]);
});

test("every kind is described", () => {
  expect(Object.keys(NOTICE_KINDS)).toEqual(["kernel", "waiting", "burning", "breached"]);
});
