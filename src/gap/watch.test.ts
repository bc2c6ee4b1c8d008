import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sharedFile } from "../../test/support/shared.ts";
import { readDebChangelog } from "../formats/deb-changelog.ts";
import { ChangelogFixes, cvesToFind, subjectOf } from "./evidence/changelog.ts";
import type { Cve } from "./records.ts";
import { likelySecurity, watch, watchNewest } from "./watch.ts";

const SHA = "a".repeat(40);
const cve = (id: string, title: string, fixed: string): Cve => ({
  ...{ type: "cve", id, title, fix: [SHA], files: ["a.c"] },
  pairs: [["6.1", SHA, fixed, SHA]],
});

describe("the words of a subject", () => {
  test.each([
    ["ksmbd: fix use-after-free in session logoff", ["freed memory", "teardown", "fix", "file system"]],
    ["drm/foo: reject out-of-bounds index from userspace", ["bounds", "missing check"]],
    ["Bluetooth: hci_core: Fix NULL pointer dereference", ["null pointer", "fix", "network"]],
  ])("%s", (subject, signals) => {
    expect(likelySecurity(subject)).toEqual(signals);
  });

  test.each([
    "ALSA: hda/realtek: Add quirk for a laptop",
    "USB: serial: option: add Telit FN990 compositions",
    'Revert "net: fix crash in foo"',
    "docs: fix typo",
    "",
    `${"x".repeat(600)} use-after-free`,
  ])("%s says nothing of security", (subject) => {
    expect(likelySecurity(subject)).toBeUndefined();
  });
});

describe("commits beyond the feed", () => {
  const entry = (patch: number, ...subjects: string[]) => ({
    ...{ source: "linux", version: `6.1.${patch}-1`, suite: "bookworm-security", day: "2026-11-01" },
    ...{ stable: [`6.1.${patch}`], bullets: subjects.map((text) => ({ text, stable: `6.1.${patch}` })) },
  });
  const cves = [cve("CVE-2026-1001", "net: fix use-after-free in foo", "6.1.150")];
  const entries = [
    entry(152, "io_uring: fix use-after-free in bar", "usb: add support for a mouse"),
    entry(151, "xfs: fix null pointer dereference", "nfsd: fix double free (CVE-2026-99999)"),
    entry(150, "net: fix use-after-free in qux", "net: fix use-after-free in foo"),
  ];
  const source = { source: "linux", distribution: "debian12", isTrimmed: false };
  const changelog = ChangelogFixes.in({ ...source, entries }, cvesToFind(cves));
  const target = (packageVersion: string) => ({
    ...{ name: packageVersion, distribution: "debian12", packages: ["linux"], packageVersion },
    proof: "both" as const,
  });

  test("without a CVE are fixed in a kernel, or in later uploads only", () => {
    const watched = watch([changelog], cves, target("6.1.151-1"));

    expect(watched?.looked).toBe(3);
    expect(watched?.fixed).toMatchObject([
      { subject: "xfs: fix null pointer dereference", release: "6.1.151", upload: "6.1.151-1" },
    ]);
    expect(watched?.open.map(({ subject }) => subject)).toEqual(["io_uring: fix use-after-free in bar"]);
  });

  test("are all in the newest upload, and of no kernel that no changelog speaks of", () => {
    expect(watchNewest(changelog, cves)).toMatchObject({ looked: 3, fixed: [{}, {}], open: [] });
    expect(watch([changelog], cves, target("6.12.1-1"))).toBeUndefined();
    // Of a series that the feed does not know, nobody can say what is beyond it.
    expect(watchNewest(changelog, [])).toMatchObject({ looked: 0 });
  });
});

const CVES = sharedFile("data/cna/kernel_cves_compact.ndjson.gz");

describe.skipIf(!existsSync(CVES))("on the commits of 2026 that later got a CVE or not", () => {
  test("precision and recall are those of docs/gap.md", async () => {
    const lines = gunzipSync(readFileSync(CVES)).toString("utf8").split("\n");
    const titles = new Set(lines.filter(Boolean).map((line) => subjectOf((JSON.parse(line) as Cve).title)));
    const text = execFileSync("xz", ["-dc", sharedFile("data/debian/linux61_changelog.xz")], {
      maxBuffer: 1 << 26,
    });
    const days = JSON.parse(readFileSync(sharedFile("data/releases/linux_kernel_releases.json"), "utf8"));
    const { entries } = await readDebChangelog([text], "linux");
    const subjects = new Set<string>();
    const count = { right: 0, wrong: 0, missed: 0, looked: 0 };
    for (const { text: bullet, stable = "" } of entries.toReversed().flatMap(({ bullets }) => bullets)) {
      const day = dayOf(days.releases?.[stable] ?? days[stable]);
      const subject = subjectOf(bullet);
      if (day < "2026-01" || day >= "2026-08" || subjects.has(subject)) continue;
      subjects.add(subject);
      const [isLikely, isSecurity] = [likelySecurity(subject) !== undefined, titles.has(subject)];
      count.looked++;
      if (isLikely && isSecurity) count.right++;
      else if (isLikely) count.wrong++;
      else if (isSecurity) count.missed++;
    }

    expect(count.looked).toBeGreaterThan(4000);
    expect(count.right / (count.right + count.wrong)).toBeCloseTo(0.73, 2);
    expect(count.right / (count.right + count.missed)).toBeCloseTo(0.54, 2);
  });
});

function dayOf(release: string | { readonly date?: string } | undefined): string {
  return typeof release === "string" ? release : (release?.date ?? "");
}
