/**
 * One element → its modules and the evidence of how they came to be, whatever the outcome.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError, toFarmError } from "../base/error.ts";
import { ERRORS } from "../base/error-codes.ts";
import type { Scratch } from "../base/scratch.ts";
import { removeTree } from "../base/strange-tree.ts";
import type { InputRecord } from "../inputs/input-record.ts";
import type { Inputs, Unpacked } from "../inputs/inputs.ts";
import { packageFormat } from "../inputs/package-format.ts";
import { nativePaths } from "../inputs/tree.ts";
import { type ArchitectureName, architecture } from "../kernel/architecture.ts";
import type { Element } from "../matrix/element.ts";
import { type Attempt, keepAttempt } from "./attempt.ts";
import { type Diagnosis, diagnoseApart } from "./diagnose.ts";
import { type DriverBuild, type LoadedDriver, ownPackages } from "./driver.ts";
import { buildDirectory, driverEnvironment, driverInputs, layDriver } from "./driver-place.ts";
import { type BuildLimits, sandboxLimits, settingOf } from "./limits.ts";
import { readNote, takeOutputs } from "./outputs.ts";
import { packModules } from "./pack.ts";
import { buildPackages, recipeOf, relevantPackages } from "./recipe.ts";
import type { AttemptRecord, CompilerMismatch, Recipe } from "./records.ts";
import type { Sandbox, SandboxResult } from "./sandboxes/sandbox.ts";
import { type Surroundings, USUAL } from "./surroundings.ts";
import {
  type RootFacts,
  type RootRequest,
  scriptsDigest,
  type ToolchainRoot,
  type Toolchains,
} from "./toolchains/toolchain.ts";

export interface BuildContext {
  readonly inputs: Inputs;
  readonly toolchains: Pick<Toolchains, "root">;
  readonly sandbox: Sandbox;
  readonly limits: BuildLimits;
  readonly scratch: Scratch;
  readonly cache: string;
  readonly images: string;
  readonly builder: ArchitectureName;
  /** Default: the usual ones. */
  readonly surroundings?: Surroundings;
}

/** The recipe of an element, once its toolchain root is there, or known. */
export async function planRecipe(
  element: Element,
  driver: LoadedDriver,
  context: BuildContext,
  signal?: AbortSignal,
  known?: RootFacts,
): Promise<Recipe> {
  const root = known ?? (await context.toolchains.root(rootRequest(element, driver), signal));
  return recipeOf({
    element,
    driver,
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
  return context.inputs.unpackAll(buildPackages(element, builder), element.kernelurls, signal);
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
  const inputs = staged.map(({ record }) => record);
  const root = await context.toolchains.root(rootRequest(element, driver), signal);
  const work = context.scratch.path();
  try {
    // A build may make a file setuid, which is then root's if root started us: others cannot get in here.
    await mkdir(work, { recursive: true, mode: 0o700 });
    for (const name of ["output", "scratch", "evidence"]) await mkdir(join(work, name));
    await layDriver(driver, work);
    await writeFile(join(work, "target"), `${element.kversion}\n${element.architecture}\n`);
    const environment = observedEnvironment(element, driver, root);
    const started = performance.now();
    const result = await context.sandbox.run(
      await sandboxSpec(element, driver, root, staged, work, context),
      signal,
    );
    const buildMs = Math.round(performance.now() - started);
    const { mismatch } = root;
    const outcome = {
      ...{ element, driver, root, recipe, inputs, mismatch, environment, result, buildMs, work },
      directory: buildDirectory(driver, context.surroundings ?? USUAL),
    };
    const record = await collectEvidence(outcome, context, signal);
    return await keepAttempt(record, join(work, "evidence"), context.cache);
  } finally {
    await removeTree(work);
  }
}

/** The toolchain root that an element of this driver is built in. */
export function rootRequest(
  element: Element,
  driver: { readonly build: Pick<DriverBuild, "packages" | "depends"> },
): RootRequest {
  const { distribution: release, architecture: target, compiler } = element;
  if (compiler === undefined) {
    throw new FarmError("COMPILER_UNAVAILABLE", {
      detail: `the compiler of ${element.kversion} is unknown: neither its index nor its headers name one`,
    });
  }
  const { packages, depends: optional = [] } = driver.build;
  return { release, compiler, architecture: target, packages, optional };
}

/** The same for every build, wherever it happens. */
export const FIXED_ENVIRONMENT: Readonly<Record<string, string>> = {
  SOURCE_DATE_EPOCH: "0",
  KBUILD_BUILD_TIMESTAMP: "Thu Jan  1 00:00:00 UTC 1970",
  KBUILD_BUILD_USER: "kmodfarm",
  KBUILD_BUILD_HOST: "kmodfarm",
};

async function sandboxSpec(
  element: Element,
  driver: LoadedDriver,
  root: ToolchainRoot,
  staged: readonly Unpacked[],
  work: string,
  context: BuildContext,
) {
  const target = architecture(element.architecture);
  const surroundings = context.surroundings ?? USUAL;
  const { hostname, userId, umask, timeZone, locale, jobs } = surroundings;
  const modules = `/lib/modules/${element.kversion}`;
  const native = nativePaths(staged, element.kversion);
  return {
    root: root.path,
    inputs: [
      ...native,
      ...(await driverInputs(driver, work, context.images)),
      // `/bin` is a link in merged roots, and where uname is in older ones.
      [join(context.images, "uname.sh"), "/bin/uname"],
      [join(work, "target"), "/run/kmodfarm/target"],
    ] as [string, string][],
    outputs: [
      [join(work, "build"), buildDirectory(driver, surroundings)],
      [join(work, "output"), "/output"],
    ] as [string, string][],
    scratch: join(work, "scratch"),
    emptyDirectories: ["/usr/src", "/lib/modules", "/boot"],
    links: [
      [headersDirectory(element), `${modules}/build`],
      [commonHeaders(native) ?? `${modules}/build`, `${modules}/source`],
      [`${modules}/build/.config`, `/boot/config-${element.kversion}`],
    ] as [string, string][],
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: buildDirectory(driver, surroundings),
      LC_ALL: locale,
      TZ: timeZone,
      ...FIXED_ENVIRONMENT,
      KVERSION: element.kversion,
      KBUILD_ARCH: target.kbuild,
      JOBS: String(jobs),
      ...driverEnvironment(driver, element.distribution, surroundings),
      ...compilerEnvironment(root, element),
    },
    argv: ["/bin/sh", "/run/kmodfarm/build.sh"],
    ...sandboxLimits(context.limits),
    logFile: join(work, "evidence", "build.log"),
    ...(hostname === undefined ? {} : { hostname }),
    ...(userId === undefined ? {} : { userId }),
    ...(umask === undefined ? {} : { umask }),
  };
}

interface CompilerEnvironment extends Readonly<Record<string, string>> {
  readonly COMPILER: string;
  readonly CROSS_COMPILE?: string;
  readonly LLVM_SUFFIX?: string;
}

/** clang is every architecture's compiler, and brings tools of its own where the kernel was linked by them. */
function compilerEnvironment(
  { compiler: { family, command }, builder }: ToolchainRoot,
  { architecture: name, compiler }: Element,
): CompilerEnvironment {
  const { triplet } = architecture(name);
  if (family === "gcc")
    return { COMPILER: command, ...(name === builder ? {} : { CROSS_COMPILE: `${triplet}-` }) };
  const isLlvm = compiler?.linker === "lld";
  return { COMPILER: command, ...(isLlvm ? { LLVM_SUFFIX: command.replace(/^.*clang/, "") } : {}) };
}

/** The one that belongs to the linker. */
function stripProgram({ CROSS_COMPILE = "", LLVM_SUFFIX }: CompilerEnvironment): string {
  return LLVM_SUFFIX === undefined ? `${CROSS_COMPILE}strip` : `llvm-strip${LLVM_SUFFIX}`;
}

function headersDirectory({ kversion, packages }: Element): string {
  const [headers] = packages.headers;
  if (headers === undefined)
    throw new FarmError("NOT_FETCHABLE", { detail: `no index lists the headers of ${kversion}` });
  return packageFormat(headers).headersDirectory(kversion);
}

/** Where the kernel's sources proper are, which Debian keeps in a package of their own. */
function commonHeaders(native: readonly (readonly [string, string])[]): string | undefined {
  return native.find(([, inside]) => /^\/usr\/src\/linux-headers-.+-common(-|$)/.test(inside))?.[1];
}

interface Outcome {
  readonly element: Element;
  readonly driver: LoadedDriver;
  readonly root: ToolchainRoot;
  readonly recipe: Recipe;
  readonly inputs: readonly InputRecord[];
  readonly mismatch: CompilerMismatch | undefined;
  readonly environment: AttemptRecord["environment"];
  readonly result: SandboxResult;
  readonly buildMs: number;
  readonly work: string;
  /** Where the build was in its sandbox. */
  readonly directory: string;
}

async function collectEvidence(
  outcome: Outcome,
  context: BuildContext,
  signal: AbortSignal | undefined,
): Promise<AttemptRecord> {
  const { driver, root, recipe, inputs, mismatch, environment, result, buildMs, work } = outcome;
  const left = join(work, "output");
  const record = {
    schema: "kmodfarm.attempt/2" as const,
    ...{ recipe, inputs: [...inputs], buildMs, environment },
    ...(mismatch === undefined ? {} : { mismatch }),
  };
  const failed = (failure: NonNullable<AttemptRecord["failure"]>) => ({ ...record, modules: [], failure });
  const { depends = [] } = driver.build;
  const absent = depends.filter((name) => !root.packages.some((one) => one.name === name));
  const excluded = result.exitCode === EXCLUDED_EXIT ? readNote(left, "excluded.txt") : "";
  if (excluded !== "") return failed(exclusionOf(excluded));
  const tree = { directory: treeOf(left, outcome.directory), files: filesOf(outcome.driver) };
  if (result.exitCode !== 0 || result.stopped !== undefined)
    return failed(
      lacking(
        absent,
        refusedBy(readNote(left, "refused.txt"), await failureOf(result, context.limits, tree)),
      ),
    );
  try {
    const taken = await takeFrom(outcome, context, signal);
    if (taken.kind === "failed") return failed(await failureOf(taken.result, context.limits, tree));
    const { modules, files } = taken;
    return { ...record, modules, ...(files.length === 0 ? {} : { files: [...files] }) };
  } catch (thrown) {
    const error = toFarmError(thrown);
    if (error.blame !== "source") throw error;
    return failed({ code: error.code, cause: error.message, line: "", advice: error.hint });
  }
}

/** From here on only what was taken over counts: it is what is given its shapes, checked and published. */
async function takeFrom(
  { element, driver, root, work }: Outcome,
  context: BuildContext,
  signal: AbortSignal | undefined,
) {
  const evidence = join(work, "evidence");
  const { modules, files } = await takeOutputs(
    join(work, "output"),
    evidence,
    driver,
    context.limits.artifact,
  );
  const { compress } = driver.build;
  const strip = stripProgram(compilerEnvironment(root, element));
  const packed = await packModules(
    { modules, compress, strip, root: root.path, work, evidence },
    context,
    signal,
  );
  return { ...packed, files };
}

/** A message about a limit names its setting. */
async function failureOf(
  { exitCode, stopped, output, short }: SandboxResult,
  limits: BuildLimits,
  tree: { readonly directory: string; readonly files: readonly string[] },
): Promise<Diagnosis> {
  const failure = await diagnoseApart({ log: output, exitCode, stopped, short, ...tree });
  if (stopped === undefined) return failure;
  return { ...failure, cause: `${failure.cause}: ${settingOf(stopped, limits)}` };
}

/** What the scripts know for certain comes first; what the log shows is then the reason of that. */
function refusedBy(refusal: string, failure: Diagnosis): Diagnosis {
  const isTheirs = ["source", "unknown"].includes(ERRORS[failure.code].blame);
  if (refusal === "" || !isTheirs) return failure;
  const said = refusal.slice(0, 300).toWellFormed();
  if (failure.code === "BUILD_UNEXPLAINED") {
    const line = failure.line.includes(said) ? "" : failure.line;
    return {
      ...failure,
      line,
      code: "BUILD_FAILED",
      cause: said,
      advice: "The log shows what happened before.",
    };
  }
  return failure.cause.includes(said) ? failure : { ...failure, cause: `${said}: ${failure.cause}` };
}

/** What a package depends on and no mirror of the release has may be all that a build wanted. */
function lacking(absent: readonly string[], failure: Diagnosis): Diagnosis {
  if (absent.length === 0) return failure;
  const fact = `Its package depends on ${absent.join(", ")}, which does not exist in this release.`;
  return { ...failure, advice: `${failure.advice} ${fact}` };
}

/** How the scripts say that the driver does not want this kernel. */
const EXCLUDED_EXIT = 77;

function exclusionOf(reason: string) {
  const cause = `the driver excludes this kernel: ${reason.slice(0, 300).toWellFormed()}`;
  return { code: "KERNEL_EXCLUDED" as const, cause, line: "" };
}

/** The driver's files as they lie where the build is: DKMS moves the directory of its dkms.conf. */
function filesOf({ source, build }: LoadedDriver): string[] {
  const paths = source.files.map(({ path }) => path);
  const top = build.kind === "dkms" && build.directory !== undefined ? `${build.directory}/` : "";
  return paths.flatMap((path) => (path.startsWith(top) ? [path.slice(top.length)] : []));
}

/** Where the tree was: one of DKMS moves to a place that its dkms.conf names. */
function treeOf(output: string, usual: string): string {
  const said = readNote(output, "tree.txt");
  return /^\/[\w.+~:/-]+$/.test(said) ? said : usual;
}

/** What the farm saw of the root when it made it; what a build says of its surroundings is the driver's word. */
function observedEnvironment(
  element: Element,
  driver: LoadedDriver,
  { packages, compilers, builder }: ToolchainRoot,
): AttemptRecord["environment"] {
  const target = architecture(element.architecture);
  // clang is every architecture's compiler.
  const compiler = compilers[target.name] ?? compilers[builder] ?? "";
  return { compiler, packages: relevantPackages(packages, target, ownPackages(driver.build)) };
}
