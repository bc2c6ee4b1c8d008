/** What people are told of the patch gap, and where that is sent. */
import { resolve } from "node:path";
import { z } from "zod";
import { holdsCredentials } from "../../base/url.ts";
import { TIERS } from "../../gap/slo.ts";
import { PathSegment } from "../../kernel/path-segment.ts";

const WebhookConfig = z.strictObject({
  name: PathSegment.describe("What it is called in reports."),
  url: z
    .url({ protocol: /^https?$/ })
    .refine((url) => !holdsCredentials(url), { error: "contains a user name or a password" })
    .describe("Where each message is posted."),
  secretFile: z
    .string()
    .min(1)
    .describe(
      "File with the secret that messages are signed with, relative to this file: `whsec_` and Base64, or any text of 24 characters or more.",
    ),
  lanes: z
    .array(z.enum(["urgent", "digest"]))
    .min(1)
    .default(["urgent", "digest"])
    .describe("Which messages are posted."),
});
export type WebhookConfig = z.infer<typeof WebhookConfig>;

export const NoticesConfig = z.strictObject({
  waitingDays: z
    .int()
    .min(1)
    .max(3650)
    .default(14)
    .describe("Days that a distribution may take for a fix of its series before that is reported."),
  webhooks: z
    .array(WebhookConfig)
    .max(20)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, {
      error: "two have one name",
    })
    .default([])
    .describe("Servers that messages are posted to (docs/gap.md). Default: none."),
});
export type NoticesConfig = z.output<typeof NoticesConfig>;

export const SloConfig = z.partialRecord(z.enum(TIERS), z.number().positive().max(10_000));

/** The same with absolute paths. */
export function noticesAt(base: string, { webhooks, ...notices }: NoticesConfig): NoticesConfig {
  return {
    ...notices,
    webhooks: webhooks.map((one) => ({ ...one, secretFile: resolve(base, one.secretFile) })),
  };
}
