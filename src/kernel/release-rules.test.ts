import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedFile } from "../../test/support/shared.ts";
import { DISTRIBUTIONS } from "./distributions/index.ts";
import { kernelOfHeaders, parseHeaderUrl } from "./header-file.ts";
import { distributionOfTarget, inferRelease, partsOfRelease } from "./release-rules.ts";

const DOCUMENT = readFileSync(new URL("../../docs/release-rules.md", import.meta.url), "utf8");
const EXAMPLES = DOCUMENT.split("\n").flatMap((line) => {
  const cells = line.split("|").map((cell) => cell.trim());
  if (cells.length !== 6 || cells[1] === "target" || cells[1]?.startsWith("---")) return [];
  const [kversion = "", packageVersion, sourcePackage, listVersion] = (cells[3] ?? "")
    .split(",")
    .map((word) => word.trim() || undefined);
  const target = (cells[1] as string).replace(/-?\*$/, "");
  return [
    {
      evidence: { target, kversion, packageVersion: packageVersion ?? kversion, sourcePackage, listVersion },
      release: cells[4] as string,
    },
  ];
});

describe("inferRelease", () => {
  test("does what docs/release-rules.md says, example by example", () => {
    expect(EXAMPLES.length).toBeGreaterThan(50);
    for (const { evidence, release } of EXAMPLES) {
      const inferred = inferRelease(evidence);

      expect([evidence.kversion, inferred.release]).toEqual([evidence.kversion, release]);
      expect("inferred" in inferred).toBe(release !== "unknown");
    }
  });

  test("says unknown, and never something else, to words from outside", () => {
    const word = fc.oneof(
      fc.string(),
      fc.constantFrom("__proto__", "constructor", "toString", "../..", "\0", "a\nb", "9".repeat(500)),
    );
    const target = fc.constantFrom(
      ...new Set(EXAMPLES.map(({ evidence }) => evidence.target)),
      "constructor",
    );
    fc.assert(
      fc.property(
        target,
        word,
        word,
        word,
        word,
        (one, kversion, packageVersion, sourcePackage, listVersion) => {
          const { release } = inferRelease({
            target: one,
            kversion,
            packageVersion,
            sourcePackage,
            listVersion,
          });

          expect(release).toMatch(/^[a-z][a-z-]*v?[\w.+~-]*$/);
        },
      ),
    );
    expect(distributionOfTarget("constructor")).toBe("constructor");
  });

  test("places Debian's kernels as their suites do, and AlmaLinux's as their repositories", (context) => {
    const files = ["debian-2026-11", "almalinux-2025-10"].flatMap((name) =>
      ["x86_64", "aarch64"].map((machine) => sharedFile(`data/catalogs/${name}_${machine}.json`)),
    );
    if (!files.every(existsSync)) return context.skip("the real catalogs are not beside this checkout");
    const counts = { right: 0, wrong: 0, unknown: 0 };
    for (const file of files) {
      const lists = Object.values(JSON.parse(readFileSync(file, "utf8"))) as RichEntry[][];
      for (const { target, kernelrelease: kversion, headers, distro_version } of lists.flat()) {
        const own = headers.map(parseHeaderUrl).find((one) => one && kernelOfHeaders(one, target));
        const { release } = inferRelease({ target, kversion, packageVersion: own?.version ?? "" });
        const known = `${target}${distro_version}`;
        counts[release === "unknown" ? "unknown" : release === known ? "right" : "wrong"]++;
      }
    }

    console.log(`release rules against 426 known kernels: ${JSON.stringify(counts)}`);
    expect(counts).toEqual({ right: 426, wrong: 0, unknown: 0 });
  });
});

interface RichEntry {
  readonly target: string;
  readonly kernelrelease: string;
  readonly headers: readonly string[];
  readonly distro_version: string;
}

describe("release keys", () => {
  test.each([
    ["debian12", "debian", "12", "deb"],
    ["debiansid", "debian", "sid", "deb"],
    ["ubuntu22.04", "ubuntu", "22.04", "deb"],
    ["ubuntu19.10", "ubuntu", "19.10", "deb"],
    ["almalinux9.4", "almalinux", "9.4", "rpm"],
    ["amazonlinux2023", "amzn", "2023", "rpm"],
    ["amazonlinux1", "amzn", "1", "rpm"],
    ["opensuse-leap15.4", "opensuse-leap", "15.4", "rpm"],
    ["photon4.0", "photon", "4.0", "rpm"],
    ["flatcar2605.2.0", "flatcar", "2605.2.0", "other"],
    ["talosv1.6.0", "talos", "v1.6.0", "other"],
    ["arch", "arch", "", "other"],
    ["unknown", "unknown", "", "other"],
  ])("%s is %s %s, packaged as %s", (key, id, version, format) => {
    expect(partsOfRelease(key)).toEqual({ id, version, format });
  });

  test("of every distribution there is are taken apart as it says", () => {
    for (const { id, format, releases } of DISTRIBUTIONS)
      for (const { key, version } of releases) {
        expect(partsOfRelease(key)).toEqual({ id, version, format });
      }
  });
});
