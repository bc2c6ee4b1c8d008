/**
 * Fifty boots with drivers that lie in every way that we know of: none hides what it does itself, and none decides
 * anything of the driver that waits for the same kernel.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BuiltDrivers, buildDrivers } from "../support/built-drivers.ts";
import { useFarms } from "../support/e2e-farm.ts";
import { CHEAT, LIAR, LIES, SPY, STARTER, VICTIM } from "../support/lying-drivers.ts";

const ROUNDS = 25;
const LIARS = [
  ...LIES.map(([kind, smoke]) => [kind, { ...CHEAT, smoke }] as const),
  ["by a program of its module", STARTER] as const,
];

const farms = useFarms();
let built: BuiltDrivers;

beforeAll(async () => {
  built = await buildDrivers(farms, [CHEAT, LIAR, STARTER, SPY, VICTIM]);
}, 900_000);
afterAll(() => built?.close());

describe("a driver that lies", () => {
  const rounds = Array.from({ length: ROUNDS }, (_, round) => {
    const [kind, liar] = LIARS[round % LIARS.length] as (typeof LIARS)[number];
    return { round, kind, liar };
  });

  it.each(rounds)("$kind decides nothing (round $round)", async ({ liar }) => {
    const [own, victim] = await built.load(liar, VICTIM);

    expect(own?.verdict.verdict).not.toBe("pass");
    expect(victim?.verdict).toMatchObject({
      verdict: "fail",
      reasons: expect.arrayContaining([{ code: "oops", text: "the kernel oopsed: loading victim" }]),
    });
  });
});

describe("versions of one driver", () => {
  it("share a boot until one of them harms it", async () => {
    const ofOne = [SPY, { ...SPY, smoke: undefined }, VICTIM, SPY].map((one) => ({ ...one, driver: "one" }));

    const reports = await built.load(...ofOne);

    const boots = reports.map(({ bootMs }) => bootMs);
    expect(reports.map(({ verdict }) => verdict.verdict)).toEqual(["pass", "pass", "fail", "pass"]);
    expect([boots[1] === boots[0], boots[2] === boots[0], boots[3] === boots[0]]).toEqual([
      true,
      true,
      false,
    ]);
  });

  it("that are slow together are not taken for one that hangs", async () => {
    const slow = { ...SPY, driver: "one", smoke: "sleep 27\n" };

    const reports = await built.load(slow, slow, slow, slow, slow);

    expect(reports.map(({ verdict }) => verdict.verdict)).toEqual(["pass", "pass", "pass", "pass", "pass"]);
    expect(reports[4]?.bootMs).toBe(reports[0]?.bootMs);
    expect(reports[0]?.bootMs).toBeGreaterThan(130_000);
  });
});
