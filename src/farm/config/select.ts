/**
 * Which kernels a farm builds for.
 */
import { z } from "zod";
import { Expression } from "../../matrix/element-filter.ts";
import { Architectures, Names } from "./words.ts";

const SelectConfig = z.strictObject({
  distributions: Names.optional().describe("Release keys (debian12) or distribution ids (debian)."),
  architectures: Architectures.describe("x86_64, aarch64."),
  flavours: Names.optional().describe("generic, cloud, rt, 16k, and the distribution's own names."),
  kernelRelease: Expression.optional().describe("Regular expression for the whole kernel release."),
  newest: z
    .int()
    .positive()
    .optional()
    .describe(
      "Only this many of the newest fetchable kernels of each release, architecture, flavour and kernel series (6.1, 6.12); backports count apart, so the kernel that a release boots by default is always among them.",
    ),
});

export const Select = z
  .union([SelectConfig, z.array(SelectConfig).min(1)])
  .transform((one) => (Array.isArray(one) ? one : [one]));
