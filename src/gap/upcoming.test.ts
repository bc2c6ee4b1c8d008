import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeKernel } from "../../test/support/kernels.ts";
import { type CatalogKernel, upcomingIn } from "../catalog/catalog.ts";
import { upstreamOfPackage } from "../kernel/base.ts";
import { kernelName } from "../kernel/kernel.ts";
import { parseUpstreamVersion } from "../kernel/upstream-version.ts";
import { comingKernels, type KernelsKnown, readinessOf } from "./upcoming.ts";

const UPCOMING = ["sid", "experimental", "trixie-backports", "trixie-proposed-updates"];
const KNOWN: KernelsKnown = {
  isUpcoming: upcomingIn(UPCOMING.map((suite) => ({ id: `debian/${suite}`, upcoming: true as const }))),
  versionOf: ({ packageVersion }) => parseUpstreamVersion(upstreamOfPackage(packageVersion) ?? ""),
};

const kernel = (suite: string, packageVersion: string, changes: Partial<CatalogKernel> = {}) =>
  makeKernel({
    distribution: suite === "sid" || suite === "experimental" ? "debiansid" : "debian13",
    kversion: `${packageVersion}-amd64`,
    packageVersion,
    sources: [`debian/${suite}`],
    ...changes,
  });

describe("kernels that are coming", () => {
  const STABLE = kernel("trixie", "6.12.118-1");
  const SID = kernel("sid", "7.2.13-1");
  const CANDIDATE = kernel("experimental", "7.3~rc7-1~exp1");
  const BACKPORT = kernel("trixie-backports", "7.3.4-1~bpo13+1");
  const coming = (...kernels: CatalogKernel[]) =>
    comingKernels(kernels, KNOWN).map(({ kernel: one, aheadOf, supersededBy }) => [
      one.packageVersion,
      aheadOf.map(({ packageVersion }) => packageVersion).join(),
      supersededBy?.packageVersion,
    ]);

  test("are told by their versions: backports may be ahead of a frozen sid", () => {
    expect(coming(STABLE, SID, CANDIDATE, BACKPORT)).toEqual([
      ["7.2.13-1", "6.12.118-1", undefined],
      ["7.3~rc7-1~exp1", "6.12.118-1", "7.3.4-1~bpo13+1"],
      ["7.3.4-1~bpo13+1", "6.12.118-1", undefined],
    ]);
  });

  test("are not those that users are past", () => {
    const old = kernel("trixie-backports", "6.11.4-1~bpo13+1");
    const [past, next] = ["6.12.110-1", "6.12.119-1"].map((one) => kernel("trixie-proposed-updates", one));

    expect(coming(STABLE, old, past as CatalogKernel, next as CatalogKernel)).toEqual([
      ["6.12.119-1", "6.12.118-1", undefined],
    ]);
  });

  test("are ahead of their own release, whatever another one has", () => {
    const older = kernel("bookworm", "6.1.190-1", { distribution: "debian12" });
    const backport = kernel("trixie-backports", "6.12.90-1~bpo12+1", { distribution: "debian12" });

    expect(coming(STABLE, older, backport)).toEqual([["6.12.90-1~bpo12+1", "6.1.190-1", undefined]]);
    // A release without users of its own is ahead of all others or of none.
    expect(coming(STABLE, older, kernel("sid", "6.12.90-1"))).toEqual([]);
  });

  test("are compared with kernels of the same kind alone, and not with those that are gone", () => {
    const cloud = kernel("trixie", "7.9.1-1", { flavour: "cloud" });
    const gone = kernel("trixie", "7.9.1-1", { withdrawnSince: "2026-11-01T00:00:00.000Z" });

    expect(coming(STABLE, cloud, gone, SID)).toEqual([["7.2.13-1", "6.12.118-1", undefined]]);
    expect(coming(SID)).toEqual([["7.2.13-1", "", undefined]]);
  });

  test("are compared by their packages where no release of kernel.org is known, within one distribution release", () => {
    const blind: KernelsKnown = { ...KNOWN, versionOf: () => undefined };
    const next = kernel("trixie-proposed-updates", "6.12.119-1");

    const found = comingKernels([STABLE, kernel("trixie-proposed-updates", "6.12.110-1"), next, SID], blind);

    expect(found.map(({ kernel: one }) => one.packageVersion)).toEqual(["6.12.119-1", "7.2.13-1"]);
    expect(found[1]?.aheadOf).toEqual([]);
  });

  test("are ahead of every kernel of their release, and of each series the newest is superseded by none", () => {
    const versions = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 0, max: 4 }));
    const listed = fc.tuple(fc.constantFrom("trixie", ...UPCOMING), versions);
    fc.assert(
      fc.property(fc.uniqueArray(listed, { selector: String, maxLength: 12 }), (all) => {
        const kernels = all.map(([suite, [series, patch]]) => kernel(suite, `6.${series}.${patch}-1`));
        const current = kernels.filter((one) => !KNOWN.isUpcoming(one));
        const found = comingKernels(kernels, KNOWN);
        const number = (one: CatalogKernel) => KNOWN.versionOf(one)?.series ?? 0;
        const value = (one: CatalogKernel) => number(one) * 1000 + (KNOWN.versionOf(one)?.patch ?? 0);
        for (const { kernel: one, supersededBy } of found) {
          expect(KNOWN.isUpcoming(one)).toBe(true);
          expect(current.every((other) => value(one) > value(other))).toBe(true);
          const newer = found.filter(
            ({ kernel: other }) => number(other) === number(one) && value(other) > value(one),
          );
          expect(supersededBy === undefined).toBe(newer.length === 0);
        }
        const ahead = kernels.filter(
          (one) => KNOWN.isUpcoming(one) && current.every((other) => value(one) > value(other)),
        );
        expect(found).toHaveLength(ahead.length);
      }),
    );
  });
});

describe("readiness", () => {
  const seen = { firstSeen: "2026-11-20T06:00:00.000Z", unseenAt: "2026-11-19T06:00:00.000Z" };
  const arrived = { ...seen, firstListed: "2026-11-20T00:00:00.000Z" };
  const loaded = (of: CatalogKernel, at: string) => ({
    ...{ driver: "doorbell", series: "0.1.0", kernel: kernelName(of) },
    ...{ built: at, loaded: at },
  });
  const share = (kernels: readonly CatalogKernel[], history: Parameters<typeof readinessOf>[1]) => {
    const { rows: _, lead, ...counts } = readinessOf(kernels, history, [], KNOWN);
    return { ...counts, median: lead.median };
  };

  test("counts a kernel that was proven as a proposed one, from the day on which another suite had it", () => {
    const proposed = kernel("trixie", "6.12.119-1", {
      sources: ["debian/trixie", "debian/trixie-proposed-updates"],
      ...{ ...arrived, arrived: "2026-11-28T00:00:00.000Z" },
    });

    expect(share([proposed], [loaded(proposed, "2026-11-24T00:00:00.000Z")])).toEqual({
      ...{ kernels: 1, proven: 1, unseen: 0, median: 4 },
    });
    expect(share([proposed], [loaded(proposed, "2026-11-28T00:00:01.000Z")])).toMatchObject({ proven: 0 });
  });

  test("counts a proof for the same release of kernel.org in another suite, and for no other", () => {
    const backport = kernel("trixie", "7.3.4-1~bpo13+1", arrived);
    const early = "2026-11-10T00:00:00.000Z";
    const [same, other] = [kernel("sid", "7.3.4-1"), kernel("sid", "7.3.3-1")];
    const cloud = kernel("sid", "7.3.4-1", { flavour: "cloud", kversion: "7.3.4-cloud-amd64" });
    const late = loaded(backport, "2026-11-21T00:00:00.000Z");

    expect(share([backport, same], [late, loaded(same, early)])).toMatchObject({
      kernels: 1,
      proven: 1,
      median: 10,
    });
    for (const wrong of [other, cloud])
      expect(share([backport, wrong], [late, loaded(wrong, early)])).toMatchObject({ kernels: 1, proven: 0 });
  });

  test("counts kernels on which a driver was tried in vain, and leaves out those that nobody saw come", () => {
    const [there, failed] = [kernel("trixie", "6.12.117-1"), kernel("trixie", "6.12.118-1", arrived)];
    const tried = [{ driver: "doorbell", series: "0.1.0", kernel: kernelName(failed) }];

    const readiness = readinessOf([there, failed], [loaded(there, "2026-11-01T00:00:00.000Z")], tried, KNOWN);

    expect(readiness).toMatchObject({ kernels: 1, proven: 0, unseen: 1 });
    expect(readiness.rows[0]).not.toHaveProperty("proven");
  });
});
