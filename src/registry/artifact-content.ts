/**
 * What an artifact is made of, whether it was built here or elsewhere: its modules and files as they are to
 * be stored, and what is known of how they came to be. Nothing is stored here.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, digestOf, sha256 } from "../base/json.ts";
import type { Attempt } from "../builder/attempt.ts";
import { remarksOf } from "../builder/build-remarks.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../builder/outputs.ts";
import type { OpenedModule } from "../check/opened-modules.ts";
import type { Element } from "../matrix/element.ts";
import type { IndexEntry, Manifest } from "./documents.ts";

/** Bytes that are to be stored under their digest, read when they are. */
export interface Piece {
  readonly digest: Digest;
  /** What it is, where its bytes turn out to be others. */
  readonly what: string;
  readonly read: () => Promise<Buffer>;
}

export interface ModuleContent {
  readonly name: string;
  /** Of the module as it was built. */
  readonly size: number;
  readonly built: Piece;
  readonly stripped?: Piece;
  readonly compressed?: Piece & { readonly file: string };
}

export interface ArtifactContent extends Pick<Manifest, "recipe" | "remarks" | "recipeKey"> {
  readonly driver: Manifest["identity"]["driver"];
  readonly modules: readonly ModuleContent[];
  readonly files: readonly (Piece & { readonly path: string; readonly size: number })[];
  /** Without the side that the kernel tells. */
  readonly environment: Pick<Manifest["environment"], "observed" | "mismatch"> & {
    /** The compiler is the kernel's own where it is not named. */
    readonly declared: {
      readonly compiler?: string;
      readonly packages: Manifest["environment"]["declared"]["packages"];
    };
  };
  readonly log: Buffer;
}

/** What an attempt gave. */
export async function builtContent(
  { driver: name, driverversion: version }: Pick<Element, "driver" | "driverversion">,
  { record, recipeKey, directory, logFile }: Attempt,
): Promise<ArtifactContent> {
  const { recipe, environment, mismatch } = record;
  const log = await readFile(logFile);
  const piece = (path: string, digest: Digest): Piece => {
    const place = join(directory, path);
    return { digest, what: place, read: () => readFile(place) };
  };
  const compression = recipe.driver.build?.compress;
  const remarks = remarksOf(log.toString("utf8"));
  return {
    ...{
      driver: { name, version, source: recipe.driver.source },
      recipe,
      recipeKey: recipeKey as Digest,
      log,
    },
    modules: record.modules.map(({ name: module, size, sha256: digest, stripped, compressed }) => ({
      ...{ name: module, size, built: piece(modulePath(module), digest) },
      ...(stripped === undefined ? {} : { stripped: piece(strippedPath(module), stripped.sha256) }),
      ...(compressed === undefined || compression === undefined
        ? {}
        : {
            compressed: {
              ...piece(compressedPath(module, compression), compressed.sha256),
              file: `${module}.ko.${PACKINGS[compression]}`,
            },
          }),
    })),
    files: (record.files ?? []).map(({ path, sha256: digest, size }) => ({
      ...{ ...piece(`files/${path}`, digest), path, size },
    })),
    environment: {
      declared: {
        packages: [...recipe.toolchain],
        ...(mismatch === undefined ? {} : { compiler: mismatch.used }),
      },
      observed: environment,
      ...(mismatch === undefined ? {} : { mismatch }),
    },
    ...(remarks === undefined ? {} : { remarks }),
  };
}

/**
 * Modules that were built elsewhere. Their recipe is only what they are: two imports of the same bytes for one kernel are one.
 * So is their source, unless somebody who is believed states it.
 */
export function importedContent(
  driver: { readonly name: string; readonly version: string; readonly source?: Digest | undefined },
  { output }: Pick<Element, "output">,
  opened: readonly OpenedModule[],
): Omit<ArtifactContent, "log"> {
  const modules = opened.map(({ module: { name }, bytes }): ModuleContent => {
    const built = { digest: sha256(bytes), what: `${name}.ko`, read: async () => bytes };
    return { name, size: bytes.length, built };
  });
  const digests = modules.map(({ name, built: { digest } }) => ({ name, digest }));
  const recipe = { schema: "kmodfarm.import/1" as const, element: output, modules: digests };
  const recipeKey = digestOf(recipe);
  const compilers = [...new Set(opened.flatMap(({ module }) => module.compilers))].join("; ");
  return {
    driver: { ...driver, source: driver.source ?? recipeKey },
    ...{ recipe, recipeKey, modules, files: [] },
    environment: {
      declared: { compiler: "unknown", packages: [] },
      observed: { compiler: compilers, packages: [] },
    },
  };
}

/** Which driver for which kernel. */
export function identityOf(element: Element, driver: Manifest["identity"]["driver"]): Manifest["identity"] {
  return {
    driver,
    distribution: {
      id: element.distributionId,
      version: element.distributionVersion,
      release: element.distribution,
    },
    architecture: element.architecture,
    kernel: { release: element.kversion, packageVersion: element.packageVersion, flavour: element.flavour },
  };
}

/** Modules as an index lists them. */
export function listedModules({ modules }: Pick<ArtifactContent, "modules">): IndexEntry["modules"] {
  return modules.map(({ name, size, built, stripped, compressed }) => ({
    ...{ name, digest: built.digest, size },
    ...(stripped === undefined ? {} : { stripped: stripped.digest }),
    ...(compressed === undefined ? {} : { compressed: { file: compressed.file, digest: compressed.digest } }),
  }));
}
