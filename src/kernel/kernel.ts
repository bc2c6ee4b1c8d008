/**
 * What a kernel is: one build that a distribution published.
 */
import { z } from "zod";
import { FarmError } from "../base/error.ts";
import { ArchitectureName } from "./architecture.ts";
import { PathSegment } from "./path-segment.ts";

/**
 * One package of a distribution's archive; `source` and `path` say where it lies. A package that only a list
 * names has no digest, and nothing is built from it before one is pinned.
 */
export const Package = z.object({
  name: z.string(),
  version: z.string(),
  /** The package's own architecture in our words, or `all`. */
  architecture: z.enum([...ArchitectureName.options, "all"]),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  size: z.int().nonnegative().optional(),
  /** Id of the catalog source that lists it. */
  source: z.string(),
  /** Location below that source's mirror, or a whole URL. */
  path: z.string(),
});
export type Package = z.infer<typeof Package>;

/** A package whose bytes can be told from any others. */
export interface VerifiedPackage extends Package {
  readonly sha256: string;
  readonly size: number;
}

/** @throws FarmError UNVERIFIED for a package without a digest */
export function verified(wanted: Package): VerifiedPackage {
  const { sha256, size } = wanted;
  if (sha256 !== undefined && size !== undefined) return { ...wanted, sha256, size };
  throw new FarmError("UNVERIFIED", {
    detail: `${wanted.name} ${wanted.version} comes from ${wanted.source}, which gives no digest for it`,
  });
}

/** Whether a package holds programs that run while building, and so must fit the machine that builds. */
export function isBuildTool({ name }: Pick<Package, "name">): boolean {
  return name.startsWith("linux-kbuild-");
}

/** The compiler a kernel was built with, and how we know. */
export const Compiler = z.object({
  family: z.enum(["gcc", "clang"]),
  version: z.string().regex(/^\d+(\.\d+)*$/),
  source: z.enum(["package", "config", "header", "table"]),
  /** What linked it, where that is not the GNU linker: clang's own. */
  linker: z.literal("lld").optional(),
});
export type Compiler = z.infer<typeof Compiler>;

/** The four facts that tell one kernel from every other. */
export const KernelId = z.object({
  /** Distribution release key: `debian12`, never `debian`. */
  distribution: PathSegment,
  architecture: ArchitectureName,
  /** Kernel release, `uname -r`. */
  kversion: PathSegment,
  packageVersion: z.string().min(1),
});
export type KernelId = z.infer<typeof KernelId>;

/** `debian12/x86_64/6.1.0-56-amd64_6.1.170-3`: a kernel's name for people and for keys. */
export function kernelName(id: KernelId): string {
  return `${id.distribution}/${id.architecture}/${id.kversion}_${id.packageVersion}`;
}
