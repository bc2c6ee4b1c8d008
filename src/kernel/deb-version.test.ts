import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { versionOrderContract } from "../../test/contracts/version-order.ts";
import { digits, neighbours, realNames, similarPairs } from "../../test/support/versions.ts";
import { compareDebVersions } from "./deb-version.ts";

/** Pairs that have misled comparators: ours and others. */
const TRAPS: readonly (readonly [string, string])[] = [
  ["6.1.01a", "6.1.1b"],
  ["1.010", "1.10"],
  ["1.0010", "1.9"],
  ["1.1", "1.01"],
  ["6.1.0", "6.1"],
  ["6.1.", "6.1.0"],
  ["6.1.192-2", "6.1.192-10"],
  ["6.12.107-1", "6.12.107-1~bpo12+1"],
  ["6.12.113-1~deb12u1", "6.12.113-1"],
  ["6.12.113-1~deb12u1", "6.12.113-1~bpo12+1"],
  ["6.1.176-1+b1", "6.1.176-1"],
  ["6.1.176-1+deb12u1", "6.1.176-1+b1"],
  ["7.2~rc1-1~exp1", "7.2-1~exp1"],
  ["7.2~rc1", "7.2~rc10"],
  ["7.2~~", "7.2~"],
  ["7.2~", "7.2"],
  ["7.2~a", "7.2~~a"],
  ["1:1.0", "2.0"],
  ["0:1.0", "1.0"],
  ["00001:1.0", "1:1.0"],
  ["1.0-0", "1.0"],
  ["1.0-0~", "1.0"],
  ["1.0-1-1", "1.0-1"],
  ["1:1:1-1", "1:1-1"],
  ["1.0+a", "1.0a"],
  ["1.0+", "1.0."],
  ["1.0.", "1.0~"],
  ["1.0A", "1.0a"],
  ["1.0Z", "1.0+"],
  ["1a0", "1a"],
  ["1a~", "1a"],
  ["18446744073709551616", "18446744073709551615"],
  ["1.99999999999999999999999", "1.100000000000000000000000"],
];

const words = fc.constantFrom(
  "~",
  "~~",
  "+",
  ".",
  "a",
  "b",
  "Z",
  "rc",
  "~rc",
  "~deb12u",
  "~bpo12+",
  "+deb",
  "",
);
const part = fc
  .array(fc.tuple(words, fc.option(digits, { nil: "" })), { maxLength: 4 })
  .map((all) => all.flat().join(""));
const version = fc
  .record({
    epoch: fc.option(fc.nat(3).map(String), { nil: undefined, freq: 2 }),
    first: digits,
    upstream: part,
    inner: fc.constantFrom("", "", "-", ":"),
    revision: fc.option(part, { nil: undefined }),
  })
  .map(({ epoch, first, upstream, inner, revision }) => {
    // `:` needs an epoch before it and `-` a revision behind it; a revision is never empty.
    const middle = (inner === ":" && epoch === undefined) || (inner === "-" && !revision) ? "" : inner;
    return `${epoch === undefined ? "" : `${epoch}:`}${first}${middle}${upstream}${revision ? `-${revision}` : ""}`;
  });
const pair = similarPairs(version, words);

describe("compareDebVersions", () => {
  test("orders real versions of kernels", () => {
    const sorted = [
      "6.1.9-1",
      "6.1.10-1~bpo11+1",
      "6.1.10-1~deb11u1",
      "6.1.10-1",
      "6.1.10-1+b1",
      "7.2~rc3-1~exp1",
      "7.2-1",
    ];

    expect(sorted.toReversed().sort(compareDebVersions)).toEqual(sorted);
  });

  versionOrderContract(compareDebVersions, version, pair);

  test("agrees with dpkg on the traps and on 10,000 random pairs", () => {
    const random = fc.sample(pair, 10_000);

    expect(disagreements([...TRAPS, ...TRAPS.map(([a, b]) => [b, a] as const), ...random])).toEqual([]);
  });

  test("agrees with dpkg on all real versions of the lists, each with the next", (context) => {
    const versions = realNames("deb").map((one) => one.version);
    if (versions.length === 0) return context.skip("the real lists are not on this machine");

    const pairs = neighbours(versions, compareDebVersions);

    expect(pairs.length).toBeGreaterThan(1000);
    expect(disagreements(pairs)).toEqual([]);
  });

  test("would notice a disagreement", () => {
    expect(disagreements([["1", "2"]], () => 1)).toEqual(["1 1 2: its library says -1", "1 gt 2"]);
  });
});

/** dpkg's own library, all in one process; its numbers are Perl's, so long ones are left to the program. */
const LIBRARY = `use Dpkg::Version; while (<STDIN>) { my ($a, $b) = split; print version_compare($a, $b), "\\n" }`;
/** dpkg itself, a process for each. */
const PROGRAM =
  'while read -r a op b; do dpkg --compare-versions "$a" "$op" "$b" || echo "$a $op $b"; done 2>&1';
const PROGRAM_PAIRS = 1000;

/** Those of our verdicts that dpkg calls wrong: its library is asked about all, its program about the first. */
function disagreements(
  pairs: readonly (readonly [string, string])[],
  compare = compareDebVersions,
): string[] {
  const verdicts = pairs.map(([a, b]) => `${a} ${["lt", "eq", "gt"][Math.sign(compare(a, b)) + 1]} ${b}\n`);
  const ask = (argv: readonly string[], lines: readonly string[]) =>
    execFileSync(argv[0] as string, argv.slice(1), { input: lines.join(""), maxBuffer: 1 << 26 })
      .toString("utf8")
      .split("\n");
  const orders = ask(
    ["perl", "-e", LIBRARY],
    pairs.map(([a, b]) => `${a} ${b}\n`),
  );
  return [
    ...pairs.flatMap(([a, b], index) => {
      const ours = Math.sign(compare(a, b));
      const isSame = String(ours) === orders[index] || /\d{16}/.test(`${a} ${b}`);
      return isSame ? [] : [`${a} ${ours} ${b}: its library says ${orders[index]}`];
    }),
    ...ask(["sh", "-c", PROGRAM], verdicts.slice(0, PROGRAM_PAIRS)).filter((line) => line !== ""),
  ];
}
