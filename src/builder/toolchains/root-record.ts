/** What is written down of a toolchain root, beside it. */
import { z } from "zod";
import { ArchitectureName } from "../../kernel/architecture.ts";

export const ROOT_RECORD = "root.json";

/** First lines of `--version`, by the architecture that is built for. */
export const CompilerWords = z.partialRecord(ArchitectureName, z.string());
export type CompilerWords = Readonly<z.infer<typeof CompilerWords>>;

/** The compiler that a root was made for. */
export const RootCompiler = z.strictObject({
  family: z.enum(["gcc", "clang"]),
  version: z.string(),
  command: z.string().regex(/^[A-Za-z0-9/][A-Za-z0-9/._+-]*$/, { error: "not the name of a program" }),
  /** `{cross}` in a name stands for a triplet. */
  packages: z.array(z.string()),
});

/** A package as it came, before it was installed. */
export const PackageFile = z.object({
  name: z.string(),
  version: z.string(),
  /** In its format's own word: `amd64`, `noarch`. */
  architecture: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  size: z.int().nonnegative(),
  /** Where it was fetched. */
  place: z.string(),
});
export type PackageFile = z.infer<typeof PackageFile>;

export const RootRecord = z.object({
  builder: ArchitectureName,
  packages: z.array(z.object({ name: z.string(), version: z.string() })),
  /** Roots made by earlier versions have none: they are asked when they are first used. */
  compilers: CompilerWords.optional(),
  /** What it was made of; of roots made by earlier versions that is not known. */
  files: z.array(PackageFile).optional(),
});
export type RootRecord = z.infer<typeof RootRecord>;
