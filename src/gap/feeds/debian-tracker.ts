/**
 * Debian's security tracker: `{package: {CVE: {releases: {codename: {status, fixed_version, …}}}}}`, of which the kernel's
 * packages are read. It names releases by their codenames.
 */
import { z } from "zod";
import { FarmError } from "../../base/error.ts";
import { type JsonMember, readJsonMembers } from "../../formats/json-lists.ts";
import { parseJson, type Read, recordOf } from "./content.ts";
import type { FeedFile, FeedKind, Found } from "./feed.ts";
import { isKernelPackage } from "./packages.ts";

/** The whole tracker has 80 MB, of which some MB are the kernel's: half a million values. */
const LIMITS = { totalBytes: 256 << 20, elementBytes: 64 << 20, depth: 8, values: 4_000_000 } as const;

const RELEASES: ReadonlyMap<string, string> = new Map([
  ["buster", "debian10"],
  ["bullseye", "debian11"],
  ["bookworm", "debian12"],
  ["trixie", "debian13"],
  ["forky", "debian14"],
  ["sid", "debiansid"],
]);

const Issue = z.object({
  releases: recordOf(
    z.object({
      status: z.string(),
      fixed_version: z.string().max(256).optional(),
      urgency: z.string().max(100).optional(),
      nodsa_reason: z.string().max(100).nullish(),
    }),
  ).default({}),
});

export const debianTracker: FeedKind = {
  name: "debian-tracker",
  address: "https://security-tracker.debian.org/tracker/data/json",
  licence: "MIT",

  async read(files, found) {
    for await (const file of files) {
      const members = await kernelsIn(file);
      if (members.kind === "bad") {
        found.drop(members.reason, file.name);
        continue;
      }
      const seen = new Set<string>();
      for (const member of members.value) {
        const json = member.kind === "bad" ? member : parseJson(member.text, LIMITS.values);
        if (json.kind === "bad") found.drop(json.reason, member.name);
        else if (seen.has(member.name)) found.drop("is there twice", member.name);
        else addPackage(member.name, json.value, found);
        seen.add(member.name);
      }
    }
  },
};

/** All of them, before any is believed: a tracker that is cut off says nothing. */
async function kernelsIn({ body }: FeedFile): Promise<Read<readonly JsonMember[]>> {
  const members: JsonMember[] = [];
  try {
    for await (const member of readJsonMembers(body, "it", LIMITS, isKernelPackage)) members.push(member);
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "DOCUMENT_INVALID") throw thrown;
    return { kind: "bad", reason: "is no tracker" };
  }
  return { kind: "read", value: members };
}

function addPackage(name: string, issues: unknown, found: Found): void {
  if (typeof issues !== "object" || issues === null) {
    found.drop("has no issues", name);
    return;
  }
  for (const [cve, issue] of Object.entries(issues)) {
    // What has no number yet has no name that others know.
    if (!cve.startsWith("CVE-")) continue;
    const parsed = Issue.safeParse(issue);
    if (!parsed.success) {
      found.drop("is no issue", `${name} ${cve}`);
      continue;
    }
    for (const [codename, said] of Object.entries(parsed.data.releases)) {
      const word = statusOf(said);
      if (word === undefined) found.drop("has an unknown status", `${name} ${cve} ${codename}`);
      else
        found.add(
          {
            ...{ type: "advisory", id: `tracker ${cve}`, package: name, cves: [cve] },
            release: RELEASES.get(codename) ?? codename,
            ...word,
          },
          `${name} ${cve} ${codename}`,
        );
    }
  }
}

type Said = z.infer<typeof Issue>["releases"][string];

function statusOf({
  status,
  fixed_version: version,
  urgency,
  nodsa_reason: reason,
}: Said): object | undefined {
  if (status === "resolved")
    return version === "0"
      ? { status: "not_affected" }
      : { status: "fixed", ...(version === undefined ? {} : { version }) };
  if (status === "undetermined") return { status: "under_investigation" };
  if (status !== "open") return undefined;
  const willStay = reason === "ignored" || urgency === "unimportant" || urgency === "end-of-life";
  return { status: willStay ? "will_not_fix" : "affected", ...(willStay ? { note: reason ?? urgency } : {}) };
}
