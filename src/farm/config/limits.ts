/**
 * What one build may take of this machine.
 */
import { z } from "zod";
import { parseSize, Size } from "../../base/size.ts";

/** A size below which no build comes to its first line. */
const atLeast = (least: string) =>
  Size.refine((bytes) => bytes >= (parseSize(least) ?? 0), { error: `must be at least ${least}` });

export const Limits = z.strictObject({
  minutes: z.number().min(0.1).max(10_000).default(15).describe("Time limit in minutes. Default: 15."),
  memory: atLeast("64M")
    .prefault("8G")
    .describe("Memory limit for all its processes together, at least 64M. Default: 8G."),
  processes: z
    .int()
    .min(16)
    .default(4096)
    .describe("Limit on processes and threads at one time, at least 16. Default: 4096."),
  disk: atLeast("1M")
    .prefault("8G")
    .describe("Limit on what it has on the disk at one time, /tmp included, at least 1M. Default: 8G."),
  output: atLeast("4K")
    .prefault("64M")
    .describe("Limit on the length of its log, at least 4K. Default: 64M."),
  artifact: atLeast("1M")
    .prefault("1G")
    .describe(
      "Limit on its modules and `files` together, counting holes in files, at least 1M; a build that produces more fails. Default: 1G.",
    ),
});
