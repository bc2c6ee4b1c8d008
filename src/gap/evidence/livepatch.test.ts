/** What live patches close on a node, and what they do not. */
import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../../test/support/gap.ts";
import { compareRpmVersions } from "../../kernel/rpm-version.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../../kernel/upstream-version.ts";
import { bookOf } from "../book.ts";
import { Gap } from "../gap.ts";
import type { RecordOf } from "../records.ts";
import type { Target } from "../target.ts";

const CVE = "CVE-2024-1001";
const RELEASE = "6.1.102-108.177.amzn2023.x86_64";
const PACKAGE = "kernel-livepatch-6.1.102-108.177";
const TARGET: Target = {
  ...{ name: "amazon2023 on web-1", distribution: "amazon2023", packageVersion: "6.1.102-108.177.amzn2023" },
  ...{ packages: ["kernel"], proof: "fixed", day: "2024-08-05", compareVersions: compareRpmVersions },
  base: parseUpstreamVersion("6.1.102") as UpstreamVersion,
  node: { name: "web-1", release: RELEASE },
};
const PATCH: RecordOf<"livepatch"> = {
  ...{ type: "livepatch", node: "web-1", kernel: RELEASE, patch: "livepatch_a" },
  ...{ state: "applied", cves: [CVE], stackOrder: 1 },
};
const ADVISORY: RecordOf<"advisory"> = {
  ...{ type: "advisory", id: "ALAS2023LIVEPATCH-2024-001", release: "amazon2023", package: PACKAGE },
  ...{ status: "fixed", version: "1.0-2.amzn2023", cves: [CVE], livepatch: true },
};

function verdictWith(patches: readonly RecordOf<"livepatch">[], target = TARGET) {
  const book = bookOf([
    feedOf("cna", [makeCve(CVE, [["5.4", "a", "6.1.180", ""]])], "2024-12-01"),
    feedOf("livepatch", patches),
    feedOf("updateinfo", [ADVISORY]),
  ]);
  return new Gap(book).ofKernel(target).of(CVE);
}

describe("a CVE that a kernel has open", () => {
  test("is closed by a patch that is applied, on the node that has it", () => {
    expect(verdictWith([PATCH])).toMatchObject({
      verdict: "livepatched",
      evidence: expect.arrayContaining([
        { id: "livepatch", says: "livepatched", ref: "livepatch_a", feed: "livepatch" },
      ]),
    });
  });

  test.each<[string, Partial<RecordOf<"livepatch">>]>([
    ["is still being applied", { state: "in_transition" }],
    ["is disabled", { state: "not_applied" }],
    ["is on another node", { node: "web-2" }],
    ["is in a kernel that the node ran before", { kernel: "6.1.90-99.amzn2023.x86_64" }],
    ["closes others", { cves: ["CVE-2024-1002"] }],
  ])("stays open with a patch that %s", (_, change) => {
    expect(verdictWith([{ ...PATCH, ...change }]).verdict).toBe("unknown");
  });

  test("stays open in the kernel of which nobody says on which node it runs", () => {
    const { node: _, ...unknown } = TARGET;

    expect(verdictWith([PATCH], unknown).verdict).toBe("unknown");
  });

  test.each([
    ["1.0-1.amzn2023", "unknown"],
    ["1.0-2.amzn2023", "livepatched"],
    ["1.0-10.amzn2023", "livepatched"],
  ])("is closed by a package of the version that an advisory names, or a later one: %s", (version, word) => {
    const packaged = { ...PATCH, cves: [], package: { name: PACKAGE, version } };

    expect(verdictWith([packaged]).verdict).toBe(word);
  });

  test("is open again as soon as another patch begins to take the place of the one that closes it", () => {
    const next = { ...PATCH, patch: "livepatch_b", cves: [], replace: true, stackOrder: 2 };

    expect(verdictWith([PATCH, { ...next, state: "in_transition" }]).verdict).toBe("unknown");
    expect(verdictWith([PATCH, { ...next, state: "applied" }]).verdict).toBe("unknown");
    expect(verdictWith([PATCH, { ...next, state: "not_applied" }]).verdict).toBe("livepatched");
    expect(verdictWith([PATCH, { ...next, state: "applied", replace: false }]).verdict).toBe("livepatched");
    expect(verdictWith([PATCH, { ...next, state: "applied", cves: [CVE] }]).verdict).toBe("livepatched");
  });
});
