/** What others read: valid by the rules of their formats, and joined back to what was judged. */
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { feedOf, makeCve } from "../../../test/support/gap.ts";
import { OPENVEX, OSV } from "../../../test/support/vex-schemas.ts";
import { compareDebVersions } from "../../kernel/deb-version.ts";
import { parseUpstreamVersion, type UpstreamVersion } from "../../kernel/upstream-version.ts";
import { bookOf } from "../book.ts";
import { Gap } from "../gap.ts";
import type { Target } from "../target.ts";
import { VERDICTS } from "../verdict.ts";
import { toCsv, toNdjson } from "./lines.ts";
import { toOpenVex } from "./openvex.ts";
import { toOsv } from "./osv.ts";

const CVSS = { v: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", s: 9.8, sev: "CRITICAL" };
/** One CVE for each verdict. */
const CVES = [
  makeCve("CVE-2024-1001", [["5.4", "a", "6.1.20", ""]]),
  makeCve("CVE-2024-1002", [["6.6", "a", "6.8", ""]]),
  makeCve("CVE-2024-1003", [["5.4", "a", "6.1.60", ""]], { files: ["drivers/x.c"] }),
  makeCve("CVE-2024-1004", [["5.4", "a", "6.1.60", ""]], {
    ...{
      title: '=HYPERLINK("x")\u001b[31m, a "title"\nof two lines',
      published: "2024-02-20T13:52:57+01:00",
      cvss: CVSS,
    },
  }),
  makeCve("CVE-2024-1005", [["5.4", "a", "6.6", ""]]),
  makeCve("CVE-2024-1006", [["5.4", "a", "6.1.60", ""]]),
  makeCve("CVE-2024-1007", [["5.4", "a", "6.1.60", ""]], { otherPairs: [["5.4", "b", "6.1.30", ""]] }),
  makeCve("CVE-2024-1008", [], { rejected: true }),
];
const PATCH = {
  type: "livepatch",
  node: "web-1",
  kernel: "6.1.0-28-amd64",
  patch: "lp",
  state: "applied",
} as const;
const BOOK = bookOf([
  feedOf("cna", CVES, "2024-06-01"),
  feedOf("livepatch", [{ ...PATCH, cves: ["CVE-2024-1006"] }]),
]);
const TARGET: Target = {
  ...{
    name: "debian12/x86_64/6.1.0-28-amd64_6.1.50-1",
    distribution: "debian12",
    packageVersion: "6.1.50-1",
  },
  ...{ packages: ["linux"], proof: "both", day: "2024-05-01", compareVersions: compareDebVersions },
  base: parseUpstreamVersion("6.1.50") as UpstreamVersion,
  node: { name: "web-1", release: "6.1.0-28-amd64" },
  builds: (file) => (file === "drivers/x.c" ? false : undefined),
};
const KERNEL = new Gap(BOOK).ofKernel(TARGET);
const UNKNOWN_CVE = KERNEL.of("CVE-2024-9999");
const ALL = [...BOOK.cves.map(({ id }) => KERNEL.of(id)), UNKNOWN_CVE];
const VEX = {
  ...{ id: "https://example.org/vex/1", author: "A farm", timestamp: "2024-06-02T00:00:00Z" },
  productOf: () => ({ purl: "pkg:deb/debian/linux@6.1.50-1" }),
};

const ajv = new Ajv2020({ allErrors: true, validateFormats: false });

test("there is one CVE for each verdict", () => {
  expect(ALL.map(({ verdict }) => verdict).toSorted()).toEqual(VERDICTS.toSorted());
});

describe("OpenVEX", () => {
  test("is valid, and says of each verdict what it means", () => {
    const document = toOpenVex(ALL, VEX);
    const isValid = ajv.compile(OPENVEX);

    expect(isValid(document), JSON.stringify(isValid.errors)).toBe(true);
    const { statements } = document as { statements: Record<string, unknown>[] };
    const said = statements.map(({ vulnerability, status, justification }) => [
      (vulnerability as { name: string }).name.slice(-4),
      ...[status, justification],
    ]);
    expect(said).toEqual([
      ["1001", "fixed", undefined],
      ["1002", "not_affected", "vulnerable_code_not_present"],
      ["1003", "not_affected", "vulnerable_code_not_present"],
      ["1004", "affected", undefined],
      ["1005", "affected", undefined],
      ["1006", "not_affected", "inline_mitigations_already_exist"],
      ["1007", "under_investigation", undefined],
      ["9999", "under_investigation", undefined],
    ]);
  });

  test("the rules that it is checked by refuse what is wrong", () => {
    const isValid = ajv.compile(OPENVEX);
    const bad = { vulnerability: { name: "CVE-2024-1" }, status: "not_affected" };

    expect(isValid({ ...toOpenVex(ALL, VEX), statements: [bad] })).toBe(false);
    expect(isValid({ ...toOpenVex(ALL, VEX), statements: [{ ...bad, status: "affected" }] })).toBe(false);
    expect(isValid({ ...toOpenVex(ALL, VEX), statements: [] })).toBe(false);
  });

  test("there is none without statements", () => {
    expect(toOpenVex([], VEX)).toBeUndefined();
    expect(toOpenVex([KERNEL.of("CVE-2024-1008")], VEX)).toBeUndefined();
  });
});

describe("OSV", () => {
  const options = {
    modified: "2024-06-02T00:00:00Z",
    ecosystemOf: (distribution: string) => (distribution === "debian12" ? "Debian:12" : undefined),
  };
  const of = (cve: string) => toOsv(cve, [{ target: TARGET, verdict: KERNEL.of(cve) }], BOOK, options);

  test("is valid, and lists the versions that are affected", () => {
    const isValid = ajv.compile(OSV);
    const record = of("CVE-2024-1004");

    expect(isValid(record), JSON.stringify(isValid.errors)).toBe(true);
    expect(record).toMatchObject({
      ...{ id: "CVE-2024-1004", published: "2024-02-20T12:52:57.000Z" },
      affected: [{ package: { ecosystem: "Debian:12", name: "linux" }, versions: ["6.1.50-1"] }],
    });
    expect(isValid({ ...record, modified: undefined, id: 1 })).toBe(false);
  });

  test("there is none of what is not affected, unknown, or of a distribution that it has no name for", () => {
    for (const { cve, verdict } of ALL)
      expect(of(cve) !== undefined, cve).toBe(verdict === "affected" || verdict === "no_upstream_fix");
    expect(
      toOsv(
        "CVE-2024-1004",
        [{ target: { ...TARGET, distribution: "x" }, verdict: KERNEL.of("CVE-2024-1004") }],
        BOOK,
        options,
      ),
    ).toBeUndefined();
  });
});

describe("lines", () => {
  test("a CSV of every cell of a kernel joins back to its verdicts", () => {
    const [head = "", ...lines] = [...toCsv(ALL)].map((line) => line.trimEnd());
    const columns = head.split(",");

    expect(lines).toHaveLength(ALL.length);
    for (const line of lines) {
      const cells = Object.fromEntries(line.split(",").map((cell, at) => [columns[at], cell]));
      const { verdict, fixedIn = "", reason = "", confidence } = KERNEL.of(cells.cve as string);
      expect(cells).toMatchObject({ kernel: TARGET.name, verdict, fixed_in: fixedIn, reason, confidence });
    }
  });

  test("what a spreadsheet would calculate stays text", () => {
    const [, line] = [...toCsv([{ ...UNKNOWN_CVE, target: '=1+1,"x"' }])];

    expect(line).toMatch(/^"'=1\+1,""x""",CVE-2024-9999,unknown,cve_not_in_feed,/);
  });

  test("each line of NDJSON is a verdict", () => {
    expect([...toNdjson(ALL)].map((line) => JSON.parse(line))).toEqual(JSON.parse(JSON.stringify(ALL)));
  });
});
