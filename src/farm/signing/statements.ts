/**
 * Statements of how artifacts were built: the farm makes one of each that it built itself, and reads those of what is
 * published, whoever made them.
 */

import { FarmError } from "../../base/error.ts";
import { hexOf, sha256 } from "../../base/json.ts";
import type { Stated } from "../../check/checks/check.ts";
import type { OpenedModule } from "../../check/opened-modules.ts";
import type { TrustedBuilder } from "../../check/provenance.ts";
import type { Subject } from "../../check/verdict.ts";
import { splitSignature } from "../../formats/module-signature.ts";
import { BuildMaterials, provenanceOf, type WatchedBuild } from "../../provenance/build.ts";
import { writeBundle } from "../../provenance/bundle.ts";
import type { PublicKey } from "../../provenance/public-key.ts";
import { type StatedModule, statementOf, writeStatement } from "../../provenance/statement.ts";
import { readBlob } from "../../registry/blobs.ts";
import type { IndexEntry, Manifest } from "../../registry/documents.ts";
import { corruptStore } from "../../registry/stored.ts";
import type { Store } from "../../registry/stores/store.ts";
import type { FarmSigning } from "./keys.ts";

/** What of a farm speaks for it. */
export interface Speaker {
  readonly signing: Pick<FarmSigning, "keysFor" | "sign">;
  readonly config: { readonly builderId?: string | undefined };
}

/** Who states how this farm's artifacts were built. */
export interface Attestor {
  /** Whose statements they are, and the key that they can be verified with. */
  readonly builder: TrustedBuilder;
  /** Signs a statement's text as DSSE's payload. */
  readonly sign: (payload: string) => Promise<Uint8Array>;
}

/** Undefined for a farm without a key for statements. @throws FarmError KEY_UNREADABLE, KEY_LOCKED */
export async function openAttestor({ signing, config }: Speaker): Promise<Attestor | undefined> {
  const [first] = await signing.keysFor("builder");
  if (first === undefined) return undefined;
  const [name, key] = first;
  return {
    builder: ownBuilder(config, key),
    sign: (payload) => signing.sign("builder", { kind: "statement", payload }, name),
  };
}

/**
 * Whose statements count where no policy says whose: this farm's own. Where its keys cannot be had nobody's do, and the
 * check says so.
 */
export async function ownBuilders({ signing, config }: Speaker): Promise<readonly TrustedBuilder[]> {
  try {
    const keys = await signing.keysFor("builder");
    return [...keys.values()].map((key) => ownBuilder(config, key));
  } catch (thrown) {
    if (thrown instanceof FarmError && UNAVAILABLE.has(thrown.code)) return [];
    throw thrown;
  }
}

const UNAVAILABLE: ReadonlySet<string> = new Set(["KEY_UNREADABLE", "KEY_LOCKED"]);

function ownBuilder({ builderId }: Speaker["config"], key: PublicKey): TrustedBuilder {
  return { id: builderId ?? `urn:kmodfarm:builder:${hexOf(key.fingerprint)}`, key };
}

/** States a build that this farm planned and watched. @throws FarmError SIGNING_REFUSED */
export async function attest(
  { builder, sign }: Attestor,
  build: WatchedBuild,
  modules: readonly StatedModule[],
): Promise<Buffer> {
  const payload = writeStatement(statementOf(modules, provenanceOf(builder.id, build)));
  return Buffer.from(writeBundle(payload, await sign(payload), builder.key));
}

/** What a published artifact comes with, against what its manifest says. @throws FarmError STORE_CORRUPT */
export async function readStated(
  store: Store,
  { provenance = [], modules }: IndexEntry,
  manifest: Manifest,
  builders: readonly TrustedBuilder[],
  unsigned: readonly StatedModule[] = modules.map(statedModule),
): Promise<Stated> {
  const bundles = await Promise.all(provenance.map(({ digest }) => readBlob(store, digest)));
  const { identity } = manifest;
  const materials = bundles.length === 0 ? undefined : materialsIn(store, manifest);
  return {
    ...{ bundles, builders, of: modules.map(seenModule) },
    build: { identity, modules: unsigned, materials },
  };
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
function materialsIn(store: Store, manifest: Manifest): BuildMaterials | undefined {
  if (isImport(manifest)) return undefined;
  const { recipe, recipeKey, log, identity } = manifest;
  const materials = BuildMaterials.safeParse({ recipe, recipeKey, log: log.digest });
  if (materials.success) return materials.data;
  throw corruptStore(store, `the manifest of ${identity.driver.name} has a malformed recipe`);
}
