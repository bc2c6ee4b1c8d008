/**
 * One element → its modules and the evidence of how they came to be, whatever the outcome.
 */
import { constants } from "node:fs";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { FarmError, toFarmError } from "../base/error.ts";
import { sha256 } from "../base/json.ts";
import { entriesOf, type Scratch } from "../base/scratch.ts";
import { moduleName, readKernelModule } from "../formats/kernel-module.ts";
import { type Architecture, type ArchitectureName, architecture } from "../kernel/architecture.ts";
import type { Compiler } from "../kernel/kernel.ts";
import { pathSegment } from "../kernel/path-segment.ts";
import type { Element } from "../matrix/element.ts";
import { type Attempt, type AttemptRecord, keepAttempt } from "./attempt.ts";
import { type Diagnosis, diagnose } from "./diagnose.ts";
import { copyDriverSource, type DriverSource } from "./driver.ts";
import type { InputRecord } from "./input-places.ts";
import type { Inputs, Unpacked } from "./inputs.ts";
import { type BuildLimits, sandboxLimits, settingOf } from "./limits.ts";
import { packageFormat } from "./package-format.ts";
import { buildPackages, type InstalledPackage, type Recipe, recipeOf, relevantPackages } from "./recipe.ts";
import type { Sandbox, SandboxResult } from "./sandboxes/sandbox.ts";
import {
  type CompilerMismatch,
  type RootRequest,
  scriptsDigest,
  type ToolchainRoot,
  type Toolchains,
} from "./toolchain.ts";
import { nativePaths } from "./tree.ts";

export interface BuildContext {
  readonly inputs: Inputs;
  readonly toolchains: Toolchains;
  readonly sandbox: Sandbox;
  readonly limits: BuildLimits;
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
  /** Packages that its build needs in the toolchain root. */
  readonly packages: readonly string[];
}

/** No module is anywhere near that; a build that leaves more is not taken over. */
const OUTPUT_LIMIT_BYTES = 256 * 1024 * 1024;

/** The recipe of an element, once its toolchain root is there. */
export async function planRecipe(
  element: Element,
  driver: LoadedDriver,
  context: BuildContext,
  signal?: AbortSignal,
): Promise<Recipe> {
  const root = await context.toolchains.root(rootRequest(element, driver), signal);
  return recipeOf({
    element,
    source: driver.source.digest,
    modules: driver.modules,
    packages: driver.packages,
    builder: root.builder,
    emulation: root.emulation,
    root: root.packages,
    scripts: await scriptsDigest(context.images),
  });
}

/** Headers and build tools of an element, in the cache and unpacked. */
export async function stageInputs(
  element: Element,
  { builder }: Pick<Recipe, "builder">,
  context: Pick<BuildContext, "inputs">,
  signal?: AbortSignal,
): Promise<Unpacked[]> {
  const packages = buildPackages(element, builder);
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
  const staged = await stageInputs(element, recipe, context, signal);
  const trees = staged.map(({ tree }) => tree);
  const inputs = staged.map(({ record }) => record);
  const root = await context.toolchains.root(rootRequest(element, driver), signal);
  const work = context.scratch.path();
  try {
    // A build may make a file setuid, which is then root's if root started us: nobody else gets in here.
    await mkdir(work, { recursive: true, mode: 0o700 });
    for (const name of ["output", "scratch"]) await mkdir(join(work, name));
    await mkdir(join(work, "evidence", "modules"), { recursive: true });
    await copyDriverSource(driver.source, join(work, "build"));
    await writeFile(join(work, "target"), `${element.kversion}\n${element.architecture}\n`);
    const started = performance.now();
    const result = await context.sandbox.run(
      await sandboxSpec(element, driver, root, trees, work, context),
      signal,
    );
    const buildMs = Math.round(performance.now() - started);
    const { mismatch } = root;
    const record = await collectEvidence({
      element,
      driver,
      recipe,
      inputs,
      mismatch,
      result,
      limits: context.limits,
      buildMs,
      work,
    });
    return await keepAttempt(record, join(work, "evidence"), context.cache);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The toolchain root that an element of this driver is built in. */
export function rootRequest(element: Element, { packages }: Pick<LoadedDriver, "packages">): RootRequest {
  const { distribution: release, architecture: target, compiler } = element;
  if (compiler === undefined) {
    throw new FarmError("COMPILER_UNAVAILABLE", {
      detail: `nobody says which compiler ${element.kversion} was built with`,
    });
  }
  return { release, compiler, architecture: target, packages };
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
    scratch: join(work, "scratch"),
    emptyDirectories: ["/usr/src", "/lib/modules"],
    links: [[headersDirectory(element), `${modules}/build`]] as [string, string][],
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
      ...compilerEnvironment(root, target, element.compiler?.linker),
    },
    argv: ["/bin/sh", "/run/kmodfarm/build.sh"],
    ...sandboxLimits(context.limits),
    logFile: join(work, "evidence", "build.log"),
  };
}

/** clang is every architecture's compiler, and brings tools of its own where the kernel was linked by them. */
function compilerEnvironment(
  { compiler, builder }: ToolchainRoot,
  target: Architecture,
  linker: Compiler["linker"],
): Record<string, string> {
  const { family, command } = compiler;
  if (family === "gcc")
    return { COMPILER: command, ...(target.name === builder ? {} : { CROSS_COMPILE: `${target.triplet}-` }) };
  return { COMPILER: command, ...(linker === "lld" ? { LLVM_SUFFIX: command.replace(/^.*clang/, "") } : {}) };
}

function headersDirectory({ kversion, packages }: Element): string {
  const [headers] = packages.headers;
  if (headers === undefined)
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists the headers of ${kversion}` });
  return packageFormat(headers).headersDirectory(kversion);
}

interface Outcome {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly recipe: Recipe;
  readonly inputs: readonly InputRecord[];
  readonly mismatch: CompilerMismatch | undefined;
  readonly result: SandboxResult;
  readonly limits: BuildLimits;
  readonly buildMs: number;
  readonly work: string;
}

async function collectEvidence(outcome: Outcome): Promise<AttemptRecord> {
  const { recipe, inputs, mismatch, result, buildMs, work } = outcome;
  const record = {
    schema: "kmodfarm.attempt/1" as const,
    recipe,
    inputs: [...inputs],
    ...(mismatch === undefined ? {} : { mismatch }),
    buildMs,
    environment: await observedEnvironment(join(work, "output"), outcome),
  };
  if (result.exitCode !== 0 || result.stopped !== undefined) {
    return { ...record, modules: [], failure: failureOf(result, outcome.limits) };
  }
  try {
    return { ...record, modules: await takeModules(work) };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.blame !== "source") throw error;
    return {
      ...record,
      modules: [],
      failure: { code: error.code, cause: error.message, line: "", advice: error.hint },
    };
  }
}

/** Whoever meets a limit wants to know which setting that is. */
function failureOf({ exitCode, stopped, output }: SandboxResult, limits: BuildLimits): Diagnosis {
  const failure = diagnose(output, exitCode, stopped);
  if (stopped === undefined) return failure;
  return { ...failure, cause: `${failure.cause} (${settingOf(stopped, limits)})` };
}

/** What the sandbox itself saw of its compiler and packages. */
async function observedEnvironment(
  output: string,
  { element, driver }: Outcome,
): Promise<AttemptRecord["environment"]> {
  const read = async (name: string) =>
    (await readOutput(join(output, name)).catch(() => Buffer.alloc(0))).toString("utf8");
  const packages = (await read("packages.tsv")).split("\n").flatMap((line): InstalledPackage[] => {
    const [name, version] = line.split("\t");
    return name && version ? [{ name, version }] : [];
  });
  const compiler = (await read("compiler.txt")).trim();
  return {
    compiler,
    packages: relevantPackages(packages, architecture(element.architecture), driver.packages),
  };
}

/** Takes over what the build left as modules; what cannot be read as one is nothing to publish. */
async function takeModules(work: string): Promise<AttemptRecord["modules"]> {
  const output = join(work, "output");
  const modules = [];
  for (const file of (await entriesOf(output)).filter((name) => name.endsWith(".ko"))) {
    const bytes = await readOutput(join(output, file));
    const { name } = readKernelModule(bytes, file);
    if (name !== moduleName(file)) {
      throw new FarmError("MODULE_MALFORMED", { detail: `${file} says that its name is ${name}` });
    }
    await writeFile(join(work, "evidence", "modules", file), bytes);
    modules.push({
      name: pathSegment(file.slice(0, -".ko".length), "module"),
      sha256: sha256(bytes),
      size: bytes.length,
    });
  }
  if (modules.length > 0) return modules;
  throw new FarmError("MODULE_MISSING", { detail: "the build gave no modules at all" });
}

/** A file that a build left: never through a link, which could lead to the host's own files. */
async function readOutput(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (cause: NodeJS.ErrnoException) => {
      throw new FarmError("MODULE_MALFORMED", {
        detail: `${basename(path)} is not a plain file (${cause.code})`,
        cause,
      });
    },
  );
  try {
    const status = await file.stat();
    if (!status.isFile())
      throw new FarmError("MODULE_MALFORMED", { detail: `${basename(path)} is not a plain file` });
    if (status.size > OUTPUT_LIMIT_BYTES)
      throw new FarmError("MODULE_MALFORMED", { detail: `${basename(path)} is ${status.size} bytes large` });
    return await file.readFile();
  } finally {
    await file.close();
  }
}
