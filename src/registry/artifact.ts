/**
 * From the content of an artifact and what was found out about it to what is published: blobs, manifest, and its line in an
 * index. Built here or imported, both go this way.
 */
import { FarmError } from "../base/error.ts";
import { canonicalJson, type Digest, describeIssue, sha256, toDocument } from "../base/json.ts";
import { PACKINGS } from "../builder/outputs.ts";
import type { Verdict } from "../check/verdict.ts";
import { readKernelModule } from "../formats/kernel-module.ts";
import type { KernelRecord } from "../inputs/kernel-record.ts";
import type { Element } from "../matrix/element.ts";
import {
  type ArtifactContent,
  identityOf,
  listedModules,
  type ModuleContent,
  type Piece,
} from "./artifact-content.ts";
import { blobPath, putBlob, readBlob } from "./blobs.ts";
import { type IndexEntry, Manifest, type Part } from "./documents.ts";
import type { RegistryReader } from "./reader.ts";
import { corruptStore, parseStored } from "./stored.ts";
import type { Store } from "./stores/store.ts";

/**
 * Stores a manifest. What it names becomes paths when it is read, and names come from modules and drivers: one that
 * could not be read again must not get in.
 * @throws FarmError UNSAFE_NAME
 */
export async function putManifest(store: Store, manifest: Manifest): Promise<Part> {
  const { error } = Manifest.safeParse(manifest);
  const text = toDocument(manifest);
  if (error === undefined) return { digest: await putBlob(store, text), size: Buffer.byteLength(text) };
  const { driver, kernel } = manifest.identity;
  throw new FarmError("UNSAFE_NAME", {
    detail: `the artifact of ${driver.name} for ${kernel.release} cannot be stored: ${describeIssue(error)}`,
  });
}

/**
 * What an index entry refers to, and only if both name the same bytes.
 * @throws FarmError STORE_CORRUPT
 */
export async function readManifest(store: RegistryReader, entry: IndexEntry): Promise<Manifest> {
  return manifestFrom(store, entry, await readBlob(store, entry.manifest));
}

/** The same, from its bytes. @throws FarmError STORE_CORRUPT */
export function manifestFrom(store: RegistryReader, entry: IndexEntry, bytes: Buffer): Manifest {
  const place = blobPath(entry.manifest);
  const manifest = parseStored(store, place, bytes, Manifest);
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
    inputs: [entry.inputs ?? null, manifest.inputs ?? null],
    bills: [entry.sbom ?? null, manifest.sbom ?? null],
  };
  return Object.entries(parts).find(([, [a, b]]) => canonicalJson(a) !== canonicalJson(b))?.[0];
}

/** An artifact's modules as nodes get them. @throws FarmError STORE_CORRUPT */
export async function readModules(
  store: RegistryReader,
  { modules }: Pick<IndexEntry, "modules">,
): Promise<{ readonly name: string; readonly bytes: Buffer }[]> {
  return Promise.all(
    modules.map(async ({ name, digest, stripped, compressed }) => ({
      name: compressed?.file ?? `${name}.ko`,
      bytes: await readBlob(store, compressed?.digest ?? stripped ?? digest),
    })),
  );
}

/** What was found out about an artifact. */
export interface Evidence {
  readonly verdicts: readonly Verdict[];
  /** Why it is not stable. */
  readonly refusals: readonly string[];
  /** What its kernel says of itself. */
  readonly kernel: KernelRecord;
  /** What is stated of its build, each signed. */
  readonly bundles?: readonly Buffer[];
  /** The document of all that a rebuild needs. */
  readonly inputs?: Part | undefined;
  readonly sbom?: Part | undefined;
  /** What the index notes of that. */
  readonly noted?: Pick<IndexEntry, "verdicts" | "judged">;
}

/**
 * Puts an artifact's bytes into the store, and what is known of it; returns its line of an index. Nothing refers to them
 * yet: that is the generation's work.
 */
export async function storeArtifact(
  store: Store,
  element: Element,
  content: ArtifactContent,
  evidence: Evidence,
): Promise<IndexEntry> {
  const modules: StoredModule[] = [];
  for (const module of content.modules) modules.push(await storeModule(store, module));
  for (const file of content.files) await putPiece(store, file);
  await putBlob(store, content.log);
  const provenance: Part[] = [];
  for (const bundle of evidence.bundles ?? [])
    provenance.push({ digest: await putBlob(store, bundle), size: bundle.length });
  const described = modules.map(({ described: one }) => one);
  const manifest = manifestOf(element, content, evidence, described);
  const entry = entryOf(element, content, evidence, await putManifest(store, manifest));
  const listed = {
    ...entry,
    modules: entry.modules.map((one, at) =>
      one.stripped === undefined ? one : { ...one, strippedSize: modules[at]?.insertedSize },
    ),
  };
  return provenance.length === 0 ? listed : { ...listed, provenance };
}

interface StoredModule {
  readonly described: Manifest["modules"][number];
  /** Of what nodes insert. */
  readonly insertedSize: number;
}

async function storeModule(
  store: Store,
  { name, size, built, stripped, compressed }: ModuleContent,
): Promise<StoredModule> {
  // One shape after the other: modules with all their debugging information may be large.
  const digests = {
    unsigned: await putPiece(store, built),
    ...(stripped === undefined ? {} : { stripped: await putPiece(store, stripped) }),
    ...(compressed === undefined ? {} : { compressed: await putPiece(store, compressed) }),
  };
  const bytes = await readBlob(store, digests.stripped ?? digests.unsigned);
  const witnesses = witnessesOf(bytes, `${name}.ko`);
  return { described: { name, digests, size, witnesses }, insertedSize: bytes.length };
}

/** Verdicts are about what was taken over, and so is everything that is published. @throws FarmError DIGEST_MISMATCH */
async function putPiece(store: Store, { digest, what, read }: Piece): Promise<Digest> {
  const bytes = await read();
  if (sha256(bytes) === digest) return putBlob(store, bytes);
  throw new FarmError("DIGEST_MISMATCH", { detail: `${what} is not what the build produced` });
}

/** So many are listed of what a module says of its compilers; real ones name one to three. */
const MOST_COMPILERS = 100;

/** Facts read from a module itself. @throws FarmError MODULE_MALFORMED */
function witnessesOf(bytes: Buffer, file: string): Manifest["modules"][number]["witnesses"] {
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

/** The side of the environment that a kernel's own packages tell. */
function targetOf(
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
  { driver, recipe, recipeKey, files, environment, remarks, log }: ArtifactContent,
  { verdicts, kernel, inputs, sbom }: Evidence,
  modules: Manifest["modules"],
): Manifest {
  const target = targetOf(element, kernel);
  const { declared, observed, mismatch } = environment;
  return {
    schema: "kmodfarm.manifest/2",
    identity: identityOf(element, driver),
    ...{ recipe, recipeKey, modules },
    ...namedFiles(files),
    environment: {
      declared: { compiler: target.compiler, ...declared },
      ...{ observed, target },
      ...(mismatch === undefined ? {} : { mismatch }),
    },
    ...(remarks === undefined ? {} : { remarks }),
    ...(inputs === undefined ? {} : { inputs }),
    ...(sbom === undefined ? {} : { sbom }),
    verdicts: [...verdicts],
    log: { digest: sha256(log), size: log.length },
  };
}

function entryOf(
  { kversion, packageVersion, flavour, output }: Element,
  content: ArtifactContent,
  { refusals, noted = {}, inputs, sbom }: Evidence,
  manifest: Part,
): IndexEntry {
  const { driver, recipeKey, files, log } = content;
  return {
    driver: driver.name,
    driverVersion: driver.version,
    series: output.split("/")[0] ?? "",
    ...{ kversion, packageVersion, flavour, output },
    ...{ recipe: recipeKey, manifest: manifest.digest, manifestSize: manifest.size },
    modules: listedModules(content),
    ...namedFiles(files),
    log: sha256(log),
    ...(inputs === undefined ? {} : { inputs }),
    ...(sbom === undefined ? {} : { sbom }),
    ...(refusals.length === 0 ? {} : { reasons: [...refusals] }),
    ...noted,
  };
}

function namedFiles(files: ArtifactContent["files"]): Pick<IndexEntry, "files"> {
  if (files.length === 0) return {};
  return { files: files.map(({ path, digest, size }) => ({ path, digest, size })) };
}
