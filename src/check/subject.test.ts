import { describe, expect, test } from "vitest";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { heldTo } from "./subject.ts";
import type { Verdict } from "./verdict.ts";

const [BUILT, STRIPPED, PACKED, OTHER] = ["built", "stripped", "packed", "other"].map(sha256) as [
  Digest,
  Digest,
  Digest,
  Digest,
];
const SECOND = { name: "second", digest: sha256("second") };
const NODES_GET = [
  { name: "first", digest: BUILT, stripped: STRIPPED, compressed: { digest: PACKED } },
  SECOND,
];
const about = (word: Verdict["verdict"], ...digests: Digest[]): Verdict => ({
  ...verdict("load", word, "seen"),
  of: digests.map((digest) => ({ module: "first", sha256: digest })),
});

describe("a verdict counts", () => {
  test.each([
    ["the modules as they are inside", [STRIPPED, SECOND.digest]],
    ["the files that nodes get", [PACKED, SECOND.digest]],
    ["both", [PACKED, STRIPPED, SECOND.digest]],
  ])("when it is about %s", (_, digests) => {
    const given = [about("pass", ...digests), about("waived", ...digests)];

    expect(heldTo(NODES_GET, given)).toEqual(given);
  });

  test.each([
    ["a module before it was stripped, which nodes do not get", [BUILT, SECOND.digest]],
    ["another module", [OTHER, SECOND.digest]],
    ["another module too", [STRIPPED, SECOND.digest, OTHER]],
    ["one of two modules", [STRIPPED]],
    ["nothing", []],
  ])("as a failure when it is about %s", (_, digests) => {
    const [held] = heldTo(NODES_GET, [about("pass", ...digests)]);

    expect(held).toMatchObject({
      check: "load",
      verdict: "fail",
      reasons: [{ code: "otherBytes", text: expect.stringContaining("are not those that nodes would get") }],
    });
  });

  test("as unknown when an older version did not say what it saw", () => {
    const [pass, waived] = heldTo(NODES_GET, [verdict("load", "pass"), verdict("identity", "waived")]);

    expect([pass?.verdict, waived?.verdict]).toEqual(["unknown", "unknown"]);
    expect(pass?.reasons).toEqual([
      { code: "unnamedBytes", text: expect.stringContaining("`kmodfarm run` checks it again") },
    ]);
  });

  test("as it is when it is no pass, whatever it is about", () => {
    const given = [
      verdict("load", "fail", "oops"),
      about("unknown", OTHER),
      verdict("signature", "notApplicable"),
    ];

    expect(heldTo(NODES_GET, given)).toEqual(given);
  });
});
