/**
 * Where a package of a build came from, as it is written down.
 */
import { z } from "zod";

/** `cache`: it was here already, and came from where somebody else said. */
export const InputOrigin = z.enum(["mirror", "kernelurls", "archive", "cache"]);

/** Where a package came from, and where it was sought in vain before. */
export const InputRecord = z.object({
  name: z.string(),
  version: z.string(),
  sha256: z.string(),
  from: InputOrigin,
  tried: z.array(z.object({ place: z.string(), fault: z.string() })),
});
export type InputRecord = z.infer<typeof InputRecord>;
