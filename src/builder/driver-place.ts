/**
 * A driver inside the sandbox: where its tree lies, the scripts that build it, and their variables.
 */
import { mkdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists } from "../base/scratch.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import { symversText } from "../formats/module-symvers.ts";
import { dkmsVersion } from "../kernel/distributions/dkms.ts";
import type { LoadedDriver, Need, NeededDriver } from "./driver.ts";
import { copySourceTree, givenModules, LAID_AT } from "./source-tree.ts";
import type { Surroundings } from "./surroundings.ts";

const PLACE = "/run/kmodfarm";

/** Where the sandbox has a needed driver's modules, with the list of what they export. */
const neededPlace = ({ name }: Need) => `${PLACE}/needs/${name}`;

/**
 * Lays the tree, and the shell lines of the configuration, where the sandbox finds them; and a list of the modules that
 * the tree holds already, which are none of the build's, with the time of the tree's files.
 */
export async function layDriver({ source, build, needed = [] }: LoadedDriver, work: string): Promise<void> {
  await copySourceTree(source, join(work, "build", build.kind === "dkms" ? "source" : ""));
  for (const one of needed) await layNeeded(one, join(work, "needs", one.name));
  const given = givenModules(source).map(({ path, content }) => `${content} ${path.replaceAll("\n", "?")}\n`);
  await writeFile(join(work, "given"), given.join(""));
  await utimes(join(work, "given"), LAID_AT, LAID_AT);
  for (const step of ["prepare", "make"] as const) {
    const lines = build[step];
    if (lines !== undefined) await writeFile(join(work, step), `${lines.join("\n")}\n`);
  }
}

async function layNeeded({ source, modules }: NeededDriver, place: string): Promise<void> {
  await copySourceTree(source, join(place, "source"));
  await mkdir(join(place, "modules"));
  for (const { name, bytes } of modules) await writeFile(join(place, "modules", `${name}.ko`), bytes);
  const read = modules.map(({ name, bytes }) => readKernelModule(bytes, `${name}.ko`));
  await writeFile(join(place, "modules", "Module.symvers"), symversText(read));
}

/**
 * What the sandbox shows as writable: the tree itself, or all that DKMS keeps, where trees of that kind
 * expect to be below a directory named after them.
 */
export function buildDirectory({ build }: LoadedDriver, { place }: Pick<Surroundings, "place">): string {
  return `${place}${build.kind === "dkms" ? "/var/lib/dkms" : "/build"}`;
}

/** Scripts, and what other drivers gave, [outside, inside]. DKMS has a driver's source in /usr/src. */
export async function driverInputs(
  { build, needed = [] }: LoadedDriver,
  work: string,
  images: string,
): Promise<[string, string][]> {
  const scripts = ["build.sh", "modules.sh", ...(build.kind === "dkms" ? ["dkms.sh"] : [])];
  const steps = [];
  for (const step of ["prepare", "make"]) if (await exists(join(work, step))) steps.push(step);
  return [
    [join(work, "given"), `${PLACE}/given`],
    ...scripts.map((name): [string, string] => [join(images, name), `${PLACE}/${name}`]),
    ...steps.map((name): [string, string] => [join(work, name), `${PLACE}/${name}`]),
    ...needed.flatMap((one): [string, string][] => [
      [join(work, "needs", one.name, "modules"), neededPlace(one)],
      [join(work, "needs", one.name, "source"), `/usr/src/${one.packageName ?? one.name}-${one.version}`],
    ]),
  ];
}

/** The part of the scripts' environment that the driver decides, for kernels of a release. */
export function driverEnvironment(
  driver: LoadedDriver,
  release: string,
  surroundings: Surroundings,
): Record<string, string> {
  const { kind, directory, files } = driver.build;
  const { needed = [] } = driver;
  return {
    BUILD_DIRECTORY: buildDirectory(driver, surroundings),
    KIND: kind,
    ...(kind === "dkms" ? { DKMS_VERSION: dkmsVersion(release) } : {}),
    DRIVER_NAME: driver.name,
    DRIVER_VERSION: driver.version,
    MODULES: driver.modules.join(" "),
    ...(needed.length === 0 ? {} : neededEnvironment(needed)),
    ...(directory === undefined ? {} : { DIRECTORY: directory }),
    ...(files.length === 0 ? {} : { FILES: files.join("\n") }),
  };
}

/** Kbuild reads lists of symbols from a variable; a Makefile that sets it itself names others. */
function neededEnvironment(needed: readonly NeededDriver[]): Record<string, string> {
  const names = needed.flatMap(({ name, packageName }) => [
    name,
    ...(packageName === undefined ? [] : [packageName]),
  ]);
  return {
    KBUILD_EXTRA_SYMBOLS: needed.map((one) => `${neededPlace(one)}/Module.symvers`).join(" "),
    NEEDS: [...new Set(names)].join(" "),
  };
}
