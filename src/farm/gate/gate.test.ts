import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { aboutThese, CATALOG, makeManifest } from "../../../test/support/artifacts.ts";
import { farmWith } from "../../../test/support/stored-farm.ts";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { sha256 } from "../../base/json.ts";
import { CHECK_NAMES } from "../../check/checks/index.ts";
import type { Verdict } from "../../check/verdict.ts";
import { generateMatrix } from "../../matrix/generate.ts";
import { readPublished } from "../../registry/generations.ts";
import { type Listed, listAll } from "../../registry/standing.ts";
import { openGate } from "./gate.ts";

const POLICY = "require: [load]\nstandIns: {load: [siblingLoad]}\n";
const [LOADED] = generateMatrix(CATALOG, [{ name: "doorbell", version: "0.1.0" }], [{}]) as [
  ReturnType<typeof generateMatrix>[number],
];
const SOURCE = makeManifest(LOADED, []).identity.driver.source;

test.each([
  ["the very source", SOURCE, true],
  ["other source under the same version", sha256("another source"), false],
  ["source that nobody knows", undefined, false],
])("a sibling's load test stands in for %s: %s, %s", async (_, source, isStable) => {
  const given = { element: LOADED, verdicts: [verdict("load", "pass", "loaded")], isStable: true };
  const farm = await farmWith([given], POLICY);
  const state = await readPublished(farm.store);
  const gate = await openGate(
    farm,
    () => state,
    () => new Date(),
  );

  const judged = await gate.judge(
    { ...LOADED, kversion: "6.1.0-99-amd64" },
    [{ name: "doorbell", digest: sha256("new bytes") }],
    [verdict("load", "unknown", "no boot image")],
    source,
  );

  expect(judged.isStable).toBe(isStable);
});

describe("where an artifact stands", () => {
  const PASSED = CHECK_NAMES.map((check) => verdict(check, "pass", "good"));
  const BROKEN = PASSED.map((one) => (one.check === "load" ? verdict("load", "fail", "it oopsed") : one));
  const EXCEPTED = `exceptions: [{check: load, owner: ann, reason: known, until: "2026-12-31"}]\n`;

  interface How {
    readonly policy?: string;
    /** Another one since. */
    readonly later?: string;
    /** What was found out since. */
    readonly evidence?: readonly Verdict[];
    readonly day?: string;
  }

  /** One artifact as a run leaves it, and how often the store is read to tell where it stands on a day. */
  async function noted(
    verdicts: readonly Verdict[],
    { policy = "", later, evidence = [], day = "2026-11-28" }: How = {},
  ) {
    const at = new Date(`${day}T10:00:00Z`);
    const farm = await farmWith([{ element: LOADED, verdicts }], policy || "{}");
    const state = await readPublished(farm.store);
    const [candidate] = listAll(state.indices) as [Listed];
    const night = await openGate(
      farm,
      () => state,
      () => new Date("2026-11-27T00:00:00Z"),
    );
    const about = verdicts.map((one) => aboutThese(one));
    const judged = await night.judge(LOADED, candidate.entry.modules, about, SOURCE);
    const reasons = judged.refusals.length === 0 ? {} : { reasons: [...judged.refusals] };
    const entry = { ...candidate.entry, ...night.noted(judged, true), ...reasons };
    const channel = judged.isStable ? ("stable" as const) : ("candidate" as const);
    const decisions =
      evidence.length === 0
        ? []
        : [{ ...night.decision(entry, judged, "x"), action: "evidence" as const, verdicts: [...evidence] }];
    if (later !== undefined) await writeFile(join(farm.config.base, "policy.yaml"), later);
    const reads: string[] = [];
    const store = {
      ...farm.store,
      read: (path: string) => {
        reads.push(path);
        return farm.store.read(path);
      },
    };
    const gate = await openGate(
      { ...farm, store },
      () => ({ ...state, decisions }),
      () => at,
    );
    const { word, reasons: why } = await gate.standing({ ...candidate, entry, channel });
    return { word, why, reads: reads.length };
  }

  test.each([
    ["all is well", PASSED, {}, "stable", ""],
    [
      "all is well, by another policy than today's",
      PASSED,
      { later: "require: [format, load]" },
      "stable",
      "",
    ],
    ["a check failed", BROKEN, {}, "candidate", "load: fail: it oopsed"],
    ["somebody answers for it", BROKEN, { policy: EXCEPTED, day: "2026-12-31" }, "stable", ""],
  ])("is told by the index alone where %s", async (_, verdicts, how, word, why) => {
    expect(await noted(verdicts, how)).toEqual({ word, why: why === "" ? [] : [why], reads: 0 });
  });

  test.each([
    [
      "an exception ended",
      BROKEN,
      { policy: EXCEPTED, day: "2027-01-01" },
      2,
      ["stable", "now load: fail: it oopsed; the exception by ann ended on 2026-12-31"],
    ],
    [
      "the policy asks for more",
      PASSED.filter(({ check }) => check !== "reproducible"),
      { later: "require: [reproducible]" },
      1,
      ["stable", "now reproducible: unknown: not built a second time yet; `kmodfarm rebuild` does that"],
    ],
    [
      "something was found out since",
      BROKEN,
      { evidence: [aboutThese(verdict("load", "pass", "again"))] },
      2,
      ["candidate", "the policy now allows it: run `kmodfarm promote` to make it stable"],
    ],
  ])(
    "is asked of its manifest, and of its statement if one is required, where %s",
    async (_, verdicts, how, reads, [word, why]) => {
      expect(await noted(verdicts, how)).toEqual({ word, why: [why], reads });
    },
  );

  test("is never told by the index alone where other artifacts or keys decide", async () => {
    const farm = await farmWith([], POLICY);
    const state = await readPublished(farm.store);
    const gate = await openGate(
      farm,
      () => state,
      () => new Date(),
    );
    const modules = [{ name: "doorbell", digest: sha256("new bytes") }];

    const judged = await gate.judge(LOADED, modules, [verdict("load", "unknown", "no boot image")], SOURCE);

    expect(gate.noted(judged, true)).toEqual({ verdicts: { load: "unknown" } });
    expect(gate.noted({ ...judged, isOpen: false }, false)).toEqual({ verdicts: { load: "unknown" } });
  });
});
