/** What every distribution must do, whatever its packages are called. */
import { describe, expect, test } from "vitest";
import type {
  Distribution,
  ListedKernel,
  ListedPackage,
  Release,
} from "../../src/kernel/distributions/distribution.ts";
import { findRelease } from "../../src/kernel/distributions/index.ts";
import { PathSegment } from "../../src/kernel/path-segment.ts";
import { makeListedPackage } from "../support/kernels.ts";

/** `name version architecture [what it depends on or provides]` */
export type PackageWords = readonly [
  name: string,
  version: string,
  architecture: ListedPackage["architecture"],
  more?: string,
];

export interface DistributionSample {
  readonly packages: readonly PackageWords[];
  /** `uname -r flavour architecture: headers | image | modules`, oldest version first. */
  readonly kernels: readonly string[];
  /** Packages of the archive that are no kernels. */
  readonly others: readonly PackageWords[];
  /** Two of its versions, the older first. */
  readonly order: readonly [string, string];
}

export function distributionContract(distribution: Distribution, sample: DistributionSample): void {
  const listed = (words: readonly PackageWords[], source = "source") =>
    words.map((one) => toListed(distribution, one, source));
  const packages = listed(sample.packages);

  describe(`${distribution.id} (${distribution.releases[0]?.key}, …)`, () => {
    test("has releases that are found by their keys, all safe names", () => {
      expect(distribution.releases.length).toBeGreaterThan(0);
      for (const release of distribution.releases) {
        expect(findRelease(release.key)).toMatchObject({ distribution, release });
        expect([release.key, release.version, release.codename].map(isSegment)).toEqual([true, true, true]);
      }
    });

    test("says where each release is", () => {
      for (const release of distribution.releases) expect(placesOf(distribution, release)).toEqual([]);
    });

    test("makes releases of later versions only as the others are made", () => {
      for (const version of ["", "x", "../1", "9.4.1.2", "1".repeat(200), "9\n"]) {
        expect(distribution.releaseOf?.(version), version).toBeUndefined();
      }
      const last = distribution.releases.at(-1) as Release;
      const made = distribution.releaseOf?.(last.version);
      if (made !== undefined) expect(made.key).toBe(last.key);
    });

    test("asks an index for every package that it needs", () => {
      for (const [name] of sample.packages) expect(isSought(distribution, name), name).toBe(true);
    });

    test("knows its kernels, with their headers, images and modules", () => {
      const kernels = distribution.kernelsOf([...packages, ...listed(sample.others)]);

      expect(kernels.toSorted((a, b) => order(distribution, a, b)).map(wordsOf)).toEqual(sample.kernels);
      expect(kernels.flatMap(({ missing }) => missing)).toEqual([]);
      for (const { kversion, flavour } of kernels)
        expect([kversion, flavour].map(isSegment)).toEqual([true, true]);
    });

    test("takes nothing else for a kernel", () => {
      expect(distribution.kernelsOf(listed(sample.others))).toEqual([]);
      expect(distribution.kernelsOf([])).toEqual([]);
    });

    test("does not care in which order an index lists", () => {
      const turned = distribution.kernelsOf(packages.toReversed());

      expect(turned.map(wordsOf).toSorted()).toEqual(sample.kernels.toSorted());
    });

    test("has one kernel with two sources where two list it", () => {
      const twice = [...packages, ...listed(sample.packages, "other")];

      const kernels = distribution.kernelsOf(twice);

      expect(kernels).toHaveLength(sample.kernels.length);
      for (const { sources } of kernels) expect(sources.toSorted()).toEqual(["other", "source"]);
    });

    test("keeps to itself what only an index has to know", () => {
      const said = JSON.stringify(distribution.kernelsOf(packages).map((kernel) => kernel.packages));

      expect(said).not.toMatch(/"(depends|provides)"/);
    });

    test("orders versions", () => {
      const [older, newer] = sample.order;

      expect(distribution.compareVersions(older, newer)).toBeLessThan(0);
      expect(distribution.compareVersions(newer, older)).toBeGreaterThan(0);
      expect(distribution.compareVersions(older, older)).toBe(0);
    });
  });
}

function toListed(distribution: Distribution, words: PackageWords, source: string): ListedPackage {
  const [name, version, architecture, more] = words;
  const plain = { ...makeListedPackage({ name, version, architecture }), source };
  if (distribution.format === "deb") return { ...plain, depends: more ?? "" };
  return more === undefined ? plain : { ...plain, provides: [{ name: `${name}-uname-r`, version: more }] };
}

function wordsOf({ kversion, flavour, architecture, packages }: ListedKernel): string {
  const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name).join(" ");
  const { headers, image, modules } = packages;
  return `${kversion} ${flavour} ${architecture}: ${names(headers)} | ${names(image)} | ${names(modules)}`;
}

function order(distribution: Distribution, a: ListedKernel, b: ListedKernel): number {
  return (
    distribution.compareVersions(a.packageVersion, b.packageVersion) || (wordsOf(a) < wordsOf(b) ? -1 : 1)
  );
}

function isSegment(text: string): boolean {
  return PathSegment.safeParse(text).success;
}

/** What is wrong with the places of a release. */
function placesOf(distribution: Distribution, { key }: Release): string[] {
  const known = findRelease(key);
  if (known?.format === "deb") {
    const { suites } = known.release;
    const names = suites.map(({ name, archive }) => `${name} ${archive}`);
    return [
      ...(suites.length === 0 || new Set(names).size < names.length
        ? [`${key} has no suites of its own`]
        : []),
      ...suites.flatMap(({ name, archive }) =>
        isSegment(name) && isUrl(known.distribution.mirrors[archive] ?? "") ? [] : [`${key}: ${name}`],
      ),
    ];
  }
  const repositories = known?.format === "rpm" ? known.release.repositories : [];
  const names = repositories.map(({ name }) => name);
  return [
    // Who must subscribe has to say where.
    ...(repositories.length === 0 && distribution.id !== "rhel" ? [`${key} has no repositories`] : []),
    ...(new Set(names).size < names.length ? [`${key} has two repositories of one name`] : []),
    ...repositories.flatMap(({ name, location }) =>
      isSegment(name) && location.urls.length > 0 && location.urls.every(isUrl) ? [] : [`${key}: ${name}`],
    ),
  ];
}

function isUrl(text: string): boolean {
  return /^https?:\/\/[a-z0-9.-]+\//.test(text) && URL.canParse(text);
}

function isSought(distribution: Distribution, name: string): boolean {
  return distribution.format === "rpm"
    ? distribution.packageNames.test(name)
    : distribution.packagePrefixes.some((prefix) => `${name}\n`.startsWith(prefix));
}
