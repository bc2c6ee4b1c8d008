import { expect, test } from "vitest";
import { CATALOG, makeManifest } from "../../test/support/artifacts.ts";
import { farmWith } from "../../test/support/stored-farm.ts";
import { makeVerdict as verdict } from "../../test/support/verdicts.ts";
import { sha256 } from "../base/json.ts";
import { generateMatrix } from "../matrix/generate.ts";
import { readPublished } from "../registry/generations.ts";
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
