/**
 * Which sets of modules a node trusts (docs/sets.md): `/etc/kmodfarm/sets` has a root a line, `HASH/LEVELS`, or `registry`
 * for those that the signed index names. If it is there, each module needs a proof that leads to one of them.
 */
import { FarmError, toFarmError } from "../base/error.ts";
import { cutSignature } from "../formats/module-signature.ts";
import type { NodeArtifact, Sized } from "../provenance/node-index.ts";
import { judgeProof, type LinuxRoot, rootFromText } from "../provenance/trees/linux-merkle.ts";
import { readIfThere } from "./state.ts";

interface TrustedSets {
  readonly roots: readonly LinuxRoot[];
  /** Whether those of the index count too. */
  readonly believesRegistry: boolean;
}

/** Undefined if the node demands no proof. @throws FarmError METADATA_UNSIGNED for a file that cannot be understood */
export async function readTrustedSets(file: string): Promise<TrustedSets | undefined> {
  const bytes = await readIfThere(file);
  if (bytes === undefined) return undefined;
  const words = bytes
    .toString("utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(/\s+/)[0] ?? "");
  const roots = words.filter((word) => word !== "registry").map((word) => readRoot(word, file));
  return { roots, believesRegistry: words.includes("registry") };
}

function readRoot(word: string, file: string): LinuxRoot {
  const root = rootFromText(word);
  if (root !== undefined && root.levels > 0) return root;
  throw new FarmError("METADATA_UNSIGNED", {
    about: file,
    detail: `${JSON.stringify(word)} is neither a root, HASH/LEVELS, nor registry`,
  });
}

/** Proofs of an artifact's modules, each of which leads to a root that the node trusts. */
export class Proofs {
  /** By the names of the modules' files. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly #roots: readonly LinuxRoot[];

  private constructor(files: ReadonlyMap<string, Buffer>, roots: readonly LinuxRoot[]) {
    this.files = files;
    this.#roots = roots;
  }

  /** @throws FarmError METADATA_UNSIGNED for a module without one; what `read` throws */
  static async of(
    { modules, proven }: NodeArtifact,
    trusted: TrustedSets,
    read: (file: Sized) => Promise<Buffer>,
  ): Promise<Proofs> {
    const files = new Map<string, Buffer>();
    for (const { file } of modules) {
      const proof = proven?.proofs.find((one) => one.file === file);
      if (proof === undefined) throw unproven(file, "the registry has no proof of it");
      files.set(file, await read(proof));
    }
    const ofIndex = trusted.believesRegistry ? (proven?.sets ?? []).map(({ root }) => root) : [];
    return new Proofs(files, [...trusted.roots, ...ofIndex]);
  }

  /** Of a module as the registry has it: others' may have come with a signature. @throws FarmError METADATA_UNSIGNED */
  require(file: string, module: Buffer): void {
    const whole = Buffer.concat([contentOf(module, file), this.files.get(file) ?? Buffer.alloc(0)]);
    if (!this.#roots.some((root) => judgeProof(whole, root) === "authenticated"))
      throw unproven(file, "its proof leads to none of their roots");
  }
}

function contentOf(module: Buffer, file: string): Uint8Array {
  try {
    return cutSignature(module, file).content;
  } catch (thrown) {
    throw unproven(file, toFarmError(thrown).message);
  }
}

function unproven(file: string, fact: string): FarmError {
  return new FarmError("METADATA_UNSIGNED", {
    detail: `${file} is in no set of modules that this node trusts: ${fact}`,
  });
}
