/**
 * From an attempt and its verdicts to a published artifact: manifest, blobs, and its line in an index.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FarmError } from "../base/error.ts";
import { type Digest, describeIssue, hexOf, sha256, toDocument } from "../base/json.ts";
import type { Attempt } from "../build/attempt.ts";
import { compressedPath, modulePath, PACKINGS, strippedPath } from "../build/outputs.ts";
import type { KernelRecord } from "../check/kernel-record.ts";
import type { Verdict } from "../check/verdict.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import type { Element } from "../matrix/element.ts";
import { type IndexEntry, Manifest } from "./documents.ts";
import { corruptStore, parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";

export function blobPath(digest: string): string {
  const hex = hexOf(digest);
  return `blobs/sha256/${hex.slice(0, 2)}/${hex}`;
}

/** Stores bytes under their digest; what is there already stays, unless it is damaged. */
export async function putBlob(store: Store, content: Buffer | string): Promise<Digest> {
  const digest = sha256(content);
  const there = await store.read(blobPath(digest));
  if (there === undefined || sha256(there) !== digest) await store.write(blobPath(digest), content);
  return digest;
}

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

/** What an index entry refers to. @throws FarmError STORE_CORRUPT */
export async function readManifest(
  store: Store,
  { manifest }: Pick<IndexEntry, "manifest">,
): Promise<Manifest> {
  return parseStored(store, blobPath(manifest), await readBlob(store, manifest), Manifest);
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

/** @throws FarmError STORE_CORRUPT */
export async function readBlob(store: Store, digest: string): Promise<Buffer> {
  const place = blobPath(digest);
  const bytes = await store.read(place);
  if (bytes === undefined || sha256(bytes) !== digest)
    throw corruptStore(store, `${place} is missing or damaged`);
  return bytes;
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
    modules: modules.map((module) => listedModule(module, attempt)),
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
  const put = async (path: string) => putBlob(store, await readFile(join(directory, path)));
  const compression = record.recipe.driver.build?.compress;
  const modules: Manifest["modules"] = [];
  for (const { name, size, stripped, compressed } of record.modules) {
    const bytes = await readFile(join(directory, modulePath(name)));
    const isPacked = compressed !== undefined && compression !== undefined;
    modules.push({
      name,
      digests: {
        unsigned: await putBlob(store, bytes),
        ...(stripped === undefined ? {} : { stripped: await put(strippedPath(name)) }),
        ...(isPacked ? { compressed: await put(compressedPath(name, compression)) } : {}),
      },
      size,
      witnesses: witnessesOf(bytes, `${name}.ko`),
    });
  }
  const files = [];
  for (const { path, size } of record.files ?? [])
    files.push({ path, digest: await put(`files/${path}`), size });
  return { modules, files };
}

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
    compilers: [...compilers],
  };
}

function listedModule(
  { name, digests, size }: Manifest["modules"][number],
  { record }: Attempt,
): IndexEntry["modules"][number] {
  const { unsigned, stripped, compressed } = digests;
  const compression = record.recipe.driver.build?.compress;
  return {
    name,
    digest: unsigned,
    size,
    ...(stripped === undefined ? {} : { stripped }),
    ...(compressed === undefined || compression === undefined
      ? {}
      : { compressed: { file: `${name}.ko.${PACKINGS[compression]}`, digest: compressed } }),
  };
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
    target,
    log,
  }: Outputs &
    Pick<Findings, "verdicts"> &
    Pick<Manifest, "log"> & { readonly target: Manifest["environment"]["target"] },
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
    verdicts: [...verdicts],
    log,
  };
}
