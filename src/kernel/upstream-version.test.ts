import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseUpstreamVersion, showUpstreamVersion } from "./upstream-version.ts";

describe("a release of kernel.org", () => {
  test.each([
    ["6.1", { series: 6_001_000, patch: 0 }],
    ["6.1.0", { series: 6_001_000, patch: 0 }],
    ["6.1.300", { series: 6_001_000, patch: 300 }],
    ["2.6.32.8", { series: 2_006_032, patch: 8 }],
    ["2.6.32", { series: 2_006_032, patch: 0 }],
    ["7.3~rc7", { series: 7_003_000, patch: 0, prerelease: 7 }],
    ["7.3.0-rc7", { series: 7_003_000, patch: 0, prerelease: 7 }],
  ])("%s is read", (text, version) => {
    expect(parseUpstreamVersion(text)).toEqual(version);
  });

  test.each(["", "6", "6.1-56-amd64", "6.1.170-1", "2605.2.0", "6.1.2.3", "6.1.170 ", "6.1.1234567", "-1.2"])(
    "%j is none",
    (text) => {
      expect(parseUpstreamVersion(text)).toBeUndefined();
    },
  );

  test.each(["2.6.32", "2.6.32.8", "3.0", "4.19.10", "6.1-rc10", "6.1", "6.1.170"])(
    "%s is written as it is read",
    (text) => {
      const version = parseUpstreamVersion(text);

      expect(version === undefined ? undefined : showUpstreamVersion(version)).toBe(text);
    },
  );

  test("whatever the text, it is read the same again or not at all", () => {
    const texts = fc.oneof(
      fc.string(),
      fc.stringMatching(/^\d{1,4}\.\d{1,4}(\.\d{1,6}){0,3}([-~]rc\d{1,4})?$/),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const version = parseUpstreamVersion(text);
        if (version !== undefined)
          expect(parseUpstreamVersion(showUpstreamVersion(version))).toEqual(version);
      }),
    );
  });
});
