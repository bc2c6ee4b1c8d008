import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { dkmsVersion, NEWEST_DKMS } from "./dkms.ts";
import { DISTRIBUTIONS } from "./index.ts";

describe("the DKMS that is followed", () => {
  test.each([
    ["debian11", "2.8.4"],
    ["debian12", "3.0.10"],
    ["debian13", "3.2.2"],
    ["almalinux9.4", NEWEST_DKMS],
    ["fedora99", NEWEST_DKMS],
  ])("is the release's own, or what somebody would install: %s", (release, version) => {
    expect(dkmsVersion(release)).toBe(version);
  });

  test("is told in the documentation for each release that has one of its own", () => {
    const told = readFileSync(new URL("../../../docs/drivers.md", import.meta.url), "utf8");
    const releases = DISTRIBUTIONS.flatMap((one) => one.releases.map(({ key }) => key));
    const own = releases.filter((key) => dkmsVersion(key) !== NEWEST_DKMS);

    expect(own.length).toBeGreaterThan(0);
    for (const key of own) expect(told).toMatch(new RegExp(`\\| \`${key}\` +\\| ${dkmsVersion(key)} +\\|`));
    expect(told).toContain(NEWEST_DKMS);
  });
});
