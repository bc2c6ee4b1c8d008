/**
 * From an attempt and its verdicts to a published artifact: manifest, blobs, and its line in an index.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../base/error.ts";
import { canonicalJson, type Digest, describeIssue, sha256, toDocument } from "../base/json.ts";
import type { Attempt } from "../builder/attempt.ts";
import { remarksOf } from "../builder/build-remarks.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../builder/outputs.ts";
import type { Kept } from "../builder/records.ts";
import type { Verdict } from "../check/verdict.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import type { KernelRecord } from "../inputs/kernel-record.ts";
import type { Element } from "../matrix/element.ts";
import { blobPath, putBlob, readBlob } from "./blobs.ts";
import { type IndexEntry, Manifest } from "./documents.ts";
import { corruptStore, parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";

/**
 * Stores a manifest. What it names becomes paths when it is read, and names come from modules and drivers: one that
 * could not be read again must not get in.
 * @throws FarmError UNSAFE_NAME
 */
export function putManifest(store: Store, manifest: Manifest): Promise<Digest> {
  const { error } = Manifest.safeParse(manifest);
  if (error === undefined) return putBlob(store, toDocument(manifest));
  const { driver, kernel } = manifest.identity;
  throw new FarmError("UNSAFE_NAME", {
    detail: `the artifact of ${driver.name} for ${kernel.release} cannot be stored: ${describeIssue(error)}`,
  });
}

/**
 * What an index entry refers to, and only if both name the same bytes.
 * @throws FarmError STORE_CORRUPT
 */
export async function readManifest(store: Store, entry: IndexEntry): Promise<Manifest> {
  const place = blobPath(entry.manifest);
  const manifest = parseStored(store, place, await readBlob(store, entry.manifest), Manifest);
  const part = contradiction(entry, manifest);
  if (part === undefined) return manifest;
  throw corruptStore(store, `the index and the manifest ${place} name different ${part}`);
}

/** What an index says otherwise than the manifest; undefined when they agree. */
function contradiction(entry: IndexEntry, manifest: Manifest): string | undefined {
  const { driver, kernel } = manifest.identity;
  const listed = entry.modules.map(({ name, digest, size, stripped, compressed }) => {
    const isNamedSo = Object.values(PACKINGS).some((ending) => compressed?.file === `${name}.ko.${ending}`);
    const packed = compressed === undefined || isNamedSo ? compressed?.digest : compressed;
    return { name, size, digests: { unsigned: digest, stripped, compressed: packed } };
  });
  const built = manifest.modules.map(({ name, size, digests }) => ({ name, size, digests }));
  const parts = {
    drivers: [
      [entry.driver, entry.driverVersion],
      [driver.name, driver.version],
    ],
    kernels: [
      [entry.kversion, entry.packageVersion],
      [kernel.release, kernel.packageVersion],
    ],
    recipes: [entry.recipe, manifest.recipeKey],
    modules: [listed, built],
    files: [entry.files ?? [], manifest.files ?? []],
    logs: [entry.log, manifest.log.digest],
  };
  return Object.entries(parts).find(([, [a, b]]) => canonicalJson(a) !== canonicalJson(b))?.[0];
}

/** An artifact's modules as nodes get them. @throws FarmError STORE_CORRUPT */
export async function readModules(
  store: Store,
  { modules }: Pick<IndexEntry, "modules">,
): Promise<{ readonly name: string; readonly bytes: Buffer }[]> {
  return Promise.all(
    modules.map(async ({ name, digest, stripped, compressed }) => ({
      name: compressed?.file ?? `${name}.ko`,
      bytes: await readBlob(store, compressed?.digest ?? stripped ?? digest),
    })),
  );
}

interface Findings {
  readonly verdicts: readonly Verdict[];
  /** Why it is not stable. */
  readonly refusals: readonly string[];
  /** What its kernel says of itself. */
  readonly kernel: KernelRecord;
}

/** Puts an artifact's bytes into the store. Nothing refers to them yet: that is the generation's work. */
export async function storeArtifact(
  store: Store,
  element: Element,
  attempt: Attempt,
  { verdicts, refusals, kernel }: Findings,
): Promise<IndexEntry> {
  const { modules, files } = await storeOutputs(store, attempt);
  const log = await readFile(attempt.logFile);
  const manifest = manifestOf(element, attempt, {
    ...{ modules, files, verdicts },
    remarks: remarksOf(log.toString("utf8")),
    target: targetOf(element, kernel),
    log: { digest: await putBlob(store, log), size: log.length },
  });
  return {
    driver: element.driver,
    driverVersion: element.driverversion,
    series: element.output.split("/")[0] ?? "",
    kversion: element.kversion,
    packageVersion: element.packageVersion,
    flavour: element.flavour,
    output: element.output,
    recipe: manifest.recipeKey,
    manifest: await putManifest(store, manifest),
    modules: listedModules(attempt),
    ...(files.length === 0 ? {} : { files }),
    log: manifest.log.digest,
    ...(refusals.length === 0 ? {} : { reasons: [...refusals] }),
  };
}

interface Outputs {
  readonly modules: Manifest["modules"];
  readonly files: NonNullable<Manifest["files"]>;
}

async function storeOutputs(store: Store, { record, directory }: Attempt): Promise<Outputs> {
  const put = async (path: string, { sha256: digest }: Kept) => {
    const bytes = await readFile(join(directory, path));
    // Verdicts are about what was taken over, and so is everything that is published.
    if (sha256(bytes) === digest) return putBlob(store, bytes);
    throw new FarmError("DIGEST_MISMATCH", { detail: `${join(directory, path)} is not what the build gave` });
  };
  const compression = record.recipe.driver.build?.compress;
  const modules: Manifest["modules"] = [];
  for (const module of record.modules) {
    const { name, size, stripped, compressed } = module;
    const isPacked = compressed !== undefined && compression !== undefined;
    const digests = {
      unsigned: await put(modulePath(name), module),
      ...(stripped === undefined ? {} : { stripped: await put(strippedPath(name), stripped) }),
      ...(isPacked ? { compressed: await put(compressedPath(name, compression), compressed) } : {}),
    };
    const bytes = await readBlob(store, digests.stripped ?? digests.unsigned);
    modules.push({ name, digests, size, witnesses: witnessesOf(bytes, `${name}.ko`) });
  }
  const files = [];
  for (const file of record.files ?? []) {
    const digest = await put(`files/${file.path}`, file);
    files.push({ path: file.path, digest, size: file.size });
  }
  return { modules, files };
}

/** So many are listed of what a module says of its compilers; real ones name one to three. */
const MOST_COMPILERS = 100;

/** Facts read from a module itself. @throws FarmError MODULE_MALFORMED */
export function witnessesOf(bytes: Buffer, file: string): Manifest["modules"][number]["witnesses"] {
  const { vermagic, version, srcversion, license, depends, buildId, buildSalt, compilers } = readKernelModule(
    bytes,
    file,
  );
  return {
    vermagic,
    version,
    srcversion,
    license,
    depends: [...depends],
    buildId,
    buildSalt,
    compilers: compilers.slice(0, MOST_COMPILERS),
  };
}

/** Modules of an attempt as an index lists them. */
export function listedModules({ record }: Attempt): IndexEntry["modules"] {
  const compression = record.recipe.driver.build?.compress;
  return record.modules.map(({ name, sha256: digest, size, stripped, compressed }) => ({
    ...{ name, digest, size },
    ...(stripped === undefined ? {} : { stripped: stripped.sha256 }),
    ...(compressed === undefined || compression === undefined
      ? {}
      : { compressed: { file: `${name}.ko.${PACKINGS[compression]}`, digest: compressed.sha256 } }),
  }));
}

/** The side of the environment that a kernel's own packages tell. */
export function targetOf(
  { compiler: listed }: Pick<Element, "compiler">,
  { compiler, release, vermagic, buildSalt, configDigest }: KernelRecord,
): Manifest["environment"]["target"] {
  return {
    compiler: listed === undefined ? "unknown" : `${listed.family}-${listed.version}`,
    ...(compiler === undefined ? {} : { compilerVersion: compiler.version }),
    ...(release === undefined ? {} : { release }),
    ...(vermagic === undefined ? {} : { vermagic }),
    ...(buildSalt === undefined ? {} : { buildSalt }),
    ...(configDigest === undefined ? {} : { configuration: configDigest }),
  };
}

function manifestOf(
  element: Element,
  { record, recipeKey }: Attempt,
  {
    modules,
    files,
    verdicts,
    remarks,
    target,
    log,
  }: Outputs &
    Pick<Findings, "verdicts"> &
    Pick<Manifest, "log" | "remarks"> & { readonly target: Manifest["environment"]["target"] },
): Manifest {
  const { recipe, environment, mismatch } = record;
  return {
    schema: "kmodfarm.manifest/1",
    identity: {
      driver: { name: element.driver, version: element.driverversion, source: recipe.driver.source },
      distribution: {
        id: element.distributionId,
        version: element.distributionVersion,
        release: element.distribution,
      },
      architecture: element.architecture,
      kernel: { release: element.kversion, packageVersion: element.packageVersion, flavour: element.flavour },
    },
    recipe,
    recipeKey: recipeKey as Digest,
    modules,
    ...(files.length === 0 ? {} : { files }),
    environment: {
      declared: { compiler: mismatch?.used ?? target.compiler, packages: [...recipe.toolchain] },
      observed: environment,
      target,
      ...(mismatch === undefined ? {} : { mismatch }),
    },
    ...(remarks === undefined ? {} : { remarks }),
    verdicts: [...verdicts],
    log,
  };
}
