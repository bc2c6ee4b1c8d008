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
  log: TreeDigest,
});
export type BuildMaterials = z.infer<typeof BuildMaterials>;

/** A build that was watched by who makes the statement. */
export interface WatchedBuild {
  readonly recipe: Pick<Recipe, "driver" | "headers" | "toolchain">;
  readonly log: Digest;
  readonly identity: BuiltIdentity;
  readonly recipeKey: Digest;
  /** Where the driver's source came from. */
  readonly origin?: OriginRecord | undefined;
  /** The release whose toolchain it was. */
  readonly toolchain: string;
}

/** Holds no clock, like the manifest: the same build is the same statement. */
export function provenanceOf(builder: string, build: WatchedBuild): BuildProvenance {
  const { identity, recipe, recipeKey, origin, toolchain, log } = build;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: externalParametersOf(identity),
      internalParameters: { recipe: recipeKey },
      resolvedDependencies: [
        { name: "source", digest: digestSet(recipe.driver.source) },
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
      byproducts: [{ name: LOG, digest: digestSet(log), mediaType: "text/plain" }],
    },
  };
}

const LOG = "build.log";

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
function purl(release: string, name: string, version: string): string {
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
  { recipe, recipeKey, log }: BuildMaterials,
  { buildDefinition, runDetails }: BuildProvenance,
): string[] {
  const { resolvedDependencies = [], internalParameters = {} } = buildDefinition;
  const named = new Set(resolvedDependencies.map(materialOf));
  const made = new Set((runDetails.byproducts ?? []).map(materialOf));
  const { driver, headers, toolchain } = recipe;
  const materials = [
    { name: "source", sha256: hexOf(driver.source) },
    ...(driver.needs ?? []).flatMap(({ name, modules }) =>
      modules.map((module) => ({ name: moduleOfNeed(name, module.name), sha256: hexOf(module.sha256) })),
    ),
    ...headers,
    ...toolchain,
  ];
  return [
    ...materials.filter((one) => !named.has(materialKey(one))).map(({ name }) => name),
    ...(made.has(materialKey({ name: LOG, sha256: hexOf(log) })) ? [] : [LOG]),
    ...(canonicalJson(internalParameters) === canonicalJson({ recipe: recipeKey }) ? [] : ["its recipe"]),
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
