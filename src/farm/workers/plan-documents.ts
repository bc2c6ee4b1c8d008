/**
 * What a directory of orders holds beside orders and bytes: which shard each order is of, and what the toolchain roots
 * contain, so that who takes the hand-overs needs none of them.
 */
import { z } from "zod";
import { ArchitectureName } from "../../kernel/architecture.ts";
import { PathSegment } from "../../kernel/path-segment.ts";

const Sha256 = z.templateLiteral(["sha256:", z.string().regex(/^[0-9a-f]{64}$/)]);

export const Shards = z.strictObject({
  schema: z.literal("kmodfarm.orderShards/1"),
  shards: z.array(
    z.strictObject({
      id: PathSegment,
      distribution: PathSegment,
      /** What is built for, and the machines that build for it. */
      architecture: ArchitectureName,
      machine: ArchitectureName,
      expectedSeconds: z.int().nonnegative(),
      orders: z.array(Sha256),
    }),
  ),
});
export type Shards = z.infer<typeof Shards>;

export const Roots = z.strictObject({
  schema: z.literal("kmodfarm.roots/1"),
  roots: z.record(PathSegment, z.array(z.strictObject({ name: z.string(), version: z.string() }))),
});
export type Roots = z.infer<typeof Roots>;
