/**
 * Feeds: who says what of fixes and of who exploits them. Nothing is fetched that is not named here.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { holdsCredentials } from "../../base/url.ts";
import { GitRevision, isSsh } from "../../builder/origins/origin.ts";
import { FEED_KINDS } from "../../gap/feeds/index.ts";
import { PathSegment } from "../../kernel/path-segment.ts";
import { isHttp } from "./sources.ts";

const FeedKindName = z.enum(FEED_KINDS.map(({ name }) => name) as [string, ...string[]]);

export const FeedConfig = z.strictObject({
  kind: FeedKindName.describe("What it is; docs/feeds.md describes each."),
  name: PathSegment.optional().describe(
    "Name that distinguishes it from others of its kind. Default: its kind.",
  ),
  from: z
    .union([
      z
        .string()
        .min(1)
        .refine((place) => !isHttp(place) || (URL.canParse(place) && !holdsCredentials(place)), {
          error: "is not a URL, or contains a user name or a password",
        }),
      GitRevision.refine(({ git }) => !isSsh(git), {
        path: ["git"],
        error: "feeds come from http(s) or this machine",
      }),
    ])
    .optional()
    .describe(
      "Where it is: a file, a directory or a .tar archive, relative to this file, a URL, or a git repository and a revision. Files may be compressed. Default: where its owner publishes it (docs/feeds.md).",
    ),
});
export type FeedConfig = z.infer<typeof FeedConfig>;

/** The same with absolute paths. */
export function feedAt(base: string, feed: FeedConfig): FeedConfig {
  const { from } = feed;
  if (from === undefined) return feed;
  if (typeof from === "string") return isHttp(from) ? feed : { ...feed, from: resolve(base, from) };
  return isHttp(from.git) ? feed : { ...feed, from: { ...from, git: resolve(base, from.git) } };
}
