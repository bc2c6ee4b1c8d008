/** Counts from bits against verdicts cell by cell, whatever speaks for or against. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../test/support/gap.ts";
import type { ChangelogEntry } from "../formats/deb-changelog.ts";
import { compareDebVersions } from "../kernel/deb-version.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../kernel/upstream-version.ts";
import { bookOf } from "./book.ts";
import { Gap } from "./gap.ts";
import type { Cve, FeedRecord, Pair } from "./records.ts";
import type { Target } from "./target.ts";
import { VERDICTS } from "./verdict.ts";

const RELEASES = ["5.4", "5.4.3", "6.1", "6.1.2", "6.1.5", "6.2", "6.2.1"] as const;
const PAIR: fc.Arbitrary<Pair> = fc.tuple(
  fc.constantFrom("0", ...RELEASES),
  fc.constantFrom("a", "b"),
  fc.constantFrom("0", ...RELEASES),
  fc.constant(""),
);
const CVE = fc.record({
  pairs: fc.array(PAIR, { maxLength: 4 }),
  otherPairs: fc.option(fc.array(PAIR, { maxLength: 3 }), { nil: undefined, freq: 4 }),
  isRejected: fc.boolean(),
  files: fc.subarray(["a.c", "b.c", "c.h"]),
});
const CVES: fc.Arbitrary<Cve[]> = fc.array(CVE, { minLength: 1, maxLength: 40 }).map((all) =>
  all.map(({ pairs, otherPairs, isRejected, files }, at) =>
    makeCve(`CVE-2024-${10_000 + at}`, pairs, {
      ...{ title: `fix ${at}`, files },
      ...(isRejected && at % 5 === 0 ? { rejected: true } : {}),
      ...(otherPairs === undefined ? {} : { otherPairs }),
    }),
  ),
);
const ADVISORY = fc.record({
  cve: fc.nat(40),
  status: fc.constantFrom("fixed", "affected", "not_affected", "under_investigation", "will_not_fix"),
  version: fc.constantFrom("6.1.1-1", "6.1.3-1", "6.1.9-1"),
});
const ENTRY = fc.record({
  version: fc.constantFrom("6.1.1-1", "6.1.3-1", "6.1.5-1"),
  did: fc.nat(40),
  isRevert: fc.boolean(),
});
const TARGET = fc.record({
  base: fc.option(fc.constantFrom(...RELEASES, "6.2-rc3"), { nil: undefined }),
  other: fc.option(fc.constantFrom(...RELEASES), { nil: undefined, freq: 5 }),
  proof: fc.constantFrom("both" as const, "fixed" as const, "none" as const),
  day: fc.option(fc.constantFrom("2024-01-01", "2025-01-01"), { nil: undefined }),
  packageVersion: fc.constantFrom("6.1.1-1", "6.1.3-1", "6.1.5-1"),
  isConfigured: fc.boolean(),
});

test("bits and cells agree, with every kind of evidence", () => {
  const inputs = [
    CVES,
    fc.array(ADVISORY, { maxLength: 12 }),
    fc.array(ENTRY, { maxLength: 6 }),
    fc.boolean(),
    TARGET,
  ] as const;
  fc.assert(
    fc.property(...inputs, (cves, advisories, entries, isTrimmed, words) => {
      const records: FeedRecord[] = advisories.map(({ cve, status, version }, at) => ({
        ...({
          type: "advisory",
          id: `A${at}`,
          release: "debian12",
          package: "linux",
          status,
          version,
        } as const),
        cves: [`CVE-2024-${10_000 + cve}`],
      }));
      const log: ChangelogEntry[] = entries.map(({ version, did, isRevert }) => ({
        ...{ source: "linux", version, suite: "bookworm", day: "2023-12-01", stable: [] },
        bullets: [{ text: isRevert ? `Revert "fix ${did}"` : `fix ${did}` }],
      }));
      const changelog = { source: "linux", distribution: "debian12", isTrimmed, entries: log };
      const book = bookOf(
        [feedOf("cna", cves, "2024-06-01"), feedOf("osv", records, "2024-06-01")],
        [changelog],
      );
      const target = targetOf(words);
      const kernel = new Gap(book).ofKernel(target);

      const alone = cves.map(({ id }) => kernel.of(id));
      for (const name of VERDICTS) {
        const ids = alone.filter(({ verdict }) => verdict === name).map(({ cve }) => cve);
        expect(kernel.cvesThatAre(name), name).toEqual(ids);
        expect(kernel.counts[name], name).toBe(ids.length);
      }
      const reasons = alone.flatMap(({ reason }) => reason ?? []);
      expect(kernel.unknown).toEqual(
        Object.fromEntries(
          [...Map.groupBy(reasons, (one) => one)].map(([reason, of]) => [reason, of.length]),
        ),
      );
    }),
    { numRuns: 1500 },
  );
});

function targetOf(words: {
  base: string | undefined;
  other: string | undefined;
  proof: Target["proof"];
  day: string | undefined;
  packageVersion: string;
  isConfigured: boolean;
}): Target {
  const release = (text: string) => parseUpstreamVersion(text) as UpstreamVersion;
  const { base, other, proof, day, packageVersion, isConfigured } = words;
  return {
    ...{ name: "kernel", distribution: "debian12", packages: ["linux"], packageVersion, proof },
    ...(base === undefined ? {} : { base: release(base) }),
    ...(other === undefined ? {} : { otherBases: [release(other)] }),
    ...(day === undefined ? {} : { day }),
    ...(isConfigured ? { builds: (file: string) => (file === "a.c" ? false : undefined) } : {}),
    compareVersions: compareDebVersions,
  };
}

describe("several feeds of CVEs", () => {
  test("say together what each says, and disagree where they do", () => {
    const one = makeCve("CVE-2024-1000", [["5.4", "a", "6.1.5", "x"]]);
    const other = { ...one, title: "", pairs: [["5.4", "b", "6.1.2", ""]] as Pair[], files: ["x.c"] };
    const book = bookOf([feedOf("cna", [one], "2024-06-01"), feedOf("cve-list", [other], "2024-05-01")]);
    const of = (text: string) => {
      const target: Target = {
        name: text,
        packages: [],
        proof: "both",
        base: parseUpstreamVersion(text) as UpstreamVersion,
      };
      return new Gap(book).ofKernel(target).of(one.id);
    };

    expect(book.cves).toHaveLength(1);
    expect(book.cve.get(one.id)).toMatchObject({ title: one.title, files: ["x.c"] });
    // What the older of the two could not have seen, nobody knows.
    expect(book.feed).toEqual({ name: "cna and cve-list", date: "2024-05-01" });
    expect(of("6.1.3").verdict).toBe("disputed");
    expect(of("6.1.5").verdict).toBe("fixed");
  });

  test("without a day of their own are as old as the newest release that they name", () => {
    const cve = makeCve("CVE-2024-1000", [["5.4", "a", "6.1.5", "x"]]);
    const releases = [
      { type: "release" as const, version: "6.1.5", day: "2024-03-01" },
      { type: "release" as const, version: "6.1.6", day: "2024-04-01" },
    ];

    expect(bookOf([feedOf("cna", [cve]), feedOf("releases", releases)]).feed.date).toBe("2024-03-01");
    expect(bookOf([feedOf("cna", [cve])]).feed.date).toBeUndefined();
  });
});

test("advisories of one CVE may be very many", () => {
  const advisories = Array.from({ length: 200_000 }, (_, at) => ({
    ...{ type: "advisory" as const, id: `A${at}`, release: "debian12", package: "linux" },
    ...{ status: "affected" as const, cves: ["CVE-2026-1"] },
  }));
  const target = { name: "k", distribution: "debian12", packages: ["linux"], proof: "none" as const };
  const book = bookOf([feedOf("osv", advisories, "2026-08-01")]);

  expect(new Gap(book).of("CVE-2026-1", target).evidence).toHaveLength(advisories.length);
});
