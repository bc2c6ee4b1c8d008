/**
 * Building a published artifact again, from the same recipe in other surroundings, and comparing byte by byte.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { canonicalJson, type Digest, sha256 } from "../../base/json.ts";
import type { Progress } from "../../base/progress.ts";
import type { Attempt } from "../../builder/attempt.ts";
import { type BuildContext, buildElement, planRecipe } from "../../builder/build.ts";
import type { LoadedDriver } from "../../builder/driver.ts";
import { recipeKey } from "../../builder/recipe.ts";
import type { Recipe } from "../../builder/records.ts";
import { ELSEWHERE, type Surroundings, USUAL } from "../../builder/surroundings.ts";
import { compareModules, type ModuleComparison } from "../../check/compare-modules.ts";
import { factsByKernel } from "../../kernel/facts.ts";
import { type Element, elementName } from "../../matrix/element.ts";
import { generateMatrix } from "../../matrix/generate.ts";
import { blobPath } from "../../registry/blobs.ts";
import type { Manifest, Published } from "../../registry/documents.ts";
import { readPublished } from "../../registry/generations.ts";
import { loadDrivers } from "../drivers.ts";
import { neededBy, needsIn } from "../needs.ts";
import { type Farm, openBuild } from "../open.ts";

/** What is built again, and with what. */
export interface RebuildTask {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly recipe: Recipe;
  readonly context: BuildContext;
  /** The release whose toolchain it is. */
  readonly toolchain: string;
  /** Bytes of a module as the first build wrote it; undefined where they are not to be had. */
  readonly original: (digest: Digest, module: string) => Promise<Buffer | undefined>;
}

export interface RebuildReport extends Pick<RebuildTask, "element" | "recipe" | "toolchain"> {
  readonly surroundings: Surroundings;
  readonly result: "equal" | "different" | "failed";
  readonly attempt: Attempt;
  /** One for each module of the manifest; empty when the second build failed. */
  readonly modules: readonly ModuleComparison[];
  /** Other files of the artifact, and other shapes of its modules, whose bytes differ or that are missing. */
  readonly files: readonly string[];
}

interface Watched {
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

/**
 * As the farm itself would build it today, with its own configuration, sources and mirrors. `original` has bytes of a module
 * of the first build, where the store has none.
 * @throws FarmError RECIPE_DIFFERS when what is here would build something else
 */
export async function ownTask(
  farm: Farm,
  manifest: Manifest,
  original: (module: string) => Promise<Buffer | undefined>,
  { progress, signal }: Watched,
): Promise<RebuildTask> {
  const state = await readPublished(farm.store);
  const { catalog } = state;
  const driver = await driverOf(farm, manifest, progress, signal);
  const element = elementOf(manifest, driver, state);
  const build = openBuild(farm, catalog, (text) => progress.say(text));
  const recipe = await planRecipe(element, driver, build, signal);
  return {
    ...{ element, driver, recipe },
    // An attempt like any other, but never one that a run takes for its own.
    context: { ...build, cache: join(farm.cache, "rebuilds"), surroundings: ELSEWHERE },
    toolchain: farm.config.toolchains[element.distribution] ?? element.distribution,
    original: async (digest, module) => (await farm.store.read(blobPath(digest))) ?? (await original(module)),
  };
}

/** Builds it in other surroundings, and compares. @throws FarmError RECIPE_DIFFERS unless it is the artifact's very recipe */
export async function buildAgain(
  manifest: Manifest,
  task: RebuildTask,
  { progress, signal }: Watched,
): Promise<RebuildReport> {
  const { element, driver, recipe, context, toolchain } = task;
  refuseOther(recipe, manifest, element);
  progress.say(`${elementName(element)}: building it again in a different environment`);
  const surroundings = context.surroundings ?? USUAL;
  const attempt = await buildElement(element, driver, recipe, context, signal);
  const found = await compareWith(manifest, attempt, task);
  return { element, recipe, toolchain, surroundings, attempt, ...found };
}

type Comparison = Pick<RebuildReport, "result" | "modules" | "files">;

async function compareWith(manifest: Manifest, attempt: Attempt, task: RebuildTask): Promise<Comparison> {
  if (attempt.record.failure !== undefined) return { result: "failed", modules: [], files: [] };
  const modules: ModuleComparison[] = [];
  for (const module of manifest.modules) modules.push(await compare(module, attempt, task));
  const files = [
    ...differentShapes(manifest, attempt),
    ...differentFiles(manifest, attempt),
    ...furtherModules(manifest, attempt),
  ];
  const isEqual = files.length === 0 && modules.every((one) => one.isEqual);
  return { result: isEqual ? "equal" : "different", modules, files };
}

/** The driver, with the modules that it needed then. */
async function driverOf(
  farm: Farm,
  manifest: Manifest,
  progress: Progress,
  signal: AbortSignal,
): Promise<LoadedDriver> {
  const { name, version } = manifest.identity.driver;
  const needs = needsIn(manifest);
  const configured = farm.config.drivers.filter((one) =>
    [{ name, version }, ...needs].some(
      (wanted) => one.name === wanted.name && one.versions.includes(wanted.version),
    ),
  );
  const { loaded, absent } = await loadDrivers(farm, (text) => progress.say(text), signal, configured);
  const [missing] = absent;
  if (missing !== undefined) throw missing.error;
  const driver = loaded.find((one) => one.name === name && one.version === version);
  if (driver !== undefined && needs.length === 0) return driver;
  if (driver !== undefined) return { ...driver, needed: await neededBy(needs, loaded, farm.store) };
  throw new FarmError("CONFIG_INVALID", { detail: `the configuration has no driver ${name} ${version}` });
}

function elementOf(
  { identity }: Manifest,
  driver: LoadedDriver,
  { catalog, facts }: Pick<Published, "catalog" | "facts">,
): Element {
  const { kernel, distribution, architecture } = identity;
  const kernels = catalog.kernels.filter(
    (one) =>
      one.kversion === kernel.release &&
      one.packageVersion === kernel.packageVersion &&
      one.distribution === distribution.release &&
      one.architecture === architecture,
  );
  const wanted = { name: driver.name, version: driver.version, series: undefined };
  const [element] = generateMatrix({ ...catalog, kernels }, [wanted], [{}], factsByKernel(facts));
  if (element !== undefined) return element;
  throw new FarmError("KERNEL_UNKNOWN", {
    detail: `the catalog has no ${distribution.release}/${architecture}/${kernel.release}_${kernel.packageVersion}`,
  });
}

/** Only the same recipe must give the same bytes. */
function refuseOther(recipe: Recipe, manifest: Manifest, element: Element): void {
  if (recipeKey(recipe) === manifest.recipeKey) return;
  const [here, there] = [recipe, manifest.recipe] as unknown as Record<string, unknown>[];
  const parts = [...new Set([...Object.keys(here ?? {}), ...Object.keys(there ?? {})])];
  const different = parts.filter((part) => textOf(here?.[part]) !== textOf(there?.[part]));
  throw new FarmError("RECIPE_DIFFERS", {
    detail: `${elementName(element)} would be built with a different recipe here: ${different.join(", ")} differ`,
    at: { recipe: manifest.recipeKey, here: recipeKey(recipe) },
  });
}

const textOf = (part: unknown) => (part === undefined ? "" : canonicalJson(part));

async function compare(
  { name, digests }: Manifest["modules"][number],
  attempt: Attempt,
  { original }: RebuildTask,
): Promise<ModuleComparison> {
  const again = await readFile(join(attempt.directory, "modules", `${name}.ko`)).catch(() => Buffer.alloc(0));
  if (sha256(again) === digests.unsigned) return compareModules(name, again, again);
  const stored = await original(digests.unsigned, name);
  if (stored === undefined || sha256(stored) !== digests.unsigned) {
    throw new FarmError("STORE_CORRUPT", {
      detail: `${name}.ko of the first build is missing or damaged: ${blobPath(digests.unsigned)}`,
    });
  }
  return compareModules(name, stored, again, [
    ["directory", `${USUAL.place}/build`, ELSEWHERE.place],
    ["host", "kmodfarm", ELSEWHERE.hostname ?? ""],
    ["user", "1000", String(ELSEWHERE.userId)],
  ]);
}

/** Of modules that were built equal: stripping and compressing them must have given the same bytes too. */
function differentShapes({ modules }: Manifest, { record }: Attempt): string[] {
  const here = new Map(record.modules.map((module) => [module.name, module]));
  return modules.flatMap(({ name, digests: { unsigned, stripped, compressed } }) => {
    const again = here.get(name);
    if (again?.sha256 !== unsigned) return [];
    return [
      ...(again.stripped?.sha256 === stripped ? [] : [`stripped/${name}.ko`]),
      ...(again.compressed?.sha256 === compressed ? [] : [`compressed/${name}.ko`]),
    ];
  });
}

function differentFiles({ files = [] }: Manifest, { record }: Attempt): string[] {
  const here = new Map((record.files ?? []).map((file) => [file.path, file.sha256]));
  return files.filter(({ path, digest }) => here.get(path) !== digest).map(({ path }) => path);
}

/** What only the second build gave. */
function furtherModules({ modules }: Manifest, { record }: Attempt): string[] {
  const known = new Set(modules.map(({ name }) => name));
  return record.modules.flatMap(({ name }) => (known.has(name) ? [] : [`${name}.ko`]));
}
