/**
 * Whose word a node demands beside the registry's: `/etc/kmodfarm/builders`, a builder and the file of its public key a
 * line; or a builder, `keyless`, issuer, subject and the file of Sigstore's roots. If it is there, modules need a statement
 * that one of them signed, about exactly them, their driver and their kernel.
 */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { parseDocument, sha256 } from "../base/json.ts";
import { splitSignature } from "../formats/module-signature.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { kernelName } from "../kernel/kernel.ts";
import { isSaidBy, saysItsBuild } from "../kernel/node.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import type { TrustedBuilder } from "../provenance/builder.ts";
import { certifiedBuilder } from "../provenance/certified.ts";
import { judgeBundle } from "../provenance/judge.ts";
import type { NodeArtifact, NodeBlock, Sized } from "../provenance/node-index.ts";
import { publicKeyFromPem } from "../provenance/public-key.ts";
import { TreeDigest } from "../provenance/slsa.ts";
import type { StatedModule } from "../provenance/statement.ts";
import type { NodeKernel } from "./node.ts";
import { readIfThere } from "./state.ts";

/** What of a manifest says which modules it is about. */
const StatedManifest = z.object({
  identity: z.object({
    driver: z.object({ name: PathSegment, version: PathSegment, source: TreeDigest }),
    distribution: z.object({ id: z.string(), release: PathSegment }),
    architecture: ArchitectureName,
    kernel: z.object({ release: PathSegment, packageVersion: z.string(), flavour: PathSegment }),
  }),
  modules: z.array(
    z.object({
      name: PathSegment,
      digests: z.object({ unsigned: TreeDigest, stripped: TreeDigest.optional() }),
    }),
  ),
});
type StatedManifest = z.infer<typeof StatedManifest>;

/** Undefined if the node demands nobody's. @throws FarmError METADATA_UNSIGNED for a file that cannot be understood */
export async function readBuilders(file: string): Promise<readonly TrustedBuilder[] | undefined> {
  const bytes = await readIfThere(file);
  if (bytes === undefined) return undefined;
  const lines = bytes
    .toString("utf8")
    .split("\n")
    .filter((line) => !/^\s*(#|$)/.test(line));
  return Promise.all(lines.map((line) => readBuilder(line, file)));
}

async function readBuilder(line: string, file: string): Promise<TrustedBuilder> {
  const words = line.split(" ");
  const [id = "", , issuer = "", subject = ""] = words;
  const isKeyless = words.length === 5 && words[1] === "keyless";
  const name = words.length === 2 || isKeyless ? (words.at(-1) ?? "") : "";
  const place = resolve(dirname(file), name);
  const bytes = name === "" ? undefined : await readIfThere(place);
  if (bytes === undefined) throw unusable(file, `${JSON.stringify(line)} names no builder and key`);
  try {
    if (isKeyless) return await certifiedBuilder(id, { issuer, subject }, bytes, place);
    return { id, key: publicKeyFromPem(bytes.toString("latin1"), place) };
  } catch (cause) {
    throw unusable(
      file,
      `${place} is not ${isKeyless ? "a trusted root of Sigstore" : "a public key in PEM"}`,
      cause,
    );
  }
}

function unusable(file: string, fact: string, cause?: unknown): FarmError {
  return new FarmError("METADATA_UNSIGNED", { about: file, detail: fact, cause });
}

export type ReadFile = (file: Sized) => Promise<Buffer>;

/** What the registry answers with modules, for a kernel. */
export interface Given {
  readonly driver: string;
  /** In its own words. */
  readonly kernel: NodeKernel;
  readonly block: NodeBlock;
  readonly artifact: NodeArtifact;
  /** The kernel that the modules were built for, if it is another one. */
  readonly builtFor: string | undefined;
}

/** @throws FarmError METADATA_UNSIGNED unless one of the builders says that these are those modules; what `read` throws */
export async function demandStatement(
  given: Given,
  builders: readonly TrustedBuilder[],
  read: ReadFile,
): Promise<void> {
  const { provenance } = given.artifact;
  const stated = await requireManifest(given, read);
  const { identity } = stated;
  const modules = await Promise.all(stated.modules.map((one) => statedModule(one, given.artifact, read)));
  let why = "it has no statement";
  for (const one of provenance) {
    const verdict = judgeBundle(await read(one), { identity, modules }, builders);
    if (verdict.kind === "good") return;
    why = verdict.because.text;
  }
  throw unstated(given, why);
}

/** The manifest of just these modules. @throws FarmError METADATA_UNSIGNED for another's, PROVENANCE_MALFORMED; what `read` throws */
export async function requireManifest(given: Given, read: ReadFile): Promise<StatedManifest> {
  const stated = parseManifest(await read(given.artifact.manifest));
  const strange = whatDiffers(stated, given);
  if (strange !== undefined) throw unstated(given, `its manifest is of another ${strange}`);
  return stated;
}

/** A module of others may have come with a signature: its statement is about what it was before. */
async function statedModule(
  { name, digests: { unsigned, stripped } }: StatedManifest["modules"][number],
  { modules }: NodeArtifact,
  read: ReadFile,
): Promise<StatedModule> {
  const file = modules.find((one) => one.file === `${name}.ko`);
  if (stripped !== undefined || file === undefined) return { name, digest: unsigned, stripped };
  return { name, digest: sha256(splitSignature(await read(file), file.file).content) };
}

function parseManifest(bytes: Buffer): StatedManifest {
  try {
    return parseDocument(StatedManifest, bytes.toString("utf8"), "the manifest");
  } catch (thrown) {
    if (!(thrown instanceof FarmError)) throw thrown;
    throw new FarmError("PROVENANCE_MALFORMED", { detail: thrown.message, cause: thrown });
  }
}

/**
 * A statement binds modules to what the manifest says they are; this binds that to what was asked for. Which package a kernel
 * is of, the registry says, and the head key is not believed alone here: `uname` says it too.
 */
function whatDiffers(
  { identity: { driver, distribution, architecture, kernel }, modules }: StatedManifest,
  given: Given,
): string | undefined {
  const { block, artifact, builtFor, kernel: node } = given;
  if (driver.name !== given.driver || driver.version !== artifact.version) return "driver";
  const stated = {
    ...{ distribution: distribution.release, architecture, kversion: kernel.release },
    packageVersion: kernel.packageVersion,
  };
  const wanted = kernelName({
    ...{ distribution: block.distribution, architecture, kversion: block.release },
    packageVersion: block.packageVersion,
  });
  if (kernelName(stated) !== (builtFor ?? wanted) || architecture !== node.machine) return "kernel";
  // Kernels that say their build run nothing that was built for another one.
  if (builtFor === undefined ? !isSaidBy(stated, node) : saysItsBuild(node)) return "build of the kernel";
  const theirs = modules.map(({ name, digests }) => `${name}.ko ${digests.stripped ?? digests.unsigned}`);
  const ours = artifact.modules.map(({ file, digest }) => `${file} ${digest}`);
  return theirs.toSorted().join() === ours.toSorted().join() ? undefined : "set of modules";
}

function unstated({ driver, artifact }: Given, fact: string): FarmError {
  return new FarmError("METADATA_UNSIGNED", {
    detail: `${driver} ${artifact.version} is not from a builder that this node trusts: ${fact}`,
  });
}
