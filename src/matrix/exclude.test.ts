import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { sharedFile } from "../../test/support/shared.ts";
import { type Exclusion, expiredExclusions, makeExcluder, parseBlocklist } from "./exclude.ts";

const TODAY = new Date("2026-11-23T12:00:00Z");

function reasons(exclusions: readonly Exclusion[], element = makeElement()): string[] {
  return [makeExcluder(exclusions, TODAY)(element)].flatMap((reason) => reason ?? []);
}

describe("exclusions", () => {
  test("leave out what they name, with the reason, and nothing else", () => {
    const kept = makeElement({ architecture: "aarch64" });
    const left = makeElement({ architecture: "x86_64" });

    const reasonOf = makeExcluder([{ architectures: ["x86_64"], reason: "no hardware" }], TODAY);

    expect([kept, left].map(reasonOf)).toEqual([undefined, "no hardware"]);
  });

  test.each<[string, Partial<Exclusion>, boolean]>([
    ["a whole release", { kernelRelease: "6\\.1\\.0-.*" }, true],
    ["part of a release", { kernelRelease: "6\\.1" }, false],
    ["all but some", { kernelRelease: ".*", unless: "6\\.1\\.0-.*" }, false],
    ["a distribution by its id", { distributions: ["debian"] }, true],
    ["another release of it", { distributions: ["debian13"] }, false],
    ["versions by a pattern", { driverVersion: "0.1.*" }, true],
    ["a pattern whose dot is a dot", { driverVersion: "0.1*1" }, true],
    ["other versions", { driverVersion: "1.*" }, false],
    ["another driver", { driver: "other" }, false],
    ["another flavour", { flavours: ["rt"] }, false],
    ["until yesterday", { until: "2026-11-22" }, false],
    ["until today", { until: "2026-11-23" }, true],
  ])("understand %s", (_, exclusion, isExcluded) => {
    const element = makeElement({ kversion: "6.1.0-56-amd64" });

    expect(reasons([{ ...exclusion, reason: "why" }], element)).toEqual(isExcluded ? ["why"] : []);
  });

  test("that ended are told apart", () => {
    const ended: Exclusion = { reason: "old", until: "2026-01-01" };

    expect(expiredExclusions([ended, { reason: "for ever" }], TODAY)).toEqual([ended]);
  });

  test("with a broken expression are an error that quotes it", () => {
    expect(() => reasons([{ kernelRelease: "(", reason: "why" }])).toThrow(/expression '\('/);
  });

  test("run on a linear-time engine", () => {
    const element = makeElement({ kversion: `${"a".repeat(100)}b` });

    expect(reasons([{ kernelRelease: "(a+)+", reason: "why" }], element)).toEqual([]);
  });
});

describe("parseBlocklist", () => {
  test("takes patterns, expressions, versions and the reason above them", () => {
    const { exclusions, problems } = parseBlocklist(
      "# TODO broken\n*.el6.*\n~4\\.18\\..* 2.3.0 mod\n5.4.0-1 * bpf\n",
    );

    expect(problems).toEqual([]);
    expect(exclusions).toEqual([
      { kernelRelease: ".*\\.el6\\..*", reason: "TODO broken" },
      { kernelRelease: "(?:4\\.18\\..*).*", driverVersion: "2.3.0", reason: "TODO broken" },
    ]);
  });

  test("keeps the meaning of a negative look-ahead at the start", () => {
    const { exclusions } = parseBlocklist("~(?!3\\.10\\.0).+\n");

    expect(reasons(exclusions, makeElement({ kversion: "4.18.0-1" }))).toHaveLength(1);
    expect(reasons(exclusions, makeElement({ kversion: "3.10.0-1160" }))).toHaveLength(0);
  });

  test("tells what it cannot carry over", () => {
    const { exclusions, problems } = parseBlocklist("~a(?=b)\n5.4.*\none two three four\n~[ 1.0\n");

    expect(exclusions).toHaveLength(1);
    expect(problems).toEqual([
      expect.stringMatching(/^line 1: '~a\(\?=b\)' looks around/),
      expect.stringMatching(/^line 3: .* is not understood/),
      expect.stringMatching(/^line 4: '~\[ 1.0' is not a regular expression/),
    ]);
  });

  test("refuses a text of which it understands nothing", () => {
    expect(() => parseBlocklist("- flavours: [rt]\n")).toThrow(/it excludes nothing: line 1/);
  });

  test("takes the whole comment above a line as its reason, and only the last line of the file's first", () => {
    const { exclusions } = parseBlocklist(
      "# Format:\n# a pattern\n# Broken\n1.*\n# No longer\n# supported: x/1\n2.*\n",
    );

    expect(exclusions.map(({ reason }) => reason)).toEqual(["Broken", "No longer supported: x/1"]);
  });

  const real = sharedFile("data/kernel-releases/BLOCKLIST");
  test.skipIf(!existsSync(real))("reads the real list whole", () => {
    const { exclusions, problems } = parseBlocklist(readFileSync(real, "utf8"));

    expect(problems).toEqual([]);
    expect(exclusions.length).toBeGreaterThan(60);
    expect(reasons(exclusions, makeElement({ kversion: "4.19.0-10-cloud-amd64" }))).toEqual([
      expect.stringContaining("ROX-6615"),
    ]);
    expect(reasons(exclusions, makeElement({ kversion: "4.18.0-513.5.1.el8.x86_64" }))).toHaveLength(1);
    expect(reasons(exclusions, makeElement({ kversion: "6.12.1-amd64" }))).toHaveLength(0);
  });
});
