/** What is written down of a toolchain root, beside it. */
import { z } from "zod";
import { ArchitectureName } from "../../kernel/architecture.ts";

export const ROOT_RECORD = "root.json";

/** First lines of `--version`, by the architecture that is built for. */
export const CompilerWords = z.partialRecord(ArchitectureName, z.string());
export type CompilerWords = Readonly<z.infer<typeof CompilerWords>>;

export const RootRecord = z.object({
  builder: ArchitectureName,
  packages: z.array(z.object({ name: z.string(), version: z.string() })),
  /** Roots made by earlier versions have none: they are asked when they are first used. */
  compilers: CompilerWords.optional(),
});
export type RootRecord = z.infer<typeof RootRecord>;
