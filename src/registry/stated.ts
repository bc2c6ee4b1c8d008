/** What a published artifact comes with: statements of how it was built, and what its manifest says that they must be about. */
import { FarmError } from "../base/error.ts";
import { type Digest, sha256 } from "../base/json.ts";
import { modulesOf, type Rebuilds, type Stated } from "../check/checks/check.ts";
import { type OpenedModule, openModuleFiles } from "../check/opened-modules.ts";
import type { RebuildRule, RebuiltArtifact } from "../check/rebuilds.ts";
import type { Subject } from "../check/verdict.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { BuildMaterials } from "../provenance/build.ts";
import { builderKeys, type TrustedBuilder } from "../provenance/builder.ts";
import { readBundle } from "../provenance/bundle.ts";
import { signersOf } from "../provenance/dsse.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import type { StatedModule } from "../provenance/statement.ts";
import { readBlob } from "./blobs.ts";
import type { IndexEntry, Manifest } from "./documents.ts";
import type { RegistryReader } from "./reader.ts";
import { corruptStore } from "./stored.ts";

/** @throws FarmError STORE_CORRUPT */
export async function readStated(
  store: RegistryReader,
  entry: IndexEntry,
  manifest: Manifest,
  builders: readonly TrustedBuilder[],
): Promise<Stated> {
  const { provenance = [], modules } = entry;
  const bundles = await Promise.all(provenance.map(({ digest }) => readBlob(store, digest)));
  const [isNone, isOthers] = [bundles.length === 0, isImport(manifest)];
  return {
    ...{ bundles, builders, of: modules.map(seenModule) },
    build: {
      identity: manifest.identity,
      modules: isNone || !isOthers ? modules.map(statedModule) : await importedModules(store, entry),
      materials: isNone ? undefined : materialsIn(store, manifest),
    },
  };
}

async function importedModules(store: RegistryReader, entry: IndexEntry): Promise<StatedModule[]> {
  const plain = entry.modules.map(async ({ name, digest }) => ({
    name: `${name}.ko`,
    bytes: await readBlob(store, digest),
  }));
  const files = await openModuleFiles(await Promise.all(plain));
  return (modulesOf({ files }) ?? []).map(unsignedModule);
}

/** Whose statements count, as a gate has it. */
interface Counting {
  readonly builders: readonly TrustedBuilder[];
  readonly rebuilders: readonly PublicKey[];
  readonly rebuilds: RebuildRule;
}

/** An artifact as those who built it again must state it. @throws FarmError STORE_CORRUPT */
export async function rebuiltArtifact(
  store: RegistryReader,
  { provenance = [], modules }: Pick<IndexEntry, "provenance" | "modules">,
  manifest: Manifest,
  { builders, rebuilders }: Pick<Counting, "builders" | "rebuilders">,
): Promise<RebuiltArtifact> {
  const keys = [...rebuilders, ...builderKeys(builders)];
  const bundles = await Promise.all(provenance.map(({ digest }) => readBlob(store, digest)));
  return {
    ...{ identity: manifest.identity, modules: modules.map(statedModule), builders },
    materials: materialsIn(store, manifest),
    firstKeys: new Set(bundles.flatMap((bundle) => signersOfBundle(bundle, keys))),
  };
}

/** Whoever signed something that cannot be read signed nothing. */
function signersOfBundle(bundle: Buffer, keys: readonly PublicKey[]): Digest[] {
  try {
    return signersOf(readBundle(bundle, "its statement"), keys).map(({ fingerprint }) => fingerprint);
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "PROVENANCE_MALFORMED") throw thrown;
    return [];
  }
}

/** What was stated of an artifact by those who built it again. @throws FarmError STORE_CORRUPT */
export async function readRebuilds(
  store: RegistryReader,
  entry: IndexEntry,
  manifest: Manifest,
  counting: Counting,
): Promise<Rebuilds> {
  const bundles = await Promise.all((entry.rebuilds ?? []).map(({ digest }) => readBlob(store, digest)));
  const artifact = await rebuiltArtifact(store, entry, manifest, counting);
  return { bundles, artifact, rule: counting.rebuilds, of: entry.modules.map(seenModule) };
}

/** As an index or an attempt lists it. */
type ListedModule = Pick<IndexEntry["modules"][number], "name" | "digest" | "stripped">;

export function statedModule({ name, digest, stripped }: ListedModule): StatedModule {
  return { name, digest, ...(stripped === undefined ? {} : { stripped }) };
}

/** A module that others built: with the signature that it may have, it is another file than the one that is stated. */
export function unsignedModule({ file, bytes, module: { name } }: OpenedModule): StatedModule {
  return { name, digest: sha256(splitSignature(bytes, file).content) };
}

/** As a check sees it that looks into what nodes get. */
export function seenModule({ name, digest, stripped }: ListedModule): Subject {
  return { module: name, sha256: stripped ?? digest };
}

export function isImport({ recipe }: Pick<Manifest, "recipe">): boolean {
  return recipe.schema === "kmodfarm.import/1";
}

/** Of what somebody else built nothing is known that could be compared. */
function materialsIn(store: RegistryReader, manifest: Manifest): BuildMaterials | undefined {
  if (isImport(manifest)) return undefined;
  const { recipe, recipeKey, inputs, sbom, log, identity } = manifest;
  const known = { recipe, recipeKey, inputs: inputs?.digest, sbom: sbom?.digest, log: log.digest };
  const materials = BuildMaterials.safeParse(known);
  if (materials.success) return materials.data;
  throw corruptStore(store, `the manifest of ${identity.driver.name} has a malformed recipe`);
}
