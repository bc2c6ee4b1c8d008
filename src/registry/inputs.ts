/**
 * What a registry keeps so that anybody can build an artifact again: one document for each artifact, one for each toolchain,
 * and the bytes that they name. What may not be passed on is named too, with its digest and where it was fetched.
 */
import { z } from "zod";
import type { Digest } from "../base/json.ts";
import { BuildWords } from "../builder/driver-words.ts";
import { CompilerMismatch } from "../builder/records.ts";
import { CompilerWords, PackageFile, RootCompiler } from "../builder/toolchains/root-record.ts";
import { ArchitectureName } from "../kernel/architecture.ts";
import { PathSegment } from "../kernel/path-segment.ts";
import { Element } from "../matrix/element.ts";
import { blobPath, readBlob } from "./blobs.ts";
import { Part } from "./documents.ts";
import type { RegistryReader } from "./reader.ts";
import { parseStored } from "./stored.ts";

const Sha256 = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);

/** A package. The registry has it under its digest, unless `place` says where else it was. */
const InputPackage = PackageFile.extend({ place: z.string().max(4096).optional() });
export type InputPackage = z.infer<typeof InputPackage>;

/** The largest roots have some three hundred. */
const Packages = z.array(InputPackage).max(5000);

/** A driver's source: the digest of the tree, and one tar archive of it, the same bytes for the same tree. */
const SourceInput = z.object({ tree: Sha256, archive: Part, place: z.string().max(4096).optional() });
export type SourceInput = z.infer<typeof SourceInput>;

const NeededInput = z.object({
  name: PathSegment,
  version: PathSegment,
  packageName: PathSegment.optional(),
  source: SourceInput,
  modules: z.array(z.object({ name: PathSegment, ...Part.shape })).max(1000),
});

/** A toolchain root: many artifacts are built in the same one. */
export const ToolchainInputs = z.object({
  schema: z.literal("kmodfarm.toolchain/1"),
  /** The release whose packages they are. */
  release: PathSegment,
  format: z.enum(["deb", "rpm"]),
  builder: ArchitectureName,
  compiler: RootCompiler,
  /** What its compilers say of themselves. */
  says: CompilerWords,
  packages: Packages,
});
export type ToolchainInputs = z.infer<typeof ToolchainInputs>;

export const BuildInputs = z.object({
  schema: z.literal("kmodfarm.inputs/1"),
  /** Which driver for which kernel, without the places of the kernel's packages. */
  element: Element.omit({ packages: true, kernelurls: true, recipe: true }),
  driver: z.object({
    name: PathSegment,
    version: PathSegment,
    /** Modules that it must give; none: whatever it gives. */
    modules: z.array(PathSegment),
    packageName: PathSegment.optional(),
    /** What its build is told: directory, shell lines, patterns. */
    build: BuildWords,
    source: SourceInput,
    /** Other drivers whose modules were there. */
    needed: z.array(NeededInput),
  }),
  /** The architecture of the programs that built it. */
  builder: ArchitectureName,
  emulation: z.literal("qemu-user").optional(),
  /** Of the kernel, in the order in which builds take them. */
  headers: Packages,
  toolchain: Part,
  mismatch: CompilerMismatch.optional(),
  /** The scripts that ran in the sandbox, with all flags, as canonical JSON `[[name, text], …]`. */
  scripts: Part,
  /** Variables that were the same for every build, and what builds see of where they happen. */
  environment: z.record(z.string(), z.string()),
  surroundings: z.record(z.string(), z.union([z.string(), z.number()])),
});
export type BuildInputs = z.infer<typeof BuildInputs>;

export const Scripts = z.array(
  z.tuple([
    PathSegment.refine((name) => name.endsWith(".sh"), { error: "not the name of a script" }),
    z.string(),
  ]),
);

/** Documents of inputs are no larger. */
const DOCUMENT_LIMIT_BYTES = 16 << 20;

/** @throws FarmError STORE_CORRUPT where it is missing, damaged, or no such document */
export async function readInput<T>(store: RegistryReader, { digest }: Part, type: z.ZodType<T>): Promise<T> {
  const bytes = await readBlob(store, digest, DOCUMENT_LIMIT_BYTES);
  return parseStored(store, blobPath(digest), bytes, type);
}

/** What of an artifact's inputs the registry has under its digest, without what its toolchain names. */
export function inputBlobs({ driver, headers, toolchain, scripts }: BuildInputs): Part[] {
  return [
    ...[driver, ...driver.needed].flatMap(({ source: { archive, place } }) =>
      place === undefined ? [archive] : [],
    ),
    ...driver.needed.flatMap(({ modules }) => modules.map(({ digest, size }) => ({ digest, size }))),
    ...keptPackages(headers),
    ...[toolchain, scripts],
  ];
}

export function keptPackages(packages: readonly InputPackage[]): Part[] {
  return packages.flatMap(({ sha256, size, place }) =>
    place === undefined ? [{ digest: `sha256:${sha256}` satisfies Digest, size }] : [],
  );
}
