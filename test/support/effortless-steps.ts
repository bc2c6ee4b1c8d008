/** Steps that need no mirror, no toolchain and no virtual machine: for what happens around them. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "../../src/base/json.ts";
import { keepAttempt } from "../../src/builder/attempt.ts";
import { recipeOf } from "../../src/builder/recipe.ts";
import type { AttemptRecord } from "../../src/builder/records.ts";
import type { Farm } from "../../src/farm/open.ts";
import { STEPS, type Steps } from "../../src/farm/steps.ts";
import { makeVerdict } from "./verdicts.ts";

/** They do what the real ones promise. */
export function effortless(farm: Farm): Partial<Steps> {
  return {
    learnCompiler: async () => ({ family: "gcc", version: "12", source: "header" }),
    planRecipe: async (element, driver) =>
      recipeOf({ element, driver, builder: "x86_64", root: [], scripts: "sha256:00" }),
    stageInputs: async () => [],
    buildElement: buildingOf(farm, Buffer.alloc(0)),
    fetchBootImage: async () => "boot image",
    testLoad: async () => ({ verdict: makeVerdict("load", "unknown", "no guest here") }),
    fetchKernelRecord: async () => ({ architecture: "x86_64" }),
    storeArtifact: (store, element, content, evidence) =>
      STEPS.storeArtifact(store, element, { ...content, modules: [] }, evidence),
  };
}

/** A build that gives these bytes, or fails. */
export function buildingOf(
  farm: Farm,
  bytes: Buffer,
  failure?: AttemptRecord["failure"],
): Steps["buildElement"] {
  return async ({ driver }, _, recipe) => {
    const evidence = farm.scratch.path();
    await mkdir(join(evidence, "modules"), { recursive: true });
    await writeFile(join(evidence, "build.log"), "built\n");
    await writeFile(join(evidence, "modules", `${driver}.ko`), bytes);
    return keepAttempt(
      {
        schema: "kmodfarm.attempt/2",
        recipe,
        inputs: [],
        buildMs: 1,
        environment: { compiler: "gcc-12", packages: [] },
        ...(failure === undefined
          ? { modules: [{ name: driver, size: bytes.length, sha256: sha256(bytes) }] }
          : { modules: [], failure }),
      },
      evidence,
      farm.cache,
    );
  };
}
