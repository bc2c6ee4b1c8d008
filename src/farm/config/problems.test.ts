import { describe, expect, test } from "vitest";
import { parseConfig } from "./index.ts";

const DRIVER = "drivers: [{name: d, source: ., versions: [1.0.0]}]\n";

describe("what is wrong with a configuration", () => {
  test.each([
    ["select: {architectures: [amd64]}", 'select.architectures[0]: must be "x86_64" or "aarch64"'],
    ["select: [{}, {architectures: [amd64]}]", 'select[1].architectures[0]: must be "x86_64" or "aarch64"'],
    ["sources: [{kind: apt, releases: debian12}]", "sources[0].releases: must be a list"],
    ["sources: [{kind: apt}]", "sources[0].releases: is missing"],
    ["sources: [{kind: yum}]", `sources[0].kind: must be "apt" or "rpm-md" or "kernel-crawler"`],
    ["jobs: 1.5", "jobs: must be a whole number"],
    ["stor: x", `there is no setting "stor" (did you mean 'store'?)`],
    [
      "sources: [{kind: apt, releases: [debian12], strip: yes}]",
      `sources[0]: there is no setting "strip" here`,
    ],
    [
      "sources: [{kind: apt, releases: [debian12], architecture: x86_64}]",
      `sources[0]: there is no setting "architecture" (did you mean 'architectures'?)`,
    ],
    ["exclude: [{reasn: x}]", `exclude[0]: there is no setting "reasn" (did you mean 'reason'?)`],
    ["trusted: true", 'there is no setting "trusted" here'],
    ["colour: x", 'there is no setting "colour"'],
    ["jobs: 0", "jobs: "],
  ])("%s", (text, said) => {
    expect(() => parseConfig(DRIVER + text, "a.yaml")).toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringContaining(`a.yaml: ${said}`),
      }),
    );
  });

  test("names each misspelt word with the one that was meant, before what is missing for want of it", () => {
    expect(() => parseConfig("drivers: [{name: d, sorce: ., versons: [1.0.0]}]", "a.yaml")).toThrow(
      `a.yaml: drivers[0]: there is no setting "sorce" (did you mean 'source'?); ` +
        `drivers[0]: there is no setting "versons" (did you mean 'versions'?); drivers[0].source: is missing; and 1 more`,
    );
  });
});
