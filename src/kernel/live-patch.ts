/** What a kernel says of a live patch: the attributes of /sys/kernel/livepatch/PATCH, under their own names. */
import { z } from "zod";

const Bit = z
  .union([z.boolean(), z.literal([0, 1]), z.literal(["0", "1"])])
  .transform((value) => Number(value) === 1);

export const LivePatchAttributes = z.object({
  enabled: Bit,
  /** Tasks are still on their way from the old code to the new one, or back. */
  transition: Bit,
  /** It replaces all patches before it; kernels say so from 6.11 on. */
  replace: Bit.optional(),
  /** From 1; kernels say so from 6.14 on. */
  stack_order: z.coerce.number().pipe(z.int().min(0).max(100_000)).optional(),
});
export type LivePatchAttributes = z.infer<typeof LivePatchAttributes>;

export const LIVE_PATCH_STATES = ["applied", "in_transition", "not_applied"] as const;
export type LivePatchState = (typeof LIVE_PATCH_STATES)[number];

export function livePatchState({ enabled, transition }: LivePatchAttributes): LivePatchState {
  if (transition) return "in_transition";
  return enabled ? "applied" : "not_applied";
}
