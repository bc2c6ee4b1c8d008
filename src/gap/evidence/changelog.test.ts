/** What changelogs say of CVEs, in the words of real entries. */
import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../../test/support/gap.ts";
import { readDebChangelog } from "../../formats/deb-changelog.ts";
import { compareDebVersions } from "../../kernel/deb-version.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../../kernel/upstream-version.ts";
import { bookOf } from "../book.ts";
import { Gap } from "../gap.ts";
import type { Cve, Pair } from "../records.ts";
import type { Target } from "../target.ts";

const entry = (version: string, lines: readonly string[], day = "Fri, 08 May 2026 20:00:00 +0200") =>
  `linux (${version}) bookworm-security; urgency=high\n\n${lines.join("\n")}\n\n -- A Maintainer <a@debian.org>  ${day}\n\n`;

/** Newest first. */
const CHANGELOG = [
  entry("6.1.176-1", ['  * Revert "net: third fix"', '  * Revert "epoll: use refcount" (CVE-2025-38349)']),
  entry("6.1.172-1", [
    "  * New upstream stable update:",
    "    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.172",
    "    - [amd64] x86: Second fix",
    "      (CVE-2026-10002)",
    "    - net: third fix",
  ]),
  entry("6.1.170-2", ["  * xfrm: esp: first   fix. (Closes: #1234)"]),
  entry("6.1.170-1", ["  * twice the same title"], "Thu, 30 Apr 2026 20:00:00 +0200"),
].join("");

/** The feed does not reach up to what these uploads took in. */
const ELSEWHERE: Pair[] = [["5.4", "a", "6.6.1", "x"]];
const CVES: readonly Cve[] = [
  makeCve("CVE-2026-10001", ELSEWHERE, { title: "xfrm: esp: first fix" }),
  makeCve("CVE-2026-10002", ELSEWHERE, { title: "x86: second fix" }),
  makeCve("CVE-2026-10003", ELSEWHERE, { title: "net: third fix" }),
  makeCve("CVE-2025-38349", ELSEWHERE, { title: "eventpoll: something else" }),
  makeCve("CVE-2026-10005", ELSEWHERE, { title: "Twice the same title" }),
  makeCve("CVE-2026-10006", ELSEWHERE, { title: "twice the same title" }),
];

async function gapWith(text: string, cves: readonly Cve[] = CVES): Promise<Gap> {
  const { entries, isTrimmed } = await readDebChangelog([Buffer.from(text)], "linux");
  const changelog = { source: "linux", distribution: "debian12", isTrimmed, entries };
  return new Gap(bookOf([feedOf("cna", cves, "2026-12-01")], [changelog]));
}

function upload(packageVersion: string): Target {
  return {
    ...{ name: packageVersion, distribution: "debian12", packages: ["linux"], packageVersion, proof: "both" },
    base: parseUpstreamVersion(packageVersion.replace(/-.*/, "")) as UpstreamVersion,
    compareVersions: compareDebVersions,
  };
}

describe("changelogs", () => {
  test("a subject names its CVE, from its upload on", async () => {
    const gap = await gapWith(CHANGELOG);

    expect(gap.ofKernel(upload("6.1.170-1")).of("CVE-2026-10001").verdict).toBe("no_upstream_fix");
    expect(gap.ofKernel(upload("6.1.170-2")).of("CVE-2026-10001")).toMatchObject({
      ...{ verdict: "fixed", fixedIn: "6.1.170-2", confidence: "sound" },
      evidence: [
        { id: "E1", says: "no_upstream_fix" },
        { id: "E3", says: "fixed", ref: "changelog 6.1.170-2", day: "2026-05-08" },
      ],
    });
    expect(gap.ofKernel(upload("6.1.176-1")).of("CVE-2026-10001").fixedIn).toBe("6.1.170-2");
  });

  test("an id names its CVE, with architectures and line ends around it", async () => {
    const kernel = (await gapWith(CHANGELOG)).ofKernel(upload("6.1.172-1"));

    expect(kernel.of("CVE-2026-10002").evidence).toContainEqual(
      expect.objectContaining({ id: "E2", says: "fixed", fixedIn: "6.1.172-1" }),
    );
  });

  test("a revert reopens, unless it names the CVE that it fixes", async () => {
    const gap = await gapWith(CHANGELOG);

    expect(gap.ofKernel(upload("6.1.172-1")).of("CVE-2026-10003").verdict).toBe("fixed");
    expect(gap.ofKernel(upload("6.1.176-1")).of("CVE-2026-10003").verdict).toBe("affected");
    expect(gap.ofKernel(upload("6.1.176-1")).of("CVE-2025-38349").verdict).toBe("fixed");
  });

  test("a revert reopens what the release itself had fixed", async () => {
    const inBase = [makeCve("CVE-2026-10003", [["5.4", "a", "6.1.171", "x"]], { title: "net: third fix" })];
    const kernel = (await gapWith(CHANGELOG, inBase)).ofKernel(upload("6.1.176-1"));

    expect(kernel.of("CVE-2026-10003").verdict).toBe("affected");
    expect(kernel.counts.affected).toBe(1);
  });

  test("a stable release is believed where the feed does not reach up to it", async () => {
    const at = async (fixed: string) => {
      const cves = [makeCve("CVE-2026-10003", [["5.4", "a", fixed, "x"]], { title: "net: third fix" })];
      return (await gapWith(CHANGELOG, cves)).ofKernel(upload("6.1.172-1")).of("CVE-2026-10003");
    };

    // Of several commits with one subject upstream names the last.
    expect(await at("6.1.174")).toMatchObject({ verdict: "affected", fixedIn: "6.1.174" });
    expect(await at("6.6.1")).toMatchObject({ verdict: "fixed", fixedIn: "6.1.172-1" });
  });

  test("what a stable release took out before the day of the feed contradicts it, if the fix came before", async () => {
    const log = entry("6.1.172-1", [
      "  * New upstream stable update:",
      "    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.172",
      '    - Revert "net: third fix"',
    ]);
    const reaching = makeCve("CVE-2026-10004", [["5.4", "a", "6.1.180", "x"]]);
    const fixed = makeCve("CVE-2026-10003", [["5.4", "a", "6.1.100", "x"]], { title: "net: third fix" });
    const at = async (cves: readonly Cve[]) => (await gapWith(log, cves)).ofKernel(upload("6.1.172-1"));

    const of = async (version: string) => {
      const cve = makeCve("CVE-2026-10003", [["5.4", "a", version, "x"]], { title: "net: third fix" });
      return (await at([cve, reaching])).of("CVE-2026-10003");
    };

    // Of the same words before its fix, the feed knows which commit counts.
    expect((await of("6.1.172")).verdict).toBe("fixed");
    expect(await of("6.1.171")).toMatchObject({
      verdict: "disputed",
      evidence: [
        { id: "E1", says: "fixed", fixedIn: "6.1.171" },
        { id: "E3", says: "reverted", revertedIn: "6.1.172", ref: "changelog 6.1.172-1" },
      ],
    });
    expect((await of("6.1.180")).verdict).toBe("affected");
    expect((await at([fixed])).of("CVE-2026-10003").verdict).toBe("affected");
  });

  test("a fix that a stable release took out and a later one brought again is one", async () => {
    const update = (version: string, subject: string) =>
      entry(`${version}-1`, [
        "  * New upstream stable update:",
        `    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-${version}`,
        `    - ${subject}`,
      ]);
    const log = [
      update("6.1.174", "net: third fix"),
      update("6.1.173", 'Revert "net: third fix"'),
      update("6.1.172", "net: third fix"),
    ].join("");
    const cves = [
      makeCve("CVE-2026-10003", [["5.4", "a", "6.1.172", "x"]], { title: "net: third fix" }),
      makeCve("CVE-2026-10004", [["5.4", "a", "6.1.180", "x"]]),
    ];
    const gap = await gapWith(log, cves);
    const verdicts = ["6.1.172-1", "6.1.173-1", "6.1.174-1"].map((version) => gap.ofKernel(upload(version)));

    expect(verdicts.map((one) => one.of("CVE-2026-10003").verdict)).toEqual(["fixed", "disputed", "fixed"]);
    expect(verdicts.map(({ counts }) => counts.disputed)).toEqual([0, 1, 0]);
  });

  test("a distribution that names a CVE, with a commit that the feed does not count, contradicts it", async () => {
    const log = entry("6.1.172-1", [
      "  * New upstream stable update:",
      "    https://www.kernel.org/pub/linux/kernel/v6.x/ChangeLog-6.1.172",
      "    - net: some fix (CVE-2026-10003)",
      "    - net: another (CVE-2026-10005)",
    ]);
    const gap = await gapWith(log, [
      makeCve("CVE-2026-10003", [["5.4", "a", "6.6.1", "x"]]),
      makeCve("CVE-2026-10004", [["5.4", "a", "6.1.180", "x"]]),
      makeCve("CVE-2026-10005", [["5.4", "a", "6.1.170", "x"]]),
    ]);
    const kernel = gap.ofKernel(upload("6.1.172-1"));

    expect(kernel.of("CVE-2026-10003")).toMatchObject({
      verdict: "disputed",
      evidence: [
        { id: "E1", says: "no_upstream_fix" },
        { id: "E2", says: "claimed", fixedIn: "6.1.172-1" },
      ],
    });
    expect(kernel.of("CVE-2026-10005").verdict).toBe("fixed");
    expect(kernel.counts).toMatchObject({ disputed: 1, affected: 1, fixed: 1 });
  });

  test("a kernel that is newer than the feed is not called affected for a revert either", async () => {
    const gap = await gapWith(CHANGELOG);
    const target = { ...upload("6.1.176-1"), day: "2026-12-02" };

    expect(gap.ofKernel(target).of("CVE-2026-10003")).toMatchObject({
      verdict: "unknown",
      reason: "feed_stale",
    });
  });

  test("a title that two CVEs have names neither", async () => {
    const kernel = (await gapWith(CHANGELOG)).ofKernel(upload("6.1.176-1"));

    expect(kernel.of("CVE-2026-10005").verdict).toBe("no_upstream_fix");
    expect(kernel.of("CVE-2026-10006").verdict).toBe("no_upstream_fix");
  });

  test("a rebuild for another release inherits from its parent", async () => {
    const gap = await gapWith(CHANGELOG);
    const rebuilt = (version: string) => ({ ...upload("6.1.170-2"), name: version, packageVersion: version });

    for (const version of ["6.1.170-2~bpo11+1", "6.1.170-2~deb11u1"])
      expect(gap.ofKernel(rebuilt(version)).of("CVE-2026-10001").verdict, version).toBe("fixed");
  });

  test("a kernel that is no upload of it is not spoken of", async () => {
    const gap = await gapWith(CHANGELOG);

    expect(gap.ofKernel(upload("6.1.171-1")).of("CVE-2026-10001").verdict).toBe("no_upstream_fix");
    expect(
      gap.ofKernel({ ...upload("6.1.176-1"), distribution: "debian11" }).of("CVE-2026-10001").verdict,
    ).toBe("no_upstream_fix");
  });

  test("what is not in one whose beginning is gone is unknown, unless the fix is younger", async () => {
    const trimmed = `${CHANGELOG}Older entries have been removed from this changelog.\n`;
    const { entries, isTrimmed } = await readDebChangelog([Buffer.from(trimmed)], "linux");
    const of = (firstFixed: string) => {
      const releases = [{ type: "release" as const, version: "6.6.1", day: firstFixed }];
      const changelog = { source: "linux", distribution: "debian12", isTrimmed, entries };
      const book = bookOf([feedOf("cna", CVES, "2026-12-01"), feedOf("releases", releases)], [changelog]);
      return new Gap(book).ofKernel(upload("6.1.170-1"));
    };

    expect(isTrimmed).toBe(true);
    expect(of("2026-04-01").of("CVE-2026-10001")).toMatchObject({
      verdict: "unknown",
      reason: "changelog_trimmed",
    });
    expect(of("2026-04-01").unknown).toEqual({ changelog_trimmed: CVES.length });
    expect(of("2026-06-01").of("CVE-2026-10001").verdict).toBe("no_upstream_fix");
  });

  test("a CVE that no feed has yet is fixed where the changelog names it", async () => {
    const kernel = (await gapWith(CHANGELOG, [])).ofKernel(upload("6.1.176-1"));

    expect(kernel.of("CVE-2026-10002")).toMatchObject({ verdict: "fixed" });
    expect(kernel.of("CVE-2026-10009")).toMatchObject({ verdict: "unknown", reason: "cve_not_in_feed" });
  });
});

test("a kernel closes what it has fixed and the one before it has not, if it builds it", async () => {
  const gap = await gapWith(
    CHANGELOG,
    CVES.map((cve) => ({ ...cve, files: [`${cve.id}.c`] })),
  );
  const [older, newer] = [upload("6.1.170-1"), upload("6.1.172-1")];

  expect(gap.closes(newer, older)).toEqual(["CVE-2026-10001", "CVE-2026-10002", "CVE-2026-10003"]);
  expect(gap.closes({ ...newer, builds: (file) => !file.startsWith("CVE-2026-10002") }, older)).toEqual([
    ...["CVE-2026-10001", "CVE-2026-10003"],
  ]);
  expect(gap.closes(newer, newer)).toEqual([]);
});
