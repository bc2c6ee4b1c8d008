/**
 * What feeds say, in one form whatever they come as: records of a few types, one JSON text a line. The lines are what a
 * generation keeps of a feed, and the `compact` feed reads them again.
 */
import { z } from "zod";
import { describeIssue } from "../base/json.ts";
import { LIVE_PATCH_STATES } from "../kernel/live-patch.ts";
import {
  compareUpstreamVersions,
  parseUpstreamVersion,
  type UpstreamVersion,
} from "../kernel/upstream-version.ts";

/** `2026-08-21` */
export const Day = z.string().regex(/^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/);
export type Day = z.infer<typeof Day>;

export const CveId = z.string().regex(/^CVE-\d{4}-\d{4,12}$/);
const Commit = z.string().regex(/^[0-9a-f]{40}$/);
/** `6.1.170`; `0` where there is none. */
const Version = z
  .string()
  .max(24)
  .refine((text) => text === NONE || versionOf(text) !== undefined, "is no release of kernel.org");
/** Titles are commit subjects; longer ones are cut by whoever reads them. */
export const MOST_TITLE_CHARACTERS = 500;
const Title = z.string().max(MOST_TITLE_CHARACTERS);
/** The largest real record has 90 pairs. */
export const MOST_PAIRS = 2000;
const MOST_FILES = 2000;
const MOST_CVES = 20_000;
const Word = z.string().min(1).max(256);

/**
 * Where a bug came in and where it was fixed: the release, the commit; the release, the commit. `0` as the first release is
 * the beginning, as the third that no release has the fix.
 */
const Pair = z.tuple([Version, z.string().max(40), Version, z.string().max(40)]);
export type Pair = z.infer<typeof Pair>;

const Cvss = z.object({
  /** The vector. */
  v: z.string().max(200),
  /** The base score, 0 to 10. */
  s: z.number().min(0).max(10),
  sev: z.string().max(20),
});

/** One CVE of the kernel, as upstream knows it. */
export const Cve = z.object({
  type: z.literal("cve").default("cve"),
  id: CveId,
  published: z.string().max(40).optional(),
  /** The CVE was taken back. */
  rejected: z.literal(true).optional(),
  title: Title,
  /** Of mainline. */
  fix: z.array(Commit).max(64),
  pairs: z.array(Pair).max(MOST_PAIRS),
  /** What the CVE's own JSON says where that differs from `pairs`. */
  otherPairs: z.array(Pair).max(MOST_PAIRS).optional(),
  files: z.array(z.string().max(1024)).max(MOST_FILES),
  cvss: Cvss.nullish(),
});
export type Cve = z.infer<typeof Cve>;

/** A release of kernel.org. */
const Release = z.object({ type: z.literal("release"), version: Version, day: Day });

/** What a distribution says of CVEs in one of its packages. */
export const Advisory = z.object({
  type: z.literal("advisory"),
  id: Word,
  /** The distribution release: `debian12`, `almalinux9`; the vendor's own product where it has no such name. */
  release: Word,
  package: Word,
  status: z.enum(["fixed", "affected", "not_affected", "will_not_fix", "under_investigation"]),
  /** Of `fixed`: the first package version that has the fix. */
  version: z.string().max(256).optional(),
  cves: z.array(CveId).min(1).max(MOST_CVES),
  published: Day.optional(),
  modified: Day.optional(),
  /** The package patches a running kernel, of this release alone. */
  livepatch: z.literal(true).optional(),
  note: z.string().max(500).optional(),
});

/** Somebody exploits it: CISA's list. */
export const Exploited = z.object({
  type: z.literal("exploited"),
  cve: CveId,
  added: Day,
  ransomware: z.boolean(),
});

/** How likely somebody will within 30 days: EPSS. */
export const Likelihood = z.object({
  type: z.literal("likelihood"),
  cve: CveId,
  probability: z.number().min(0).max(1),
  percentile: z.number().min(0).max(1),
});

/** A working exploit that was handed in, and what it needs of the kernel: kernelCTF. */
export const Exploit = z.object({
  type: z.literal("exploit"),
  cve: CveId,
  id: Word,
  added: Day.optional(),
  /** Of kernels. */
  environments: z.array(Word).max(100),
  /** CONFIG_… that must be set. */
  options: z.array(Word).max(100),
  capabilities: z.array(Word).max(100),
  needsUserNamespaces: z.boolean(),
});

/** What a node says of patches to its running kernel. */
export const LivePatch = z.object({
  type: z.literal("livepatch"),
  node: Word,
  /** `uname -r` */
  kernel: Word,
  patch: Word,
  /** Only `applied` changes a verdict. */
  state: z.enum(LIVE_PATCH_STATES),
  /** It takes the place of all patches before it, and which place that is. */
  replace: z.boolean().optional(),
  stackOrder: z.int().min(0).optional(),
  cves: z.array(CveId).max(MOST_CVES),
  /** The package that it came in: advisories say what that closes. */
  package: z.object({ name: Word, version: Word }).optional(),
  at: Day.optional(),
});

/** A node was seen running a kernel. */
export const NodeSeen = z.object({
  type: z.literal("node"),
  node: Word,
  release: Word,
  version: z.string().max(256).optional(),
  machine: Word.optional(),
  at: z.iso.datetime({ offset: true }),
});

/** In place of a release in a pair. */
export const NONE = "0";

/** The same few thousand releases come again and again: each is read once. */
const versions = new Map<string, UpstreamVersion | undefined>();
const MOST_VERSIONS = 100_000;

export function versionOf(text: string): UpstreamVersion | undefined {
  const known = versions.get(text);
  if (known !== undefined || versions.has(text)) return known;
  if (versions.size >= MOST_VERSIONS) versions.clear();
  const version = parseUpstreamVersion(text);
  versions.set(text, version);
  return version;
}

const TYPES = {
  cve: Cve,
  release: Release,
  advisory: Advisory,
  exploited: Exploited,
  likelihood: Likelihood,
  exploit: Exploit,
  livepatch: LivePatch,
  node: NodeSeen,
} as const;

type RecordType = keyof typeof TYPES;
export type FeedRecord = z.infer<(typeof TYPES)[RecordType]>;
export type RecordOf<Type extends RecordType> = z.infer<(typeof TYPES)[Type]>;

export type ReadRecord =
  | { readonly kind: "record"; readonly record: FeedRecord }
  | { readonly kind: "bad"; readonly reason: string };

/** A value as one of our records. A CVE needs no type: it is the one that older lists had. */
export function readRecord(value: unknown): ReadRecord {
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : "cve";
  if (typeof type !== "string" || !Object.hasOwn(TYPES, type))
    return { kind: "bad", reason: "type: is unknown" };
  const parsed = TYPES[type as RecordType].safeParse(value);
  if (parsed.success) {
    const reason = parsed.data.type === "cve" ? uselessness(parsed.data) : undefined;
    return reason === undefined ? { kind: "record", record: parsed.data } : { kind: "bad", reason };
  }
  return { kind: "bad", reason: describeIssue(parsed.error).replace(/ \(and \d+ more\)$/, "") };
}

/** Why a CVE that is not rejected says nothing of any release: it must not be taken for one that is nowhere. */
function uselessness({ rejected, pairs }: Pick<Cve, "rejected" | "pairs">): string | undefined {
  if (rejected) return undefined;
  if (pairs.length === 0) return "pairs: names no release";
  const isSlip = ([introduced, , fixed]: Pair) => {
    const [from, to] = [versionOf(introduced), versionOf(fixed)];
    return from !== undefined && to !== undefined && compareUpstreamVersions(to, from) < 0;
  };
  return pairs.every(isSlip) ? "pairs: is fixed before it came" : undefined;
}

/** What no two records of a feed have in common. */
export function keyOf(record: FeedRecord): string {
  switch (record.type) {
    case "cve":
      return record.id;
    case "release":
      return record.version;
    case "advisory":
      return [record.id, record.release, record.package, record.status, record.version, record.cves[0]].join(
        "\n",
      );
    case "exploited":
    case "likelihood":
      return record.cve;
    case "exploit":
      return `${record.id}\n${record.cve}`;
    case "livepatch":
      return [record.node, record.kernel, record.patch].join("\n");
    case "node":
      return [record.node, record.release, record.at].join("\n");
  }
}
