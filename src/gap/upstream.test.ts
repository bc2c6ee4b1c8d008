/** Verdicts of upstream's own releases, against vectors that were made by another program from the same records. */
import { describe, expect, test } from "vitest";
import { GOLDEN, goldenCves } from "../../test/support/gap.ts";
import { parseUpstreamVersion, showUpstreamVersion } from "../kernel/upstream-version.ts";
import type { Pair } from "./records.ts";
import { countBits, keyOfRelease, Sweep } from "./sweep.ts";
import { culpritsOf, disagree, upstreamVerdict } from "./upstream.ts";

const CVES = goldenCves();
const CULPRITS = [...CVES.values()].map(({ pairs }) => culpritsOf(pairs));

function release(text: string) {
  const version = parseUpstreamVersion(text);
  if (version === undefined) throw new Error(`${text} is no release`);
  return version;
}

describe("golden vectors", () => {
  test("hold all the CVEs that the counts are of", () => {
    expect(CVES.size).toBe(14_626);
    expect(Object.keys(GOLDEN.counts)).toHaveLength(10);
    expect(Object.values(GOLDEN.samples).flatMap((one) => Object.keys(one))).toHaveLength(120);
  });

  test.each(Object.entries(GOLDEN.counts))("all CVEs in %s are counted alike", (text, counts) => {
    const all = CULPRITS.map((culprits) => upstreamVerdict(culprits, release(text)).verdict);

    expect(
      Object.fromEntries([...Map.groupBy(all, (one) => one)].map(([name, of]) => [name, of.length])),
    ).toEqual(counts);
  });

  test("the sweep counts the same at once", () => {
    const releases = Object.keys(GOLDEN.counts).map(release);
    const planes = new Sweep([...CVES.values()]).planes(releases);

    for (const [text, { affected, fixed }] of Object.entries(GOLDEN.counts)) {
      const of = planes.get(keyOfRelease(release(text)));
      expect([countBits(of!.affected), countBits(of!.fixed)], text).toEqual([affected, fixed]);
    }
  });

  test.each(Object.entries(GOLDEN.samples))("%s is judged alike in every release", (id, releases) => {
    const culprits = culpritsOf(CVES.get(id)!.pairs);
    const judged = Object.keys(releases).map((text) => {
      const verdict = upstreamVerdict(culprits, release(text));
      return [
        text,
        [verdict.verdict, verdict.verdict === "fixed" ? showUpstreamVersion(verdict.fixedIn) : null],
      ];
    });

    expect(Object.fromEntries(judged)).toEqual(releases);
  });
});

describe("pairs", () => {
  const affectedIn = (pairs: readonly Pair[], text: string) =>
    upstreamVerdict(culpritsOf(pairs), release(text));

  test("that begin and end in one release, or end before they begin, say nothing", () => {
    expect(affectedIn([["6.13", "a", "6.13", "b"]], "6.13.1").verdict).toBe("not_affected");
    expect(affectedIn([["5.10", "a", "5.2", "b"]], "5.15.1").verdict).toBe("not_affected");
  });

  test("every culprit of a release must be fixed in it", () => {
    const pairs: Pair[] = [
      ["4.4", "a", "4.19.100", "x"],
      ["4.19.50", "b", "4.19.120", "y"],
    ];

    expect(affectedIn(pairs, "4.19.110")).toEqual({ verdict: "affected", fixedIn: release("4.19.120") });
    expect(affectedIn(pairs, "4.19.120")).toEqual({ verdict: "fixed", fixedIn: release("4.19.120") });
    expect(affectedIn(pairs, "4.20.1")).toEqual({ verdict: "affected", fixedIn: undefined });
  });

  test("a culprit that a branch has fixed elsewhere was taken out of the branch", () => {
    const pairs: Pair[] = [
      ["6.1.5", "a", "0", "0"],
      ["5.4", "b", "6.1.9", "x"],
    ];

    expect(affectedIn(pairs, "6.1.10").verdict).toBe("fixed");
  });

  test("disagree only where a release is affected by one account and not by the other", () => {
    const one: Pair[] = [["5.18", "a", "6.1.17", ""]];

    expect(disagree(one, one)).toBe(false);
    expect(disagree(one, [["5.18", "b", "6.1.17", ""]])).toBe(false);
    expect(disagree(one, [["5.18", "a", "6.1.18", ""]])).toBe(true);
    expect(disagree(one, [["5.19", "a", "6.1.17", ""]])).toBe(true);
  });
});
