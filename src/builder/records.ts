/**
 * What is written down of builds: recipes, and what became of attempts at them. Readers of a registry need these and
 * nothing that builds, so nothing here starts a program or opens a file.
 */
import { z } from "zod";
import { ERRORS, type ErrorCode } from "../base/error-codes.ts";
import type { Digest } from "../base/json.ts";
import { InputRecord } from "../inputs/input-record.ts";
import type { ArchitectureName } from "../kernel/architecture.ts";

/** How modules are compressed where nodes want them so; the words are those of the kernel's own build. */
export type Compression = "xz" | "zstd" | "gz";

/** The part of a driver's build that changes bytes, without what is as usual: a plain driver's recipe stays short. */
export interface RecipeBuild {
  readonly kind?: "kbuild" | "dkms";
  readonly directory?: string;
  readonly prepare?: readonly string[];
  readonly make?: readonly string[];
  readonly files?: readonly string[];
  readonly strip?: boolean;
  readonly compress?: Compression;
}

/** Another driver whose modules were there when one was built. */
export interface RecipeNeed {
  readonly name: string;
  readonly version: string;
  readonly source: Digest;
  readonly modules: readonly { readonly name: string; readonly sha256: Digest }[];
}

export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
}

/** Everything that determines the bytes of an element's output, and nothing else. */
export interface Recipe {
  readonly schema: "kmodfarm.recipe/1";
  readonly driver: {
    readonly name: string;
    readonly version: string;
    readonly source: Digest;
    readonly modules: readonly string[];
    /** How it is built, where that is not the usual way. */
    readonly build?: RecipeBuild;
    /** The very modules of other drivers that it was built against. */
    readonly needs?: readonly RecipeNeed[];
    /** The version of DKMS whose ways are followed, for a tree of DKMS. */
    readonly dkms?: string;
  };
  readonly kernel: {
    readonly distribution: string;
    readonly architecture: ArchitectureName;
    readonly kversion: string;
    readonly packageVersion: string;
  };
  /** The architecture that runs the compiler; another one than the kernel's means a cross build. */
  readonly builder: ArchitectureName;
  /** How the compiler's programs run on a machine of another architecture; absent where they are its own. */
  readonly emulation?: "qemu-user";
  readonly headers: readonly { readonly name: string; readonly version: string; readonly sha256: string }[];
  /** Only what can change the bytes: a new libc or tzdata in the root rebuilds nothing. */
  readonly toolchain: readonly InstalledPackage[];
  /** Digest of the scripts that run inside the sandbox; flags and fixed paths stand in them. */
  readonly scripts: Digest;
}

/** What is remembered of where a driver's source came from; no part of any digest. */
export const OriginRecord = z.object({
  kind: z.enum(["directory", "archive", "git", "package"]),
  /** Path, URL, or package and version. */
  place: z.string(),
  /** Digest of the archive or package. */
  sha256: z.string().optional(),
  /** What a git revision was when it was asked for. */
  commit: z.string().optional(),
});
export type OriginRecord = z.infer<typeof OriginRecord>;

/** The compiler was not the kernel's own, as configuration allows. */
export const CompilerMismatch = z.object({ declared: z.string(), used: z.string() });
export type CompilerMismatch = z.infer<typeof CompilerMismatch>;

const Kept = z.object({
  sha256: z.custom<Digest>((value) => typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value)),
  size: z.int(),
});
export type Kept = z.infer<typeof Kept>;

/** A module as it was built; stripped and compressed where the driver wants that. */
export const BuiltModule = z.object({
  name: z.string(),
  ...Kept.shape,
  stripped: Kept.optional(),
  compressed: Kept.optional(),
});
export type BuiltModule = z.infer<typeof BuiltModule>;

/** A further file, with its path in the driver's tree. */
export const BuiltFile = z.object({ path: z.string(), ...Kept.shape });
export type BuiltFile = z.infer<typeof BuiltFile>;

/** What a build said of modules that it gave all the same, and that checks cannot see in them. */
export const BuildRemarks = z.object({
  /** Of code that objtool could not follow, or that is not guarded as the kernel is; the first of them in its words. */
  objtool: z.object({ warnings: z.int(), first: z.array(z.string()) }).optional(),
  /** Why modules have no BTF, in the build's words. */
  btf: z.array(z.string()).optional(),
});
export type BuildRemarks = z.infer<typeof BuildRemarks>;

/** Why an attempt failed, as far as its log tells. */
export const Failure = z.object({
  code: z.custom<ErrorCode>((value) => typeof value === "string" && Object.hasOwn(ERRORS, value)),
  cause: z.string(),
  /** The guilty line of the driver, where one is known. */
  file: z.string().optional(),
  lineNumber: z.int().optional(),
  line: z.string(),
  /** What the driver's author can do; older records have none. */
  advice: z.string().optional(),
  /** What of the kernel it is about, where the log names it: a function, a type, a member, a macro, a header. */
  name: z.string().optional(),
});

/** A try at building an element, as it is kept. `environment` is what the farm itself saw of the toolchain root. */
export const AttemptRecord = z.object({
  // In the first version builds stripped and compressed for themselves; such an attempt is made anew.
  schema: z.literal("kmodfarm.attempt/2"),
  recipe: z.custom<Recipe>((value) => typeof value === "object" && value !== null),
  /** Where each package came from. */
  inputs: z.array(InputRecord).default([]),
  mismatch: CompilerMismatch.optional(),
  buildMs: z.int(),
  environment: z.object({
    compiler: z.string(),
    packages: z.array(z.object({ name: z.string(), version: z.string() })),
  }),
  modules: z.array(BuiltModule),
  files: z.array(BuiltFile).optional(),
  failure: Failure.optional(),
});
export type AttemptRecord = z.infer<typeof AttemptRecord>;
