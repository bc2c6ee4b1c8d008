import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  makeCatalog,
  makeKernel,
  makeListedKernel,
  makePackage,
  makeSource,
} from "../../test/support/kernels.ts";
import { sha256 } from "../base/json.ts";
import type { ListedKernel } from "../kernel/distributions/distribution.ts";
import { factsByKernel, factsOf, fetchingFacts, idOf } from "../kernel/facts.ts";
import { kernelName } from "../kernel/kernel.ts";
import {
  type Catalog,
  type CatalogKernel,
  type CatalogSource,
  EMPTY_CATALOG,
  upcomingIn,
  wordOf,
} from "./catalog.ts";
import { asClaims, mergeCatalog, type ReleaseReport, uniteCatalogs } from "./merge.ts";

const NIGHTS = Array.from({ length: 9 }, (_, night) => `2026-02-0${night + 1}T00:00:00.000Z`);
const [FIRST, SECOND, THIRD] = NIGHTS as [string, string, string];
const names = Array.from({ length: 30 }, (_, abi) => `6.1.0-${abi + 10}-amd64`);

function report(
  kernels: readonly ListedKernel[],
  sources: readonly CatalogSource[] = [makeSource()],
): ReleaseReport {
  return { distribution: "debian12", sources, kernels, guests: [] };
}

const listed = (kversions: readonly string[], changes: Partial<ListedKernel> = {}) =>
  kversions.map((kversion) => makeListedKernel({ kversion, ...changes }));

/** One night after another, each one report of debian12. */
function nights(...reports: readonly ReleaseReport[]): Catalog {
  return reports.reduce(
    (catalog, one, night) => mergeCatalog(catalog, [one], { now: NIGHTS[night] as string }),
    EMPTY_CATALOG,
  );
}

const find = (catalog: Catalog, kversion: string): CatalogKernel => {
  const found = catalog.kernels.filter((kernel) => kernel.kversion === kversion);
  expect(found).toHaveLength(1);
  return found[0] as CatalogKernel;
};

describe("the union", () => {
  test("never loses a kernel or the day it was first seen, whatever sources say", () => {
    const status = fc.constantFrom("ok", "expired", "suspect", "failed", "notServed");
    const night = fc.record({
      distribution: fc.constantFrom("debian12", "debian13"),
      kversions: fc.subarray(names.slice(0, 6)),
      status: status as fc.Arbitrary<CatalogSource["status"]>,
      source: fc.constantFrom("debian/bookworm", "debian/bookworm-security"),
      acceptWithdrawals: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(night, { maxLength: NIGHTS.length }), (looks) => {
        let catalog = EMPTY_CATALOG;
        for (const [index, look] of looks.entries()) {
          const { distribution, source, acceptWithdrawals } = look;
          const kernels = listed(look.kversions, { sources: [source] });
          const sources = [makeSource({ id: source, status: look.status, distribution })];
          const next = mergeCatalog(catalog, [{ ...report(kernels, sources), distribution }], {
            now: NIGHTS[index] as string,
            acceptWithdrawals,
          });

          const firstSeen = new Map(next.kernels.map((kernel) => [kernelName(kernel), kernel.firstSeen]));
          for (const kernel of catalog.kernels)
            expect(firstSeen.get(kernelName(kernel))).toBe(kernel.firstSeen);
          for (const kversion of look.kversions) {
            const kernel = next.kernels.find(
              (one) => one.kversion === kversion && one.distribution === distribution,
            );
            expect(kernel?.withdrawnSince).toBeUndefined();
          }
          expect(firstSeen.size).toBe(next.kernels.length);
          catalog = next;
        }
      }),
    );
  });

  test("keeps what it is not told about", () => {
    const before = makeCatalog([makeKernel()], [makeSource()]);
    const other = { ...report([], [makeSource({ id: "debian/trixie" })]), distribution: "debian13" };

    const after = mergeCatalog(before, [other], { now: FIRST });

    expect(after.kernels).toEqual(before.kernels);
    expect(after.sources.map(({ id }) => id)).toEqual(["debian/bookworm", "debian/trixie"]);
  });

  test("is the same in whatever order kernels and sources are told", () => {
    const sources = [makeSource(), makeSource({ id: "debian/bookworm-security" })];
    const kernels = listed(names.slice(0, 5));

    const forth = mergeCatalog(EMPTY_CATALOG, [report(kernels, sources)], { now: FIRST });
    const back = mergeCatalog(EMPTY_CATALOG, [report(kernels.toReversed(), sources.toReversed())], {
      now: FIRST,
    });

    expect(back).toEqual(forth);
    expect(forth.kernels.map(({ kversion }) => kversion)).toEqual(names.slice(0, 5));
  });

  test("dates a kernel by the newest metadata that lists it, not by our clock", () => {
    const old = makeSource({ metadataDate: "2026-01-05T00:00:00.000Z" });
    const fresh = makeSource({ id: "debian/bookworm-security", metadataDate: "2026-01-07T00:00:00.000Z" });
    const [kernel] = listed(names.slice(0, 1), { sources: [fresh.id, old.id] });

    const { firstSeen, lastSeen, sources } = find(
      nights(report([kernel!], [old, fresh])),
      names[0] as string,
    );

    expect({ firstSeen, lastSeen, sources }).toEqual({
      firstSeen: FIRST,
      lastSeen: "2026-01-07T00:00:00.000Z",
      sources: [old.id, fresh.id],
    });
  });
});

describe("a kernel that is new", () => {
  const look = (night: number, changes: Partial<CatalogSource> = {}) =>
    makeSource({
      checkedAt: NIGHTS[night] as string,
      metadataDate: `2026-01-0${night + 1}T00:00:00.000Z`,
      ...changes,
    });
  const [old, fresh] = names as [string, string];

  test("was published between the look that did not list it and this one, by the suite's own date", () => {
    const catalog = nights(report(listed([old]), [look(0)]), report(listed([old, fresh]), [look(1)]));

    expect(find(catalog, fresh)).toMatchObject({
      ...{ firstSeen: SECOND, unseenAt: FIRST, firstListed: "2026-01-02T00:00:00.000Z" },
    });
  });

  test("keeps both", () => {
    const both = listed([old, fresh]);
    const catalog = nights(
      report(listed([old]), [look(0)]),
      report(both, [look(1)]),
      report(both, [look(2)]),
    );

    expect(find(catalog, fresh)).toMatchObject({ unseenAt: FIRST, firstListed: "2026-01-02T00:00:00.000Z" });
  });

  test("has neither where a source lists it at its first answer", () => {
    const other = look(1, { id: "debian/bookworm-backports" });
    const catalog = nights(
      report(listed([old]), [look(0)]),
      report(listed([fresh], { sources: ["debian/bookworm", other.id] }).concat(listed([old])), [
        look(1),
        other,
      ]),
    );

    for (const kversion of [old, fresh]) {
      expect(find(catalog, kversion)).not.toHaveProperty("unseenAt");
      expect(find(catalog, kversion)).not.toHaveProperty("firstListed");
    }
  });

  test("was not in the last metadata that was read, where the last look failed", () => {
    const { metadataDate } = look(0);
    const failed = look(1, { status: "failed", metadataDate: metadataDate as string });
    const catalog = nights(
      report(listed([old]), [look(0)]),
      report([], [failed]),
      report(listed([old, fresh]), [look(2)]),
    );

    expect(find(catalog, fresh)).toMatchObject({ unseenAt: metadataDate });
  });

  describe("of an upcoming source", () => {
    const PROPOSED = "debian/bookworm-proposed-updates";
    const proposed = (night: number, changes: Partial<CatalogSource> = {}) =>
      look(night, { id: PROPOSED, upcoming: true, ...changes });
    const before = report(listed([old], { sources: [PROPOSED] }), [look(0), proposed(0)]);
    const both = listed([old], { sources: ["debian/bookworm", PROPOSED] });

    test("arrives with the first metadata of another source that lists it, and keeps that date", () => {
      const arrived = nights(before, report(both, [look(1), proposed(1)]));
      const later = mergeCatalog(arrived, [report(listed([old]), [look(2), proposed(2)])], { now: THIRD });

      expect(find(nights(before), old)).not.toHaveProperty("arrived");
      for (const catalog of [arrived, later])
        expect(find(catalog, old).arrived).toBe("2026-01-02T00:00:00.000Z");
      expect(upcomingIn(arrived.sources)(find(arrived, old))).toBe(false);
    });

    test("does not arrive because its source is not called upcoming any more", () => {
      const { upcoming: _, ...plain } = proposed(1);
      const catalog = nights(before, report(listed([old], { sources: [PROPOSED] }), [look(1), plain]));

      expect(find(catalog, old)).not.toHaveProperty("arrived");
      expect(upcomingIn(catalog.sources)(find(catalog, old))).toBe(false);
    });
  });

  test("of another farm has no times of ours", () => {
    const theirs = nights(
      report(listed([old]), [look(0, { since: FIRST })]),
      report(listed([old, fresh]), [look(1)]),
    );

    const { catalog } = asClaims({ catalog: theirs, facts: [] });

    expect(JSON.stringify(catalog)).not.toMatch(/unseenAt|firstListed|since"/);
  });
});

describe("a kernel that is no longer listed", () => {
  test("is withdrawn when its source is well, since the first night that says so", () => {
    const [kept, gone] = [names.slice(1), names[0] as string];

    const catalog = nights(report(listed(names)), report(listed(kept)), report(listed(kept)));

    expect(find(catalog, gone)).toMatchObject({ withdrawnSince: SECOND, firstSeen: FIRST });
    expect(find(catalog, gone)).not.toHaveProperty("staleSince");
    expect(catalog.sources[0]?.status).toBe("ok");
  });

  test("is not withdrawn any more when it comes back", () => {
    const all = report(listed(names));

    const catalog = nights(all, report(listed(names.slice(1))), all);

    expect(find(catalog, names[0] as string)).not.toHaveProperty("withdrawnSince");
  });

  test.each(["failed", "suspect", "expired"] as const)("is stale when its source is %s", (status) => {
    const down = report([], [makeSource({ status })]);

    const catalog = nights(report(listed(names)), down, down);

    expect(catalog.kernels).toHaveLength(names.length);
    expect(catalog.kernels.every(({ staleSince }) => staleSince === SECOND)).toBe(true);
    expect(catalog.kernels.some(({ withdrawnSince }) => withdrawnSince !== undefined)).toBe(false);
  });

  test("is left as it was by a report of other sources", () => {
    const elsewhere = report([], [makeSource({ id: "debian/bookworm-updates" })]);

    const before = nights(report(listed(names)));
    const catalog = nights(report(listed(names)), elsewhere);

    expect(catalog.kernels).toEqual(before.kernels);
    expect(catalog.sources).toHaveLength(before.sources.length + 1);
  });

  test("stays stale while one of its sources is out of reach", () => {
    const both = [makeSource(), makeSource({ id: "debian/bookworm-security" })];
    const kernels = listed(names, { sources: both.map(({ id }) => id) });
    const half = [makeSource(), makeSource({ id: "debian/bookworm-security", status: "failed" })];

    const catalog = nights(report(kernels, both), report(kernels.slice(1), half));

    expect(find(catalog, names[0] as string)).toMatchObject({ staleSince: SECOND });
    expect(find(catalog, names[0] as string)).not.toHaveProperty("withdrawnSince");
  });

  test("is neither once its source is well again and lists it", () => {
    const all = report(listed(names));

    const catalog = nights(all, report([], [makeSource({ status: "failed" })]), all);

    expect(catalog.kernels.some((kernel) => "staleSince" in kernel || "withdrawnSince" in kernel)).toBe(
      false,
    );
  });
});

describe("a source that shrinks", () => {
  const statusAfter = (before: readonly string[], after: readonly string[], acceptWithdrawals = false) => {
    const first = mergeCatalog(EMPTY_CATALOG, [report(listed(before))], { now: FIRST });
    return mergeCatalog(first, [report(listed(after))], { now: SECOND, acceptWithdrawals });
  };

  test.each([
    ["one of two", 2, 1, "ok"],
    ["two of thirty", 30, 28, "ok"],
    ["two of twenty-one", 21, 19, "ok"],
    ["two of twenty", 20, 18, "suspect"],
    ["three of thirty", 30, 27, "suspect"],
    ["two of two", 2, 0, "suspect"],
    ["all", 30, 0, "suspect"],
  ])("by %s", (_, before, after, status) => {
    const catalog = statusAfter(names.slice(0, before), names.slice(0, after));

    expect(catalog.sources[0]?.status).toBe(status);
  });

  test("is not believed: what it lost is stale, not withdrawn, and it says how much", () => {
    const catalog = statusAfter(names.slice(0, 20), names.slice(2, 20));

    expect(catalog.sources[0]?.detail).toBe(
      `2 of its 20 kernels are gone at once (debian12/x86_64/${names[0]}_6.1.170-3, …)`,
    );
    expect(find(catalog, names[0] as string)).toMatchObject({ staleSince: SECOND });
    expect(find(catalog, names[0] as string)).not.toHaveProperty("withdrawnSince");
    expect(find(catalog, names[5] as string)).not.toHaveProperty("staleSince");
  });

  test("is seen through a swap that keeps the count", () => {
    const catalog = statusAfter(names.slice(0, 10), names.slice(5, 15));

    expect(catalog.sources[0]?.status).toBe("suspect");
    expect(catalog.kernels).toHaveLength(15);
  });

  test("stays suspect the next night, though nothing more is lost", () => {
    const shrunken = report(listed(names.slice(0, 10)));

    const catalog = nights(report(listed(names)), shrunken, shrunken);

    expect(catalog.sources[0]?.status).toBe("suspect");
    expect(find(catalog, names[20] as string)).toMatchObject({ staleSince: SECOND });
  });

  test("is taken at its word when a person says so, and is well from then on", () => {
    const accepted = statusAfter(names, names.slice(0, 10), true);
    const afterwards = mergeCatalog(accepted, [report(listed(names.slice(0, 10)))], { now: THIRD });

    expect(accepted.sources[0]?.status).toBe("ok");
    expect(find(accepted, names[20] as string)).toMatchObject({ withdrawnSince: SECOND });
    expect(afterwards.sources[0]?.status).toBe("ok");
    expect(afterwards.kernels).toHaveLength(names.length);
  });

  test("has lost nothing when its kernels moved to another suite of the release", () => {
    const security = makeSource({ id: "debian/bookworm-security" });
    const before = report(listed(names, { sources: [security.id] }), [security, makeSource()]);
    const after = report(listed(names, { sources: ["debian/bookworm"] }), [security, makeSource()]);

    const catalog = nights(before, after);

    expect(catalog.sources.map(({ status }) => status)).toEqual(["ok", "ok"]);
    expect(catalog.kernels.every(({ sources }) => sources.join() === "debian/bookworm")).toBe(true);
    expect(catalog.kernels.some((kernel) => "staleSince" in kernel || "withdrawnSince" in kernel)).toBe(
      false,
    );
  });
});

describe("expired metadata", () => {
  test("makes what only it lists stale, since it ran out", () => {
    const validUntil = "2026-01-20T00:00:00.000Z";
    const expired = makeSource({ status: "expired", accepted: true, validUntil });

    const catalog = nights(report(listed(names.slice(0, 2)), [expired]));

    expect(catalog.kernels.map(({ staleSince }) => staleSince)).toEqual([validUntil, validUntil]);
  });

  test("does not matter where fresh metadata lists the kernel too", () => {
    const sources = [makeSource({ status: "expired" }), makeSource({ id: "debian/bookworm-security" })];
    const kernels = listed(names.slice(0, 1), { sources: sources.map(({ id }) => id) });

    expect(nights(report(kernels, sources)).kernels[0]).not.toHaveProperty("staleSince");
  });
});

describe("build tools that kernels share", () => {
  const kernel = makeListedKernel();
  const newer = {
    ...kernel,
    packages: {
      ...kernel.packages,
      headers: kernel.packages.headers.map((one) =>
        one.name === "linux-kbuild-6.1" ? makePackage({ ...one, version: "6.1.999-1" }) : one,
      ),
      crossTools: [makePackage({ name: "linux-kbuild-6.1", version: "6.1.999-1", architecture: "aarch64" })],
    },
  };

  test("stay those that a kernel was first seen with", () => {
    const [only] = nights(report([kernel]), report([newer])).kernels;

    expect(only?.packages).toEqual(kernel.packages);
  });

  test("are given up when they can no longer be fetched, which is a new chance", () => {
    const first = nights(report([kernel]));
    const [known] = first.kernels as [CatalogKernel];
    const facts = factsByKernel([fetchingFacts(known, "notFetchable", FIRST)]);

    const [only] = mergeCatalog(first, [report([newer])], { now: SECOND, facts }).kernels;

    expect(only?.packages).toEqual(newer.packages);
    expect(factsOf(facts, known)).toHaveProperty("fetching");
    expect(factsOf(facts, only as CatalogKernel)).toEqual({});
  });
});

test("what was learned of kernels is nowhere in a catalog", () => {
  const before = makeCatalog([makeKernel()]);
  const [known] = before.kernels as [CatalogKernel];
  const facts = factsByKernel([fetchingFacts(known, "notLoadable", FIRST)]);
  const night = { now: SECOND, facts };

  expect(mergeCatalog(before, [report([makeListedKernel()])], night)).toEqual(
    mergeCatalog(before, [report([makeListedKernel()])], { now: SECOND }),
  );
});

describe("packages that are missing", () => {
  const whole = makeListedKernel();
  const half = {
    ...whole,
    packages: { ...whole.packages, headers: whole.packages.headers.slice(0, 1) },
    missing: ["linux-kbuild-6.1"],
  };

  test("are named while they never were there", () => {
    expect(nights(report([half])).kernels[0]).toMatchObject({ missing: ["linux-kbuild-6.1"] });
  });

  test("are no loss of what was known while a suite is out of reach", () => {
    const down = [makeSource(), makeSource({ id: "debian/bookworm-security", status: "failed" })];

    const [only] = nights(report([whole]), report([half], down)).kernels;

    expect(only?.packages).toEqual(whole.packages);
    expect(only).not.toHaveProperty("missing");
  });

  test("are forgotten once they are there", () => {
    const [only] = nights(report([half]), report([whole])).kernels;

    expect(only).not.toHaveProperty("missing");
    expect(only?.packages).toEqual(whole.packages);
  });
});

describe("the guest's userland", () => {
  const guest = (version: string) => ({
    distribution: "debian12",
    architecture: "x86_64" as const,
    packages: [makePackage({ name: "busybox-static", version })],
  });

  test("is the newest told, and stays when nothing is told", () => {
    const told = (version: string) => ({ ...report([]), guests: [guest(version)] });

    expect(nights(told("1"), told("2")).guests).toEqual([guest("2")]);
    expect(nights(told("1"), report([])).guests).toEqual([guest("1")]);
  });
});

describe("another farm's catalog", () => {
  const forged = makeKernel({ kversion: "6.1.0-10-amd64" });
  const theirs = makeCatalog([forged], [makeSource({ trusted: true })]);
  const facts = [
    {
      ...idOf(forged),
      headers: { of: sha256("x"), compiler: { family: "gcc", version: "4", source: "header" } },
    },
  ] as const;
  const ours = { catalog: makeCatalog([makeKernel({ kversion: "6.1.0-11-amd64" })]), facts: [] };
  const imported = uniteCatalogs(
    ours,
    asClaims({
      catalog: { ...theirs, guests: [{ distribution: "debian12", architecture: "x86_64", packages: [] }] },
      facts,
    }),
  );

  test("is what it claims, however it calls its sources", () => {
    const { sources, kernels, guests } = imported.catalog;
    const [kernel] = kernels.filter(({ kversion }) => kversion === forged.kversion);

    expect(sources.map((one) => [one.id, wordOf(one)])).toEqual([
      ["debian/bookworm", "vouching"],
      ["import:debian/bookworm", "claim"],
    ]);
    const named = Object.values(kernel?.packages ?? {})
      .flat()
      .map(({ source }) => source);
    expect(new Set([...named, ...(kernel?.sources ?? [])])).toEqual(new Set(["import:debian/bookworm"]));
    expect([guests, imported.facts]).toEqual([[], []]);
    expect(uniteCatalogs(imported, asClaims(imported))).toEqual(imported);
  });

  test("gives way to our own source", () => {
    const source = { sources: [makeSource()], guests: [], distribution: "debian12" };
    const kernels = listed([forged.kversion]);

    const after = mergeCatalog(imported.catalog, [{ ...source, kernels }], { now: SECOND });

    const { packages } = find(after, forged.kversion);
    expect(
      new Set(
        Object.values(packages)
          .flat()
          .map((one) => one.source),
      ),
    ).toEqual(new Set(["debian/bookworm"]));
  });
});

describe("uniteCatalogs", () => {
  test("adds what only the other farm knows, and keeps ours as it is", () => {
    const ours = makeCatalog([makeKernel({ kversion: "6.1.0-11-amd64", firstSeen: FIRST })]);
    const theirs = makeCatalog(
      [
        makeKernel({ kversion: "6.1.0-11-amd64", firstSeen: THIRD }),
        makeKernel({ kversion: "6.1.0-10-amd64", firstSeen: SECOND }),
      ],
      [makeSource({ status: "failed" }), makeSource({ id: "debian/trixie" })],
    );

    const facts = theirs.kernels.map((kernel) => fetchingFacts(kernel, "notFetchable", FIRST));

    const both = uniteCatalogs({ catalog: ours, facts: [] }, { catalog: theirs, facts });

    expect(both.catalog.kernels.map(({ kversion, firstSeen }) => [kversion, firstSeen])).toEqual([
      ["6.1.0-10-amd64", SECOND],
      ["6.1.0-11-amd64", FIRST],
    ]);
    expect(both.catalog.sources.map(({ id, status }) => [id, status])).toEqual([
      ["debian/bookworm", "ok"],
      ["debian/trixie", "ok"],
    ]);
    expect(both.facts.map(({ kversion }) => kversion)).toEqual(["6.1.0-10-amd64"]);
    expect(uniteCatalogs(both, { catalog: theirs, facts })).toEqual(both);
  });
});

describe("a list beside a repository", () => {
  const LIST = "kernel-crawler-x86_64/debian12";
  const kversion = "6.1.0-56-amd64";
  const repository = report(listed([kversion]));
  /** The same kernel by a list that gives digests of its own. */
  const strange = (trusted: { readonly trusted?: true } = {}) => {
    const [own] = listed([kversion], { sources: [LIST] });
    const evil = { sha256: "e".repeat(64), source: LIST };
    const headers = (own as ListedKernel).packages.headers.map((one) => ({ ...one, ...evil }));
    const packages = { headers, crossTools: [], image: [], modules: [] };
    const source = makeSource({ id: LIST, kind: "kernel-crawler", ...trusted });
    return report([{ ...(own as ListedKernel), packages }], [source]);
  };
  const digests = (catalog: Catalog) => find(catalog, kversion).packages.headers.map(({ sha256 }) => sha256);

  test("does not replace the packages that the repository vouches for", () => {
    expect(digests(nights(repository, strange()))).toEqual(digests(nights(repository)));
  });

  test("is replaced by them, its build tools too, which run in every build", () => {
    expect(digests(nights(strange(), repository))).toEqual(digests(nights(repository)));
  });

  test("does not replace the packages of a repository that signs none of its metadata", () => {
    const unsigned = { ...repository, sources: [makeSource({ unsigned: true })] };

    expect(digests(nights(unsigned, strange()))).toEqual(digests(nights(repository)));
  });

  test("has no say in the compiler of a kernel that a repository lists later", () => {
    const [own] = strange().kernels as [ListedKernel];
    const compiler = { family: "gcc", version: "4", source: "package" } as const;
    const announced = { ...strange(), kernels: [{ ...own, compiler }] };
    const silent = { ...repository, kernels: listed([kversion], { compiler: undefined }) };
    const stuck = makeCatalog([makeKernel({ kversion, compiler })]);

    expect(find(nights(announced, silent), kversion)).not.toHaveProperty("compiler");
    expect(find(nights(announced, silent, announced), kversion)).not.toHaveProperty("compiler");
    // Earlier versions kept it.
    expect(find(mergeCatalog(stuck, [silent], { now: SECOND }), kversion)).not.toHaveProperty("compiler");
  });

  test("does not decide since when a kernel is there that a repository lists later", () => {
    const unsigned = { ...repository, sources: [makeSource({ unsigned: true })] };
    const seen = (...reports: readonly ReleaseReport[]) => find(nights(...reports), kversion).firstSeen;

    expect(seen(strange(), repository)).toBe(SECOND);
    expect(seen(strange(), unsigned)).toBe(SECOND);
    expect(seen(strange(), repository, strange())).toBe(SECOND);
    expect(seen(strange(), strange())).toBe(FIRST);
    expect(seen(repository, strange(), repository)).toBe(FIRST);
    expect(seen(unsigned, repository)).toBe(FIRST);
    expect(seen(strange({ trusted: true }), repository)).toBe(FIRST);
  });

  test("counts as much where a person vouches for it", () => {
    expect(digests(nights(repository, strange({ trusted: true })))).not.toEqual(digests(nights(repository)));
  });
});
