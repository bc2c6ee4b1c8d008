/** Statements of rebuilds on their way into a registry, and what the gate makes of them. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeManifest } from "../../../test/support/artifacts.ts";
import { makeElement } from "../../../test/support/elements.ts";
import { makeFailure, makeRebuild, makeSigner, type TestSigner } from "../../../test/support/statements.ts";
import { FARM, farmWith } from "../../../test/support/stored-farm.ts";
import { makeVerdict as verdict } from "../../../test/support/verdicts.ts";
import { sha256 } from "../../base/json.ts";
import { CHECK_NAMES } from "../../check/checks/index.ts";
import type { WatchedBuild } from "../../provenance/build.ts";
import type { Manifest } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { listAll } from "../../registry/standing.ts";
import { promote } from "../gate/moves.ts";
import { readPolicy } from "../gate/policy-file.ts";
import type { Farm } from "../open.ts";
import { addStatements } from "./statements.ts";

const ELEMENT = makeElement({ kversion: "6.1.0-56-amd64" });
const GOOD = CHECK_NAMES.filter((check) => check !== "reproducible").map((check) =>
  verdict(check, "pass", "good"),
);
const ANN = { by: "ann", why: "brought" };
const NOW = () => new Date("2026-11-27T00:00:00Z");
const MANIFEST = makeManifest(ELEMENT, []);
const MODULES = MANIFEST.modules.map(({ name, digests }) => ({ name, digest: digests.unsigned }));
const [alice, bob, carol, mallory] = [makeSigner(), makeSigner("ed25519"), makeSigner(), makeSigner()];

function buildOf({ identity, recipe, recipeKey }: Manifest): WatchedBuild {
  if (recipe.schema === "kmodfarm.import/1") throw new Error("nothing was built");
  return { identity, recipe, recipeKey, log: sha256("another log"), toolchain: "debian12" };
}

const rebuild = (signer: TestSigner, name = "urn:example:x") =>
  Buffer.from(signer.sign(makeRebuild(name, MODULES, buildOf(MANIFEST))));
const failure = (signer: TestSigner) => Buffer.from(signer.sign(makeFailure(MODULES, buildOf(MANIFEST))));

/** A farm with a candidate that lacks nothing but rebuilds. */
async function farmWanting(of: number, by: readonly TestSigner[], more = ""): Promise<Farm> {
  const names = by.map((_, index) => `key${index}.pem`);
  const policy = `require: [format, reproducible]\nreproducible: {of: ${of}, by: [${names.join(", ")}], notTheBuilder: true}\n${more}`;
  const farm = await farmWith([{ element: ELEMENT, verdicts: GOOD }], policy);
  for (const [index, { key }] of by.entries())
    await writeFile(
      join(farm.config.base, names[index] ?? ""),
      key.key.export({ type: "spki", format: "pem" }),
    );
  return farm;
}

const add = async (farm: Farm, ...bundles: readonly Buffer[]) =>
  (
    await addStatements(
      farm,
      bundles.map((bytes, at) => ({ name: `s${at}`, bytes })),
      ANN,
      NOW,
    )
  ).map(({ result }) => result);
const promoted = async (farm: Farm) => {
  const { moves } = await promote(farm, (listed) => listed, ANN, NOW);
  return moves.map(({ result, reasons }) => [result, ...reasons].join(": "));
};
const entryIn = async ({ store }: Farm) => {
  const [listed] = listAll((await readPublished(store)).indices);
  if (listed === undefined) throw new Error("nothing is listed");
  return listed.entry;
};

describe("statement add", () => {
  test("a gate that wants 2 of 3 promotes at the second distinct key, and not before", async () => {
    const farm = await farmWanting(2, [alice, bob, carol]);

    const before = await promoted(farm);
    const first = [await add(farm, rebuild(alice)), await promoted(farm)];
    const again = [await add(farm, rebuild(alice, "urn:example:another-name")), await promoted(farm)];
    const second = [await add(farm, rebuild(carol)), await promoted(farm)];

    expect(before).toEqual([
      expect.stringMatching(/^refused: reproducible: unknown: not built a second time/),
    ]);
    expect(first).toEqual([
      ["kept"],
      [expect.stringMatching(/^refused: reproducible: unknown: 1 of the 2 wanted keys/)],
    ]);
    expect(again).toEqual([["known"], first[1]]);
    expect(second).toEqual([["kept"], ["promoted"]]);
  });

  test("a rebuild with other bytes is shown, and blocks", async () => {
    const farm = await farmWanting(1, [alice, bob]);
    await add(farm, rebuild(alice), failure(bob));

    expect(await promoted(farm)).toEqual([
      expect.stringMatching(
        /^refused: reproducible: fail: sha256:\w{16} built it again: other bytes: tally\.ko in \.text/,
      ),
    ]);
  });

  test("what a stranger signed, what does not fit, and what names no artifact here is refused", async () => {
    const farm = await farmWanting(1, [alice]);
    const other = makeRebuild("urn:x", [{ name: "doorbell", digest: sha256("other") }], buildOf(MANIFEST));
    const elsewhere = buildOf({ ...MANIFEST, recipeKey: sha256("elsewhere") });

    expect(
      await add(
        farm,
        rebuild(mallory),
        Buffer.from(alice.sign(other)),
        Buffer.from(alice.sign(makeRebuild("urn:x", MODULES, elsewhere))),
        Buffer.from("{}"),
      ),
    ).toEqual(["refused", "refused", "refused", "refused"]);
    expect((await entryIn(farm)).rebuilds).toBeUndefined();
  });

  test("keys that are only to be kept do not count for the gate", async () => {
    const farm = await farmWanting(1, [alice], "rebuilders: [key-bob.pem]\n");
    await writeFile(
      join(farm.config.base, "key-bob.pem"),
      bob.key.key.export({ type: "spki", format: "pem" }),
    );

    expect(await add(farm, rebuild(bob))).toEqual(["kept"]);
    expect(await promoted(farm)).toEqual([expect.stringMatching(/0 of the 1 wanted key/)]);
  });

  test("is on the record, and the same artifact keeps it", async () => {
    const farm = await farmWanting(1, [alice]);
    await add(farm, rebuild(alice));

    const { decisions } = await readPublished(farm.store);
    expect(decisions.at(-1)).toMatchObject({
      action: "evidence",
      by: "ann",
      why: expect.stringMatching(/^brought: sha256:\w{16} built the same bytes again \(sha256:\w{64}\)$/),
      verdicts: [],
    });
    await promoted(farm);
    expect((await entryIn(farm)).rebuilds).toHaveLength(1);
  });

  test("without a policy, this farm's own second build counts", async () => {
    const farm = await farmWith([{ element: ELEMENT, verdicts: GOOD }], "require: [reproducible]");

    expect(await add(farm, rebuild(FARM))).toEqual(["kept"]);
    expect(await promoted(farm)).toEqual(["promoted"]);
  });

  test("a policy that wants more keys than it names is refused", async () => {
    const farm = await farmWanting(3, [alice, alice]);

    await expect(readPolicy(join(farm.config.base, "policy.yaml"))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("3 are wanted, but `by` has only 1 distinct keys"),
    });
  });
});
