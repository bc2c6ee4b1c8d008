/**
 * A driver inside the sandbox: where its tree lies, the scripts that build it, and what they are told.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { exists } from "../base/scratch.ts";
import { dkmsVersion } from "../kernel/distributions/dkms.ts";
import type { LoadedDriver } from "./driver.ts";
import { copySourceTree } from "./source-tree.ts";
import type { Surroundings } from "./surroundings.ts";

const PLACE = "/run/kmodfarm";

/** Lays the tree, and the shell lines of the configuration, where the sandbox finds them. */
export async function layDriver({ source, build }: LoadedDriver, work: string): Promise<void> {
  await copySourceTree(source, join(work, "build", build.kind === "dkms" ? "source" : ""));
  for (const step of ["prepare", "make"] as const) {
    const lines = build[step];
    if (lines !== undefined) await writeFile(join(work, step), `${lines.join("\n")}\n`);
  }
}

/**
 * What the sandbox shows as writable: the tree itself, or all that DKMS keeps, where trees of that kind
 * expect to be below a directory named after them.
 */
export function buildDirectory({ build }: LoadedDriver, { place }: Pick<Surroundings, "place">): string {
  return `${place}${build.kind === "dkms" ? "/var/lib/dkms" : "/build"}`;
}

/** Scripts, [outside, inside]. */
export async function driverInputs(
  { build }: LoadedDriver,
  work: string,
  images: string,
): Promise<[string, string][]> {
  const scripts = ["build.sh", ...(build.kind === "dkms" ? ["dkms.sh"] : [])];
  const steps = [];
  for (const step of ["prepare", "make"]) if (await exists(join(work, step))) steps.push(step);
  return [
    ...scripts.map((name): [string, string] => [join(images, name), `${PLACE}/${name}`]),
    ...steps.map((name): [string, string] => [join(work, name), `${PLACE}/${name}`]),
  ];
}

/** The part of the scripts' environment that the driver decides, for kernels of a release. */
export function driverEnvironment(
  driver: LoadedDriver,
  release: string,
  surroundings: Surroundings,
): Record<string, string> {
  const { kind, directory, files } = driver.build;
  return {
    BUILD_DIRECTORY: buildDirectory(driver, surroundings),
    KIND: kind,
    ...(kind === "dkms" ? { DKMS_VERSION: dkmsVersion(release) } : {}),
    DRIVER_NAME: driver.name,
    DRIVER_VERSION: driver.version,
    MODULES: driver.modules.join(" "),
    ...(directory === undefined ? {} : { DIRECTORY: directory }),
    ...(files.length === 0 ? {} : { FILES: files.join("\n") }),
  };
}
