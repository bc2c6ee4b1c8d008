/**
 * One element → its modules and the evidence of how they came to be, whatever the outcome.
 */
import { copyFile, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type ErrorCode, FarmError } from "../base/error.ts";
import { hexOf, sha256, toDocument } from "../base/json.ts";
import { entriesOf, type Scratch } from "../base/scratch.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { type ArchitectureName, architecture } from "../kernel/architecture.ts";
import type { Element } from "../matrix/element.ts";
import { diagnose } from "./diagnose.ts";
import { copyDriverSource, type DriverSource } from "./driver.ts";
import { type Inputs, nativePaths } from "./inputs.ts";
import {
  buildPackages,
  type InstalledPackage,
  type Recipe,
  recipeKey,
  recipeOf,
  relevantPackages,
} from "./recipe.ts";
import type { Sandbox } from "./sandboxes/sandbox.ts";
import { scriptsDigest, type ToolchainRoot, type Toolchains } from "./toolchain.ts";

export interface BuildContext {
  readonly inputs: Inputs;
  readonly toolchains: Toolchains;
  readonly sandbox: Sandbox;
  readonly scratch: Scratch;
  readonly cache: string;
  readonly images: string;
  readonly builder: ArchitectureName;
}

/** A driver version whose source has been read. */
export interface LoadedDriver {
  readonly name: string;
  readonly version: string;
  readonly source: DriverSource;
  /** Modules it must give; empty: all it gives. */
  readonly modules: readonly string[];
}

const InstalledList = z.array(z.object({ name: z.string(), version: z.string() }));

/** A try at building an element, as it is kept. `packages` and `compiler` are what the sandbox itself saw. */
const AttemptRecord = z.object({
  schema: z.literal("kmodfarm.attempt/1"),
  recipe: z.custom<Recipe>((value) => typeof value === "object" && value !== null),
  buildMs: z.int(),
  environment: z.object({ compiler: z.string(), packages: InstalledList }),
  modules: z.array(z.object({ name: z.string(), sha256: z.string(), size: z.int() })),
  failure: z.object({ code: z.custom<ErrorCode>(), cause: z.string(), line: z.string() }).optional(),
});
type AttemptRecord = z.infer<typeof AttemptRecord>;

export interface Attempt {
  readonly record: AttemptRecord;
  readonly recipeKey: string;
  /** Where its files are: `modules/*.ko`, `build.log`. */
  readonly directory: string;
  readonly logFile: string;
  /** Whether it was found in the cache. */
  readonly reused: boolean;
}

const BUILD_TIMEOUT_MS = 15 * 60_000;
const MEMORY_BYTES = 8 * 1024 ** 3;
const LOG_LIMIT_BYTES = 16 * 1024 * 1024;

/** The recipe of an element, once its toolchain root is there. */
export async function planRecipe(
  element: Element,
  driver: LoadedDriver,
  context: BuildContext,
  signal?: AbortSignal,
): Promise<Recipe> {
  const root = await rootOf(element, context, signal);
  return recipeOf({
    element,
    source: driver.source.digest,
    modules: driver.modules,
    builder: context.builder,
    root: root.packages,
    scripts: await scriptsDigest(context.images),
  });
}

/** An earlier attempt at this very recipe that ended for good: with modules, or on the driver's own fault. */
export async function findAttempt(
  recipe: Recipe,
  context: Pick<BuildContext, "cache">,
): Promise<Attempt | undefined> {
  const key = recipeKey(recipe);
  const directory = join(context.cache, "attempts", hexOf(key));
  try {
    const record = AttemptRecord.parse(JSON.parse(await readFile(join(directory, "attempt.json"), "utf8")));
    for (const { name, sha256: digest } of record.modules) {
      if (sha256(await readFile(join(directory, "modules", `${name}.ko`))) !== digest) return undefined;
    }
    return { record, recipeKey: key, directory, logFile: join(directory, "build.log"), reused: true };
  } catch {
    return undefined;
  }
}

/** Headers and build tools of an element, in the cache and unpacked. */
export async function stageInputs(
  element: Element,
  context: BuildContext,
  signal?: AbortSignal,
): Promise<string[]> {
  const packages = buildPackages(element, context.builder);
  return Promise.all(packages.map((one) => context.inputs.unpack(one, element.kernelurls, signal)));
}

/**
 * Builds an element in the sandbox. A driver that does not build is an attempt with a `failure`; faults of
 * the machine and of mirrors are thrown.
 */
export async function buildElement(
  element: Element,
  driver: LoadedDriver,
  recipe: Recipe,
  context: BuildContext,
  signal?: AbortSignal,
): Promise<Attempt> {
  const trees = await stageInputs(element, context, signal);
  const root = await rootOf(element, context, signal);
  const work = context.scratch.path();
  try {
    await mkdir(join(work, "output"), { recursive: true });
    await mkdir(join(work, "evidence", "modules"), { recursive: true });
    await copyDriverSource(driver.source, join(work, "build"));
    await writeFile(join(work, "target"), `${element.kversion}\n${element.architecture}\n`);
    const started = performance.now();
    const result = await context.sandbox.run(
      await sandboxSpec(element, driver, root, trees, work, context),
      signal,
    );
    const buildMs = Math.round(performance.now() - started);
    const record = await collectEvidence({ element, driver, recipe, result, buildMs, work });
    return await keepAttempt(record, recipe, work, context);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function rootOf(
  element: Element,
  { toolchains }: BuildContext,
  signal?: AbortSignal,
): Promise<ToolchainRoot> {
  if (element.compiler === undefined) {
    throw new FarmError("BUILD_FAILED", {
      detail: `nobody says which compiler ${element.kversion} was built with`,
    });
  }
  return toolchains.root(element.distribution, element.compiler, signal);
}

async function sandboxSpec(
  element: Element,
  driver: LoadedDriver,
  root: ToolchainRoot,
  trees: readonly string[],
  work: string,
  context: BuildContext,
) {
  const target = architecture(element.architecture);
  const { family, version } = element.compiler ?? { family: "gcc", version: "" };
  const isCross = element.architecture !== context.builder;
  const modules = `/lib/modules/${element.kversion}`;
  return {
    root: root.path,
    inputs: [
      ...(await Promise.all(trees.map(nativePaths))).flat(),
      [join(context.images, "build.sh"), "/run/kmodfarm/build.sh"],
      // `/bin` is a link in merged roots, and where uname is in older ones.
      [join(context.images, "uname.sh"), "/bin/uname"],
      [join(work, "target"), "/run/kmodfarm/target"],
    ] as [string, string][],
    outputs: [
      [join(work, "build"), "/build"],
      [join(work, "output"), "/output"],
    ] as [string, string][],
    emptyDirectories: ["/usr/src", "/lib/modules"],
    links: [[`/usr/src/linux-headers-${element.kversion}`, `${modules}/build`]] as [string, string][],
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/build",
      LC_ALL: "C",
      TZ: "UTC",
      SOURCE_DATE_EPOCH: "0",
      KBUILD_BUILD_TIMESTAMP: "Thu Jan  1 00:00:00 UTC 1970",
      KBUILD_BUILD_USER: "kmodfarm",
      KBUILD_BUILD_HOST: "kmodfarm",
      KVERSION: element.kversion,
      KBUILD_ARCH: target.kbuild,
      // One driver is small: elements run side by side, each on one core.
      JOBS: "1",
      DRIVER_VERSION: element.driverversion,
      MODULES: driver.modules.join(" "),
      COMPILER: `${family}-${version}`,
      ...(isCross ? { CROSS_COMPILE: `${target.triplet}-` } : {}),
    },
    argv: ["/bin/sh", "/run/kmodfarm/build.sh"],
    timeoutMs: BUILD_TIMEOUT_MS,
    memoryBytes: MEMORY_BYTES,
    outputLimitBytes: LOG_LIMIT_BYTES,
    logFile: join(work, "evidence", "build.log"),
  };
}

interface Outcome {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly recipe: Recipe;
  readonly result: { readonly exitCode: number; readonly timedOut: boolean; readonly output: string };
  readonly buildMs: number;
  readonly work: string;
}

async function collectEvidence({ element, recipe, result, buildMs, work }: Outcome): Promise<AttemptRecord> {
  const output = join(work, "output");
  const seen = await readFile(join(output, "packages.tsv"), "utf8").catch(() => "");
  const packages: InstalledPackage[] = seen.split("\n").flatMap((line) => {
    const [name, version] = line.split("\t");
    return name && version ? [{ name, version }] : [];
  });
  const record = {
    schema: "kmodfarm.attempt/1" as const,
    recipe,
    buildMs,
    environment: {
      compiler: (await readFile(join(output, "compiler.txt"), "utf8").catch(() => "")).trim(),
      packages: relevantPackages(packages, architecture(element.architecture)),
    },
  };
  if (result.exitCode !== 0 || result.timedOut) {
    return { ...record, modules: [], failure: diagnose(result.output, result.exitCode, result.timedOut) };
  }
  const modules = [];
  for (const file of (await entriesOf(output)).filter((name) => name.endsWith(".ko"))) {
    const bytes = await readFile(join(output, file));
    readKernelModule(bytes, file); // What cannot be read here is nothing to publish.
    await copyFile(join(output, file), join(work, "evidence", "modules", file));
    modules.push({ name: file.slice(0, -".ko".length), sha256: sha256(bytes), size: bytes.length });
  }
  if (modules.length > 0) return { ...record, modules };
  const cause = "the build gave no modules at all";
  return { ...record, modules, failure: { code: "MODULE_MISSING", cause, line: "" } };
}

/** Evidence goes into the cache as one whole. What failed for the machine's sake is kept too, but not found again. */
async function keepAttempt(
  record: AttemptRecord,
  recipe: Recipe,
  work: string,
  context: BuildContext,
): Promise<Attempt> {
  const key = recipeKey(recipe);
  const isFinal =
    record.failure === undefined ||
    record.failure.code === "BUILD_FAILED" ||
    record.failure.code === "MODULE_MISSING";
  const directory = join(context.cache, isFinal ? "attempts" : "unfinished", hexOf(key));
  await writeFile(join(work, "evidence", "attempt.json"), toDocument(record));
  await mkdir(join(directory, ".."), { recursive: true });
  await rm(directory, { recursive: true, force: true });
  await rename(join(work, "evidence"), directory);
  return { record, recipeKey: key, directory, logFile: join(directory, "build.log"), reused: false };
}
