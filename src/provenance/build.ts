/**
 * What this farm states of a build that it planned and watched: from its recipe to SLSA's provenance, and whether a
 * statement names all that a recipe does (docs/buildtype.md).
 */
import { PackageURL } from "packageurl-js";
import { z } from "zod";
import { canonicalJson, type Digest, hexOf } from "../base/json.ts";
import type { OriginRecord, Recipe } from "../builder/records.ts";
import { partsOfRelease } from "../kernel/release-rules.ts";
import {
  BUILD_TYPE,
  type BuildProvenance,
  type BuiltIdentity,
  type Descriptor,
  externalParametersOf,
  Sha256,
  TreeDigest,
} from "./slsa.ts";

const Named = z.object({ name: z.string(), version: z.string() });

/** What a build was made of, as far as its recipe says; and its log. */
export const BuildMaterials = z.object({
  recipe: z.object({
    driver: z.object({
      source: TreeDigest,
      needs: z
        .array(
          Named.extend({ modules: z.array(z.object({ name: z.string(), sha256: TreeDigest })).readonly() }),
        )
        .readonly()
        .optional(),
    }),
    headers: z.array(Named.extend({ sha256: Sha256 })).readonly(),
    toolchain: z.array(Named).readonly(),
  }),
  recipeKey: TreeDigest,
  /** The document of all that a rebuild needs, and the bill of materials, where they were kept. */
  inputs: TreeDigest.optional(),
  sbom: TreeDigest.optional(),
  log: TreeDigest,
});
export type BuildMaterials = z.infer<typeof BuildMaterials>;

/** A build that was watched by who makes the statement. */
export interface WatchedBuild {
  readonly recipe: Pick<Recipe, "driver" | "headers" | "toolchain">;
  readonly log: Digest;
  /** The document of all that a rebuild needs, and the bill of materials. */
  readonly inputs?: Digest | undefined;
  readonly sbom?: Digest | undefined;
  readonly identity: BuiltIdentity;
  readonly recipeKey: Digest;
  /** Where the driver's source came from. */
  readonly origin?: OriginRecord | undefined;
  /** The release whose toolchain it was. */
  readonly toolchain: string;
}

/** What a build sees of where it happens. */
export type Surrounding = Readonly<Record<string, string | number>>;

/**
 * Holds no clock, like the manifest: the same build is the same statement. Whoever built something again says in which
 * surroundings: it is another build, and nobody can take the first one's statement for it.
 */
export function provenanceOf(
  builder: string,
  build: WatchedBuild,
  surroundings?: Surrounding,
): BuildProvenance {
  const { identity, recipe, recipeKey, inputs, origin, toolchain, log, sbom } = build;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: externalParametersOf(identity),
      internalParameters: { recipe: recipeKey, ...(surroundings === undefined ? {} : { surroundings }) },
      resolvedDependencies: [
        { name: "source", digest: digestSet(recipe.driver.source) },
        ...(inputs === undefined ? [] : [{ name: INPUTS, digest: digestSet(inputs) }]),
        ...originOf(origin),
        ...(recipe.driver.needs ?? []).flatMap(({ name, modules }) =>
          modules.map((module) => ({
            name: moduleOfNeed(name, module.name),
            digest: digestSet(module.sha256),
          })),
        ),
        ...recipe.headers.map(({ name, version, sha256 }) => ({
          ...{ name, uri: purl(identity.distribution.release, name, version), digest: { sha256 } },
        })),
        ...recipe.toolchain.map(({ name, version }) => ({ name, uri: purl(toolchain, name, version) })),
      ],
    },
    runDetails: {
      builder: { id: builder },
      byproducts: [
        { name: LOG, digest: digestSet(log), mediaType: "text/plain" },
        ...(sbom === undefined
          ? []
          : [{ name: SBOM, digest: digestSet(sbom), mediaType: "application/vnd.cyclonedx+json" }]),
      ],
    },
  };
}

const LOG = "build.log";
const SBOM = "sbom.cdx.json";
const INPUTS = "inputs";

function moduleOfNeed(driver: string, module: string): string {
  return `${driver}/${module}.ko`;
}

function digestSet(digest: Digest): { readonly sha256: string } {
  return { sha256: hexOf(digest) };
}

/** What people can find it by. Places on the builder's own disk are nobody's business. */
function originOf(origin: OriginRecord | undefined): Descriptor[] {
  if (origin === undefined) return [];
  const { kind, place, sha256, commit } = origin;
  const uri = /^https?:/.test(place) ? { uri: kind === "git" ? `git+${place}` : place } : {};
  if (kind === "git" && commit !== undefined)
    return [{ name: "origin", ...uri, digest: { gitCommit: commit } }];
  if (kind === "directory" || sha256 === undefined) return [];
  return [{ name: "origin", ...uri, digest: { sha256: sha256.replace(/^sha256:/, "") } }];
}

/** A package of a distribution release: `pkg:deb/debian/gcc-12@12.2.0-14?distro=debian-12`. */
export function purl(release: string, name: string, version: string): string {
  const { id, version: distributionVersion, format } = partsOfRelease(release);
  const distro = { distro: `${id}-${distributionVersion}` };
  const [, epoch, rest = version] = /^(\d+):(.*)$/s.exec(version) ?? [];
  const isRpm = format === "rpm";
  const qualifiers = isRpm && epoch !== undefined ? { ...distro, epoch } : distro;
  const type = format === "other" ? "generic" : format;
  return new PackageURL(type, id, name, isRpm ? rest : version, qualifiers, undefined).toString();
}

/** What a build was made of that its statement does not name, in words; none if it names all of it. */
export function unnamedMaterials(
  build: BuildMaterials,
  { buildDefinition, runDetails }: BuildProvenance,
): string[] {
  const { internalParameters = {} } = buildDefinition;
  const made = new Set((runDetails.byproducts ?? []).map(materialOf));
  return [
    ...unnamedDependencies(build, buildDefinition),
    ...(made.has(materialKey({ name: LOG, sha256: hexOf(build.log) })) ? [] : [LOG]),
    ...(build.sbom === undefined || made.has(materialKey({ name: SBOM, sha256: hexOf(build.sbom) }))
      ? []
      : [SBOM]),
    ...unnamedRecipe(build, internalParameters),
  ];
}

/** The same of another build by the same recipe: its log is its own, and it may say where it happened. */
export function unnamedByRebuild(build: BuildMaterials, { buildDefinition }: BuildProvenance): string[] {
  const { surroundings: _, ...internalParameters } = buildDefinition.internalParameters ?? {};
  return [...unnamedDependencies(build, buildDefinition), ...unnamedRecipe(build, internalParameters)];
}

/** Whether a statement says that it is of another build than the first. */
export function saysRebuilt({ buildDefinition: { internalParameters = {} } }: BuildProvenance): boolean {
  return internalParameters.surroundings !== undefined;
}

function unnamedRecipe(
  { recipeKey }: BuildMaterials,
  internalParameters: NonNullable<BuildProvenance["buildDefinition"]["internalParameters"]>,
): string[] {
  return canonicalJson(internalParameters) === canonicalJson({ recipe: recipeKey }) ? [] : ["its recipe"];
}

function unnamedDependencies(
  { recipe, inputs }: BuildMaterials,
  { resolvedDependencies = [] }: BuildProvenance["buildDefinition"],
): string[] {
  const named = new Set(resolvedDependencies.map(materialOf));
  const { driver, headers, toolchain } = recipe;
  const materials = [
    { name: "source", sha256: hexOf(driver.source) },
    ...(inputs === undefined ? [] : [{ name: INPUTS, sha256: hexOf(inputs) }]),
    ...(driver.needs ?? []).flatMap(({ name, modules }) =>
      modules.map((module) => ({ name: moduleOfNeed(name, module.name), sha256: hexOf(module.sha256) })),
    ),
    ...headers,
    ...toolchain,
  ];
  return materials.filter((one) => !named.has(materialKey(one))).map(({ name }) => name);
}

/** What a test was of, as a test result names it: the recipe and the inputs. */
export function testedBuild({
  recipeKey,
  inputs,
}: Pick<BuildMaterials, "recipeKey" | "inputs">): Descriptor[] {
  return [
    { name: "recipe", digest: digestSet(recipeKey) },
    ...(inputs === undefined ? [] : [{ name: INPUTS, digest: digestSet(inputs) }]),
  ];
}

interface Material {
  readonly name: string;
  readonly version?: string | undefined;
  readonly sha256?: string | undefined;
}

function materialKey({ name, version, sha256 }: Material): string {
  return canonicalJson([name, version ?? null, sha256 ?? null]);
}

/** What a descriptor is of: a package by its name and version, anything by its digest. */
function materialOf({ name = "", uri, digest }: Descriptor): string {
  const found = uri?.startsWith("pkg:") === true ? packageOf(uri) : undefined;
  const version = found?.name === name ? found.version : undefined;
  return materialKey({ name, version, sha256: digest?.sha256 });
}

/** Name and version of a package URL; undefined for what is none. */
function packageOf(uri: string): Material | undefined {
  try {
    const { name, version, qualifiers } = PackageURL.fromString(uri);
    const { epoch } = qualifiers ?? {};
    return { name, version: epoch === undefined ? version : `${epoch}:${version}` };
  } catch {
    return undefined;
  }
}
