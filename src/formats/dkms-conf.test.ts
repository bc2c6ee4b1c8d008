import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { plainValues } from "./dkms-conf.ts";

/** What a shell makes of it. */
function byBash(text: string): string[] {
  const script = `${text}\nfor one in "\${BUILD_DEPENDS[@]}"; do [ -z "$one" ] || printf '%s\\n' "$one"; done`;
  return execFileSync("bash", ["-c", script]).toString().split("\n").slice(0, -1);
}

describe("values that are written out", () => {
  test.each([
    ["in double quotes", 'BUILD_DEPENDS="base"'],
    ["in single quotes, with a place", "BUILD_DEPENDS[0]='base'"],
    ["without quotes", "BUILD_DEPENDS=base"],
    ["with a comment behind", 'BUILD_DEPENDS[0]="base" # for its symbols'],
    ["over two lines", 'BUILD_DEPENDS[0]=\\\n"base"'],
    ["a list", "BUILD_DEPENDS=(\"base\" other 'third')"],
    ["places in any order", 'BUILD_DEPENDS[1]="b"\nBUILD_DEPENDS[0]="a"'],
    ["said twice", 'BUILD_DEPENDS="a"\nBUILD_DEPENDS="b"'],
    ["a list in place of single ones", 'BUILD_DEPENDS[3]="a"\nBUILD_DEPENDS=(b)'],
    ["in a comment only", '# BUILD_DEPENDS="base"'],
    ["another directive", 'MY_BUILD_DEPENDS="base"\nBUILD_DEPENDS_REBUILD="yes"'],
    ["empty", 'BUILD_DEPENDS=""'],
    ["none", "PACKAGE_NAME=x"],
  ])("are what bash reads: %s", (_, text) => {
    expect(plainValues(text, "BUILD_DEPENDS")).toEqual(byBash(text));
  });

  test.each([
    'BUILD_DEPENDS="$BASE"',
    "BUILD_DEPENDS=`base`",
    'BUILD_DEPENDS=("$(base)")',
    'BUILD_DEPENDS="a\\"b"',
  ])("are not guessed: %s", (text) => {
    expect(plainValues(text, "BUILD_DEPENDS")).toEqual([]);
  });

  test("of a text that is too long to be one end in time", () => {
    const text = 'BUILD_DEPENDS=("a" '.repeat(100_000);

    expect(plainValues(text, "BUILD_DEPENDS")).toEqual([]);
  });
});
