/** The walk over a series against looking at each cell on its own. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { goldenCves } from "../../test/support/gap.ts";
import {
  parseUpstreamVersion,
  showUpstreamVersion,
  type UpstreamVersion,
} from "../kernel/upstream-version.ts";
import type { Cve, Pair } from "./records.ts";
import { countBits, hasBit, keyOfRelease, type Planes, Sweep } from "./sweep.ts";
import { culpritsOf, upstreamVerdict } from "./upstream.ts";

/** Few series with few patches, so that everything meets everything. */
const VERSION = fc
  .tuple(fc.constantFrom("2.6.32", "2.6.33", "3.0", "4.19", "5.4", "6.1", "6.2"), fc.nat(4))
  .map(([series, patch]) => (patch === 0 ? series : `${series}.${patch}`));
const PAIR: fc.Arbitrary<Pair> = fc.tuple(
  fc.oneof({ weight: 1, arbitrary: fc.constant("0") }, { weight: 6, arbitrary: VERSION }),
  fc.constantFrom("a", "b", "c"),
  fc.oneof({ weight: 1, arbitrary: fc.constant("0") }, { weight: 4, arbitrary: VERSION }),
  fc.constant(""),
);
const CVES = fc.array(fc.array(PAIR, { maxLength: 6 }), { minLength: 1, maxLength: 40 });

function cellOf(planes: Planes, index: number): string {
  if (hasBit(planes.affected, index)) return hasBit(planes.unfixed, index) ? "unfixed" : "affected";
  return hasBit(planes.fixed, index) ? "fixed" : "not_affected";
}

function cellAlone({ pairs }: Pick<Cve, "pairs">, release: UpstreamVersion): string {
  const { verdict, ...rest } = upstreamVerdict(culpritsOf(pairs), release);
  return verdict === "affected" && "fixedIn" in rest && rest.fixedIn === undefined ? "unfixed" : verdict;
}

test("every cell is what it is alone, whatever the pairs say", () => {
  fc.assert(
    fc.property(CVES, fc.array(VERSION, { minLength: 1, maxLength: 12 }), (lists, texts) => {
      const cves = lists.map((pairs) => ({ pairs }));
      const releases = texts.map((text) => parseUpstreamVersion(text) as UpstreamVersion);
      const planes = new Sweep(cves).planes(releases);

      for (const release of releases)
        for (const [index, cve] of cves.entries())
          expect(cellOf(planes.get(keyOfRelease(release)) as Planes, index)).toBe(cellAlone(cve, release));
    }),
    { numRuns: 1000 },
  );
});

test("the same holds for real CVEs in releases that nobody chose", () => {
  const cves = [...goldenCves().values()];
  const named = [...new Set(cves.flatMap(({ pairs }) => pairs.flatMap(([a, , b]) => [a, b])))];
  const releases = named.flatMap((text, at) => (at % 97 === 0 ? (parseUpstreamVersion(text) ?? []) : []));
  const planes = new Sweep(cves).planes(releases);

  expect(releases.length).toBeGreaterThan(20);
  for (const release of releases) {
    const own = planes.get(keyOfRelease(release)) as Planes;
    for (let index = 0; index < cves.length; index += 7)
      if (cellOf(own, index) !== cellAlone(cves[index] as Cve, release))
        expect.fail(`${(cves[index] as Cve).id} in ${showUpstreamVersion(release)}`);
  }
});

test("counts bits", () => {
  fc.assert(
    fc.property(fc.uint32Array(), (words) => {
      const expected = [...words].map((word) => word.toString(2).replaceAll("0", "").length);
      expect(countBits(words)).toBe(expected.reduce((sum, one) => sum + one, 0));
    }),
  );
});
