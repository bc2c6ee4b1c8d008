/** What every version order must hold, whatever it thinks of tildes: it is an order, on any two strings. */
import fc from "fast-check";
import { expect, test } from "vitest";

export function versionOrderContract(
  compare: (a: string, b: string) => number,
  version: fc.Arbitrary<string>,
  pair: fc.Arbitrary<readonly [string, string]>,
): void {
  test("says that a version equals itself", () => {
    fc.assert(fc.property(version, (v) => compare(v, v) === 0));
  });

  test("says the opposite of a pair turned round", () => {
    const turns = (a: string, b: string) => Math.sign(compare(a, b)) + Math.sign(compare(b, a)) === 0;

    fc.assert(
      fc.property(pair, ([a, b]) => turns(a, b)),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.string(), fc.string(), turns));
  });

  test("keeps an order over three", () => {
    const triples = fc.tuple(pair, version).map(([both, third]) => [...both, third] as const);

    fc.assert(
      fc.property(triples, (three) => {
        const [a, b, c] = [...three].sort(compare) as [string, string, string];
        expect(compare(a, b)).toBeLessThanOrEqual(0);
        expect(compare(b, c)).toBeLessThanOrEqual(0);
        expect(compare(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 2000 },
    );
  });
}
