/**
 * Image definitions, the folders under images/: which packages a release's toolchain root has, which compilers the
 * release offers, and which versions of them were last seen to work.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../../base/error.ts";
import { exists } from "../../base/scratch.ts";
import { ARCHITECTURES, type ArchitectureName } from "../../kernel/architecture.ts";
import type { Compiler } from "../../kernel/kernel.ts";
import { partsOfRelease } from "../../kernel/release-rules.ts";

export interface ImageDefinition {
  /** Name of its folder. */
  readonly folder: string;
  readonly packages: readonly WantedPackage[];
  readonly compilers: readonly OfferedCompiler[];
  readonly lock: readonly LockedPackage[];
}

export interface WantedPackage {
  readonly name: string;
  /** Left out where the release's repositories do not have it. */
  readonly isOptional: boolean;
}

/** A compiler that a release offers. */
export interface OfferedCompiler {
  readonly family: Compiler["family"];
  /** As much of the version as tells it from the release's others: `12`, `4.8`. */
  readonly version: string;
  /** What runs it, inside. */
  readonly command: string;
  /** `{cross}` in a name stands for the triplet of each architecture that the builder does not have. */
  readonly packages: readonly string[];
}

/** A version seen when the lock was refreshed. */
interface LockedPackage {
  readonly architecture: ArchitectureName;
  readonly name: string;
  readonly version: string;
}

/**
 * The folder for a release: its own, else that of its major version (almalinux9.4 → almalinux9).
 * @throws FarmError CONFIG_INVALID
 */
export async function imageFolder(images: string, release: string): Promise<string> {
  const { id, version } = partsOfRelease(release);
  const major = `${id}${version.split(".")[0]}`;
  for (const folder of [release, major])
    if (await exists(join(images, folder, "packages.txt"))) return folder;
  throw new FarmError("CONFIG_INVALID", {
    detail: `there is no toolchain image for ${release}`,
    hint: "Under `toolchains` in the configuration, name the release whose image should be used.",
  });
}

/** @throws FarmError CONFIG_INVALID naming the line that makes no sense */
export async function readImage(images: string, folder: string): Promise<ImageDefinition> {
  const read = async (name: string) =>
    linesOf(await readFile(join(images, folder, name), "utf8").catch(() => ""));
  return {
    folder,
    packages: (await read("packages.txt")).map(([name = ""]) => ({
      name: name.replace(/\?$/, ""),
      isOptional: name.endsWith("?"),
    })),
    compilers: (await read("compilers.txt")).map((words) => offered(words, folder)),
    lock: (await read("packages.lock")).map((words) => locked(words, folder)),
  };
}

function linesOf(text: string): string[][] {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").trim());
  return lines.filter((line) => line !== "").map((line) => line.split(/\s+/));
}

function offered(words: readonly string[], folder: string): OfferedCompiler {
  const [family, version = "", command, ...packages] = words;
  if (
    (family === "gcc" || family === "clang") &&
    /^\d+(\.\d+)*$/.test(version) &&
    command &&
    packages.length > 0
  )
    return { family, version, command, packages };
  throw senseless(folder, "compilers.txt", words);
}

function locked([architecture, name, version]: readonly string[], folder: string): LockedPackage {
  const known = ARCHITECTURES.find((one) => one.name === architecture);
  if (known !== undefined && name && version) return { architecture: known.name, name, version };
  throw senseless(folder, "packages.lock", [architecture ?? "", name ?? "", version ?? ""]);
}

function senseless(folder: string, file: string, words: readonly string[]): FarmError {
  return new FarmError("CONFIG_INVALID", {
    detail: `images/${folder}/${file}: '${words.join(" ")}' is not valid`,
  });
}

/** Whether a compiler comes with ones for other architectures. */
export function isCross({ packages }: OfferedCompiler): boolean {
  return packages.some((name) => name.includes("{cross}"));
}

/** Package names of a compiler on a builder of one architecture. */
export function compilerPackages({ packages }: OfferedCompiler, builder: ArchitectureName): string[] {
  const foreign = ARCHITECTURES.filter(({ name }) => name !== builder);
  return packages.flatMap((name) =>
    name.includes("{cross}")
      ? foreign.map(({ triplet }) => name.replace("{cross}", triplet.replaceAll("_", "-")))
      : name,
  );
}

/** What is done when a release does not offer the compiler that built a kernel. */
export type CompilerPolicy = "exact" | "nearest";

/**
 * The offered compiler that is the wanted one, or, if the policy allows, the nearest of its family; of two that
 * are as near, the newer.
 * @throws FarmError COMPILER_UNAVAILABLE naming what is offered
 */
export function chooseCompiler(
  { folder, compilers }: Pick<ImageDefinition, "folder" | "compilers">,
  wanted: Compiler,
  policy: CompilerPolicy,
): OfferedCompiler {
  const fitting = compilers.filter(({ family }) => family === wanted.family);
  const exact = fitting.find(({ version }) => `${wanted.version}.`.startsWith(`${version}.`));
  if (exact !== undefined) return exact;
  const away = ({ version }: OfferedCompiler) => Math.abs(majorOf(version) - majorOf(wanted.version));
  const [nearest] = fitting.toSorted((a, b) => away(a) - away(b) || majorOf(b.version) - majorOf(a.version));
  if (policy === "nearest" && nearest !== undefined) return nearest;
  const offers = compilers.map(({ family, version }) => `${family}-${version}`).join(", ");
  throw new FarmError("COMPILER_UNAVAILABLE", {
    detail: `${wanted.family}-${wanted.version} is wanted, but the image ${folder} offers ${offers || "none"}`,
  });
}

function majorOf(version: string): number {
  return Number.parseInt(version, 10);
}
