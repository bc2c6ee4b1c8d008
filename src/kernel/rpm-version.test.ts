import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { versionOrderContract } from "../../test/contracts/version-order.ts";
import { sharedDirectory } from "../../test/support/temporary.ts";
import { digits, neighbours, realNames, similarPairs } from "../../test/support/versions.ts";
import { compareRpmVersions } from "./rpm-version.ts";

const DIRECTORY = sharedDirectory();

/** Pairs that have misled comparators. */
const TRAPS: readonly (readonly [string, string])[] = [
  ["1.05", "1.5"],
  ["1a", "1.a"],
  ["1.a", "1.1"],
  ["a", "1"],
  ["1..2", "1_2"],
  ["1.0.", "1.0"],
  ["1.0+", "1.0"],
  ["1.0~", "1.0"],
  ["1.0~~", "1.0~"],
  ["1.0^", "1.0"],
  ["1.0^", "1.0.1"],
  ["1.0^", "1.0a"],
  ["1.0^~", "1.0^"],
  ["1.0~^", "1.0~"],
  ["1.0~rc1^git1", "1.0~rc1"],
  ["1.0^.~", "1.0^~"],
  ["1.0.~", "1.0~"],
  ["~", "1"],
  ["^", "1"],
  [".", "1"],
  [".", "+"],
  ["1:1.0", "2.0"],
  ["0:1.0", "1.0"],
  ["00:1.0", "1.0"],
  [":1", "1"],
  ["a:1", "1"],
  ["1:2:3", "1:2"],
  ["1.0-1", "1.0"],
  ["1.0-", "1.0"],
  ["1.0-~1", "1.0"],
  ["1.0-1-2", "1.0-2-1"],
  ["18446744073709551616", "18446744073709551615"],
  ["1.99999999999999999999999", "1.100000000000000000000000"],
  ["1.é", "1.ü"],
  ["5.14.0-427.13.1.el9_4", "5.14.0-427.13.1.el9"],
  ["5.14.0-70.13.1.rt21.83.el9_0", "5.14.0-70.13.1.el9_0"],
  ["6.9.0-0.rc1.20240325git4cece7649650.15.fc41", "6.9.0-0.rc1.15.fc41"],
];

const words = fc.constantFrom("~", "~~", "^", "^^", "+", ".", "_", "a", "b", "Z", "rc", ".el9_", ".fc", "");
const part = fc
  .array(fc.tuple(words, fc.option(digits, { nil: "" })), { maxLength: 4 })
  .map((all) => all.flat().join(""));
const version = fc
  .record({
    epoch: fc.option(fc.constantFrom("0", "00", "1", "2", "10", ""), { nil: undefined, freq: 2 }),
    first: fc.oneof(
      digits,
      words.map((word) => word || "1"),
    ),
    rest: part,
    inner: fc.constantFrom("", "", "", "-", ":"),
    release: fc.option(part, { nil: undefined }),
  })
  .map(
    ({ epoch, first, rest, inner, release }) =>
      `${epoch === undefined ? "" : `${epoch}:`}${first}${inner}${rest}${release === undefined ? "" : `-${release}`}`,
  );
const pair = similarPairs(version, words);

describe("compareRpmVersions", () => {
  test("orders real versions of kernels", () => {
    const sorted = [
      "5.14.0-70.13.1.el9_0",
      "5.14.0-427.13.1.el9_4",
      "5.14.0-427.31.1.el9_4",
      "5.14.0-503.11.1.el9_5",
      "6.1.102-108.177.amzn2023",
      "6.12.25-32.101.amzn2023",
    ];

    expect(sorted.toReversed().sort(compareRpmVersions)).toEqual(sorted);
  });

  versionOrderContract(compareRpmVersions, version, pair);

  test("agrees with rpm on the traps and on 20,000 random pairs", () => {
    const random = fc.sample(pair, 20_000);

    expect(disagreements([...TRAPS, ...TRAPS.map(([a, b]) => [b, a] as const), ...random])).toEqual([]);
  });

  test("agrees with rpm on all real versions of the lists, each with the next and with others", (context) => {
    const versions = [...new Set(realNames("rpm").map((one) => one.version))];
    if (versions.length === 0) return context.skip("the real lists are not on this machine");
    const far = versions.map((one, index): [string, string] => [
      one,
      versions[(index * 7919 + 13) % versions.length] as string,
    ]);

    const pairs = [...neighbours(versions, compareRpmVersions), ...far];

    expect(versions.length).toBeGreaterThan(1000);
    expect(disagreements(pairs)).toEqual([]);
  });

  test("would notice a disagreement", () => {
    expect(disagreements([["1", "2"]], () => 1)).toEqual(["1 1 2: rpm says -1"]);
  });
});

/** Those of our verdicts that rpm does not share: one process for all. */
function disagreements(
  pairs: readonly (readonly [string, string])[],
  compare = compareRpmVersions,
): string[] {
  const file = join(DIRECTORY, "pairs.txt");
  writeFileSync(file, pairs.map(([a, b]) => `${a} ${b}\n`).join(""));
  const script = `%{lua: for line in io.lines("${file}") do
    local a, b = line:match("^(%S+) (%S+)$")
    local ok, said = pcall(rpm.vercmp, a, b)
    print((ok and said or "invalid") .. "\\n")
  end}`;
  const said = execFileSync("rpm", ["--eval", script], { maxBuffer: 1 << 26 })
    .toString("utf8")
    .split("\n");
  return pairs.flatMap(([a, b], index) => {
    const ours = Math.sign(compare(a, b));
    return String(ours) === said[index] ? [] : [`${a} ${ours} ${b}: rpm says ${said[index]}`];
  });
}
