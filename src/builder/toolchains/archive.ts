/**
 * Toolchain roots that travel: a root as an OCI archive, which other machines of the farm use and container tools load.
 * The same root gives the same bytes: entries in order of their names, root's, with one time, and not compressed,
 * because compressors of two machines differ.
 * Source: OCI Image Format Specification 1.1, "image-layout", "config".
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, readFile, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { FarmError, toFarmError } from "../../base/error.ts";
import { writeHashed } from "../../base/file-digest.ts";
import { canonicalJson, type Digest, digestOf, hexOf, sha256 } from "../../base/json.ts";
import { pipeThrough, run } from "../../base/run.ts";
import { exists, type Scratch } from "../../base/scratch.ts";
import { removeTree } from "../../base/strange-tree.ts";
import { filesInTar } from "../../formats/tar-files.ts";
import { TAR_END, tarFile, tarFilling } from "../../formats/tar-write.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { unpackTar } from "../origins/unpack-tar.ts";
import { ROOT_RECORD, RootRecord } from "./root-record.ts";

/** The largest roots have two gigabytes. */
const ROOT_LIMIT_BYTES = 16 * 1024 ** 3;
const DOCUMENT_LIMIT_BYTES = 4 * 1024 ** 2;
/** `oci-layout`, index, manifest and config come before the layer. */
const DOCUMENT_COUNT = 4;
const LABEL = "io.kmodfarm.root";
const BLOBS = "blobs/sha256/";
const TYPES = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
} as const;
const OCI_ARCHITECTURES = { x86_64: "amd64", aarch64: "arm64" } as const;

const Sha256 = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);
const Descriptor = z.object({ mediaType: z.string(), digest: Sha256, size: z.int().nonnegative() });
const Index = z.object({ manifests: z.array(Descriptor).length(1) });
const Manifest = z.object({ config: Descriptor, layers: z.array(Descriptor).length(1) });
const Config = z.object({ config: z.object({ Labels: z.object({ [LABEL]: z.string() }) }) });
const Root = z.object({ name: PathSegment, record: RootRecord });

/** A root in an archive. `digest` is of its content and its record: the same on every machine that has it. */
export interface ArchivedRoot {
  readonly name: string;
  readonly digest: Digest;
  readonly record: RootRecord;
}

/**
 * Writes the root that lies at a place of the cache into an archive.
 * @throws FarmError TOOL_FAILED, TOOL_MISSING
 */
export async function exportRoot(place: string, file: string, scratch: Scratch): Promise<ArchivedRoot> {
  const record = await readRecord(place);
  const name = basename(place);
  const [layer, whole] = [scratch.path(), scratch.path()];
  try {
    const content = await writeLayer(join(place, "root"), layer);
    const label = canonicalJson({ name, record });
    const config = document(TYPES.config, {
      architecture: OCI_ARCHITECTURES[record.builder],
      os: "linux",
      rootfs: { type: "layers", diff_ids: [content.digest] },
      config: { Labels: { [LABEL]: label } },
    });
    const layerFacts = { mediaType: TYPES.layer, ...content };
    const manifest = document(TYPES.manifest, {
      schemaVersion: 2,
      mediaType: TYPES.manifest,
      config: config.facts,
      layers: [layerFacts],
    });
    const index = {
      schemaVersion: 2,
      mediaType: TYPES.index,
      manifests: [
        { ...manifest.facts, annotations: { "org.opencontainers.image.ref.name": `kmodfarm/${name}` } },
      ],
    };
    await mkdir(dirname(whole), { recursive: true });
    await pipeline(
      async function* () {
        yield* inTar("oci-layout", Buffer.from(canonicalJson({ imageLayoutVersion: "1.0.0" })));
        yield* inTar("index.json", Buffer.from(canonicalJson(index)));
        for (const { facts, bytes } of [manifest, config]) yield* inTar(blobPath(facts.digest), bytes);
        yield tarFile(blobPath(content.digest), content.size);
        yield* createReadStream(layer);
        yield tarFilling(content.size);
        yield TAR_END;
      },
      createWriteStream(whole, { flags: "wx" }),
    );
    await mkdir(dirname(file), { recursive: true });
    await rename(whole, file);
    return { name, digest: rootDigest(content.digest, record), record };
  } finally {
    await removeTree(layer);
    await removeTree(whole);
  }
}

/**
 * Unpacks the root of an archive into a directory, `root` and its record, as the cache has them; one that is there by
 * then stays. `place` is told which root it is before anything is unpacked.
 * @throws FarmError TOOLCHAIN_INVALID naming what is wrong with the archive, TOOL_FAILED
 */
export async function importRoot(
  file: string,
  place: string | ((root: ArchivedRoot) => string),
  scratch: Scratch,
  signal?: AbortSignal,
): Promise<ArchivedRoot> {
  const made = scratch.path();
  await mkdir(made, { recursive: true, mode: 0o700 });
  try {
    const layer = join(made, "layer");
    const root = await readArchive(file, layer).catch((thrown) => {
      const error = toFarmError(thrown);
      throw error.code === "PACKAGE_MALFORMED" ? invalid(file, error.message) : error;
    });
    const target = typeof place === "string" ? place : place(root);
    await mkdir(join(made, "root"));
    await unpackTar(() => createReadStream(layer), basename(file), join(made, "root"), signal, {
      limitBytes: ROOT_LIMIT_BYTES,
      keepsModes: true,
    }).catch((thrown) => {
      const error = toFarmError(thrown);
      throw error.code === "DRIVER_INVALID" ? invalid(file, error.message) : error;
    });
    await removeTree(layer);
    // A root that lost its end with the power would be believed.
    const synced = await run(["sync", "--file-system", made]);
    if (synced.exitCode !== 0)
      throw new FarmError("TOOL_FAILED", { detail: `the root cannot be written: ${synced.stderr.trim()}` });
    await scratch.write(join(made, ROOT_RECORD), JSON.stringify(root.record));
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    if (await isPlaced(made, target)) return root;
    // What is built in it may be under way: it stays. Only what it says of itself is compared.
    if (canonicalJson(await readRecord(target)) !== canonicalJson(root.record))
      throw invalid(file, `${target} is there already, and is another root of that name`);
    return root;
  } finally {
    await removeTree(made);
  }
}

/** Whether a root took its place; false if a whole one is there, perhaps since a moment ago. Half of one goes. */
async function isPlaced(made: string, target: string): Promise<boolean> {
  for (const isLast of [false, true]) {
    try {
      await rename(made, target);
      return true;
    } catch (thrown) {
      if (await exists(join(target, ROOT_RECORD))) return false;
      if (isLast) throw thrown;
      await removeTree(target);
    }
  }
  return false;
}

async function readRecord(place: string): Promise<RootRecord> {
  return RootRecord.parse(JSON.parse(await readFile(join(place, ROOT_RECORD), "utf8")));
}

/** What the record says is what builds are told of the root: the same files under another record are another root. */
function rootDigest(layer: Digest, record: RootRecord): Digest {
  return digestOf({ layer, record });
}

async function writeLayer(
  root: string,
  file: string,
): Promise<{ readonly digest: Digest; readonly size: number }> {
  await mkdir(dirname(file), { recursive: true });
  const tar = pipeThrough([
    ...["tar", "--create", "--file", "-", "--format=gnu", "--sort=name", "--mtime=@0", "--numeric-owner"],
    ...["--owner=0", "--group=0", "--directory", root, "."],
  ]);
  const digest = await writeHashed(tar.stdout, file).catch((thrown) => {
    tar.stop();
    throw thrown;
  });
  if ((await tar.exit) !== 0)
    throw new FarmError("TOOL_FAILED", { detail: `tar cannot read the root ${root}: ${tar.said().trim()}` });
  return { digest, size: (await stat(file)).size };
}

function document(mediaType: string, content: unknown) {
  const bytes = Buffer.from(canonicalJson(content));
  return { bytes, facts: { mediaType, digest: sha256(bytes), size: bytes.length } };
}

function* inTar(path: string, bytes: Buffer): Generator<Buffer> {
  yield tarFile(path, bytes.length);
  yield bytes;
  yield tarFilling(bytes.length);
}

function blobPath(digest: string): string {
  return `${BLOBS}${hexOf(digest)}`;
}

/** Reads an archive's documents, and writes its layer, which comes behind them, to a file; all are what their digests say. */
async function readArchive(file: string, layer: string): Promise<ArchivedRoot> {
  const documents = new Map<string, Buffer>();
  const read = <T>(path: string, type: z.ZodType<T>): T => {
    try {
      return type.parse(JSON.parse(documents.get(path)?.toString() ?? ""));
    } catch {
      throw invalid(file, `its ${path} is missing or is none of a toolchain root`);
    }
  };
  for await (const { path, size, pieces } of filesInTar(createReadStream(file))) {
    if (size > DOCUMENT_LIMIT_BYTES || documents.size === DOCUMENT_COUNT) {
      const [wanted] = read("index.json", Index).manifests;
      const { config, layers } = read(blobPath(wanted?.digest ?? ""), Manifest);
      const { Labels } = read(blobPath(config.digest), Config).config;
      const root = labelled(file, Labels[LABEL]);
      const digest = await writeHashed(pieces, layer);
      if (layers[0]?.digest !== digest || path !== blobPath(digest))
        throw invalid(file, "its layer is missing or damaged");
      return { ...root, digest: rootDigest(digest, root.record) };
    }
    const bytes = Buffer.concat(await Readable.from(pieces).toArray());
    if (path.startsWith(BLOBS) && blobPath(sha256(bytes)) !== path)
      throw invalid(file, `its ${path} has another digest`);
    documents.set(path, bytes);
  }
  throw invalid(file, "its layer is missing or damaged");
}

function labelled(file: string, label: string): z.infer<typeof Root> {
  try {
    const root = Root.parse(JSON.parse(label));
    // It is published, and part of the root's digest: what has no canonical form is no record.
    canonicalJson(root);
    return root;
  } catch {
    throw invalid(file, "it is an image, but none of a toolchain root");
  }
}

function invalid(file: string, fact: string): FarmError {
  return new FarmError("TOOLCHAIN_INVALID", {
    detail: `${file} is no toolchain root: ${fact}`,
    at: { file },
  });
}
