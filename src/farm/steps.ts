/**
 * What a night does, step by step. Each step works on one source, list, driver or element, and whatever it throws is
 * the fault of that one alone.
 */
import { buildElement, planRecipe, stageInputs } from "../builder/build.ts";
import { fetchSource } from "../builder/origins/index.ts";
import { readSourceTree } from "../builder/source-tree.ts";
import { askSources } from "../catalog/ask.ts";
import { askLists } from "../catalog/list-source.ts";
import { fetchBootImage } from "../check/guest/boot-image.ts";
import { learnCompiler } from "../inputs/compiler.ts";
import { fetchKernelRecord } from "../inputs/kernel-record.ts";
import { storeArtifact } from "../registry/artifact.ts";
import { judgeModules } from "./gate/judge.ts";
import { testLoad } from "./night/load-test.ts";
import { attest } from "./signing/statements.ts";

export const STEPS = {
  askSources,
  askLists,
  fetchSource,
  readSourceTree,
  learnCompiler,
  planRecipe,
  stageInputs,
  buildElement,
  fetchBootImage,
  testLoad,
  fetchKernelRecord,
  attest,
  judgeModules,
  storeArtifact,
} as const;

export type Steps = typeof STEPS;
