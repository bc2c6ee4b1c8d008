/** Every kind of feed. */
import { FarmError } from "../../base/error.ts";
import { cna } from "./cna.ts";
import { compact } from "./compact.ts";
import { csafVex } from "./csaf-vex.ts";
import { cveList } from "./cve-list.ts";
import { debianTracker } from "./debian-tracker.ts";
import { epss } from "./epss.ts";
import type { FeedKind } from "./feed.ts";
import { kernelctf } from "./kernelctf.ts";
import { kev } from "./kev.ts";
import { livepatch } from "./livepatch.ts";
import { nodes } from "./nodes.ts";
import { osv } from "./osv.ts";
import { releases } from "./releases.ts";
import { updateinfo } from "./updateinfo.ts";

export const FEED_KINDS: readonly FeedKind[] = [
  ...[cna, compact, cveList, releases],
  ...[osv, debianTracker, updateinfo, csafVex],
  ...[kev, epss, kernelctf, livepatch, nodes],
];

/** @throws FarmError USAGE */
export function feedKind(name: string): FeedKind {
  const kind = FEED_KINDS.find((one) => one.name === name);
  if (kind !== undefined) return kind;
  throw new FarmError("USAGE", {
    detail: `there is no kind of feed ${JSON.stringify(name)}`,
    hint: `The kinds are ${FEED_KINDS.map((one) => one.name).join(", ")}.`,
  });
}
