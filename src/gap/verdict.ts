/**
 * What may be said of one CVE in one kernel, and on what evidence. Nothing is said that nobody knows: what is not in a feed
 * is not absent, and what a feed could not have seen is unknown.
 */
import {
  compareUpstreamVersions,
  parseUpstreamVersion,
  showUpstreamVersion,
  type UpstreamVersion,
} from "../kernel/upstream-version.ts";
import type { Cve, Day } from "./records.ts";
import type { Target } from "./target.ts";
import { type Culprit, culpritsOf, type UpstreamVerdict, upstreamVerdict } from "./upstream.ts";

export const VERDICTS = [
  "fixed",
  "not_affected",
  "not_built",
  "affected",
  "no_upstream_fix",
  "livepatched",
  "unknown",
  "disputed",
  "rejected",
] as const;
export type VerdictName = (typeof VERDICTS)[number];

/** Why nothing can be said. */
export const UNKNOWN_REASONS = {
  no_version_mapping: "the upstream release that the kernel was made from is unknown",
  no_advisory_feed: "only advisories of its distribution could say, and no feed has any",
  feed_stale: "the kernel is newer than the feed",
  cve_not_in_feed: "no feed has the CVE",
  vendor_not_assessed:
    "fixes are backported to this kernel, and its vendor has not said whether this one was",
  prerelease: "the kernel is a release candidate, and the release itself brought the change",
  changelog_trimmed: "the part of the changelog that could name the fix was removed",
} as const;
export type UnknownReason = keyof typeof UNKNOWN_REASONS;

/** One thing that speaks for or against. */
export interface Evidence {
  /** Upstream release, CVE id in the changelog, subject in the changelog, advisory, patch; configuration, live patch. */
  readonly id: "E1" | "E2" | "E3" | "E4" | "E5" | "config" | "livepatch";
  readonly says:
    | "fixed"
    | "not_affected"
    | "affected"
    | "no_upstream_fix"
    | "not_built"
    | "livepatched"
    | "unassessed"
    | "reverted"
    | "claimed";
  /** Where to look: a release, an entry of a changelog, an advisory. */
  readonly ref: string;
  /** The version that has the fix, or will have it. */
  readonly fixedIn?: string;
  /** Of `reverted`: the stable release that took the fix out. */
  readonly revertedIn?: string;
  readonly day?: Day;
  readonly feed: string;
  readonly feedDate?: Day;
}

export interface Verdict {
  readonly cve: string;
  readonly target: string;
  readonly verdict: VerdictName;
  /** Of `unknown`. */
  readonly reason?: UnknownReason;
  /** The release or package version that has the fix; of `affected`, the one of the same series that would bring it. */
  readonly fixedIn?: string;
  readonly evidence: readonly Evidence[];
  readonly feedDate?: Day;
  /** A provisional verdict may change without anything being done to the kernel. */
  readonly confidence: "sound" | "provisional";
}

/** What is known beside upstream's history. */
export interface Knowledge {
  /** Of the list of CVEs. */
  readonly feed: { readonly name: string; readonly date?: Day };
  /** From changelog, advisories, patches, configuration and live patches, about this CVE and kernel. */
  readonly evidence: readonly Evidence[];
  /** Some feed has advisories for the kernel's distribution. */
  readonly hasAdvisories: boolean;
  /** The changelog of the kernel begins on that day, or on no known one: what was done before may be missing. */
  readonly changelogSince?: { readonly day?: Day };
  /** When the first release had the fix: no distribution can have had it long before that. */
  readonly firstFixed?: Day;
}

/** @param cve undefined where no feed has it */
export function verdictOf(id: string, cve: Cve | undefined, target: Target, known: Knowledge): Verdict {
  const { feed, evidence: others } = known;
  const base = { cve: id, target: target.name, ...(feed.date === undefined ? {} : { feedDate: feed.date }) };
  if (cve?.rejected) return { ...base, verdict: "rejected", evidence: [], confidence: "sound" };
  const upstream = cve === undefined ? undefined : upstreamView(cve, target);
  const evidence = [...upstreamEvidence(upstream, target, feed), ...others];
  return { ...base, evidence, ...decide(cve, upstream, target, known) };
}

type Decision = Pick<Verdict, "verdict" | "reason" | "fixedIn" | "confidence">;

/** What upstream's history says of a kernel: of its release, and of what may be its release instead. */
type UpstreamView =
  | { readonly kind: "agreed"; readonly upstream: UpstreamVerdict }
  | { readonly kind: "disputed"; readonly accounts: readonly Account[] }
  | { readonly kind: "prerelease" };

/** What one account of a CVE says of one release. */
interface Account {
  readonly release: UpstreamVersion;
  readonly upstream: UpstreamVerdict;
}

/** A CVE that is looked at in one kernel is mostly looked at in others too. */
const culpritsByPairs = new WeakMap<Cve["pairs"], readonly Culprit[]>();

function rememberedCulprits(pairs: Cve["pairs"]): readonly Culprit[] {
  const known = culpritsByPairs.get(pairs) ?? culpritsOf(pairs);
  culpritsByPairs.set(pairs, known);
  return known;
}

function upstreamView(cve: Cve, { base, otherBases = [] }: Target): UpstreamView | undefined {
  if (base === undefined) return undefined;
  const lists = [cve.pairs, ...(cve.otherPairs === undefined ? [] : [cve.otherPairs])].map(
    rememberedCulprits,
  );
  const releases = [base, ...otherBases];
  const accounts = lists.flatMap((culprits) =>
    releases.map((release) => ({ release, upstream: upstreamVerdict(culprits, release) })),
  );
  const upstream = (accounts[0] as Account).upstream;
  const isAffected = (one: Account) => one.upstream.verdict === "affected";
  if (new Set(accounts.map(isAffected)).size > 1) return { kind: "disputed", accounts };
  if (base.prerelease === undefined) return { kind: "agreed", upstream };
  const before = upstreamVerdict(rememberedCulprits(cve.pairs), { ...base, patch: -1 });
  return before.verdict === upstream.verdict ? { kind: "agreed", upstream } : { kind: "prerelease" };
}

function decide(
  cve: Cve | undefined,
  view: UpstreamView | undefined,
  target: Target,
  known: Knowledge,
): Decision {
  const { evidence } = known;
  const of = (says: Evidence["says"]) => evidence.find((one) => one.says === says);
  const [patched, reopened, fixed] = [of("livepatched"), reopening(evidence), of("fixed")];
  // What was done to this very kernel is stronger than what its release had.
  if (reopened !== undefined && patched === undefined)
    // A later release may have brought the fix again.
    return isNewerThanFeed(target, known.feed.date) ? unknown("feed_stale") : open(reopened);
  if (reopened !== undefined && patched !== undefined) return fine("livepatched", patched);
  if (fixed !== undefined) return of("affected") === undefined ? fine("fixed", fixed) : disputed();
  const upstream = cve === undefined ? unknown("cve_not_in_feed") : decideUpstream(view, target, known);
  const unbuilt = of("not_built");
  if (upstream.verdict === "fixed" || upstream.verdict === "not_affected") {
    const against = of("affected") ?? laterRevert(of("reverted"), upstream.fixedIn);
    return against === undefined || target.proof === "none" ? upstream : disputed();
  }
  if (patched !== undefined) return fine("livepatched", patched);
  // The distribution names the CVE with a commit that the feed does not count as its fix.
  if (of("claimed") !== undefined && (cve === undefined || isSaidOpen(view))) return disputed();
  if (unbuilt !== undefined) return { verdict: "not_built", confidence: "provisional" };
  const harmless = of("not_affected");
  const isOpen = upstream.verdict === "affected" || upstream.verdict === "no_upstream_fix";
  if (harmless !== undefined) return isOpen ? disputed() : fine("not_affected", harmless);
  const affected = of("affected");
  if (affected === undefined || isOpen || upstream.verdict === "disputed") return upstream;
  if (isNewerThanFeed(target, affected.feedDate)) return unknown("feed_stale");
  return open(affected);
}

/** Whether upstream's history has the CVE open in the kernel's release, whatever may have come since. */
function isSaidOpen(view: UpstreamView | undefined): boolean {
  return view?.kind === "agreed" && view.upstream.verdict === "affected";
}

/** A revert of a fix by a release that came after it; of the same words before that, the feed knows which commit counts. */
function laterRevert(reverted: Evidence | undefined, fixedIn: string | undefined): Evidence | undefined {
  const [after, fix] = [reverted?.revertedIn ?? "", fixedIn ?? ""].map(parseUpstreamVersion);
  if (after === undefined) return undefined;
  return fix === undefined || compareUpstreamVersions(fix, after) < 0 ? reverted : undefined;
}

/** The last word of a changelog is that a fix was taken out again. */
function reopening(evidence: readonly Evidence[]): Evidence | undefined {
  return evidence.find(({ id, says }) => (id === "E2" || id === "E3") && says === "affected");
}

/** What is to be said of a kernel in which nothing but upstream's history speaks of a CVE. */
export function plainVerdict(
  upstream: UpstreamVerdict,
  target: Target,
  known: Omit<Knowledge, "evidence">,
): Pick<Verdict, "verdict" | "reason"> {
  return decideUpstream(target.base === undefined ? undefined : { kind: "agreed", upstream }, target, known);
}

function decideUpstream(
  view: UpstreamView | undefined,
  target: Target,
  { feed, hasAdvisories, changelogSince, firstFixed }: Omit<Knowledge, "evidence">,
): Decision {
  if (target.proof === "none") return unknown(hasAdvisories ? "vendor_not_assessed" : "no_advisory_feed");
  if (view === undefined) return unknown("no_version_mapping");
  if (view.kind === "disputed") return disputed();
  if (view.kind === "prerelease") return unknown("prerelease");
  const { upstream } = view;
  if (upstream.verdict === "fixed")
    return { verdict: "fixed", fixedIn: showUpstreamVersion(upstream.fixedIn), confidence: "sound" };
  if (isNewerThanFeed(target, feed.date)) return unknown("feed_stale");
  if (upstream.verdict === "not_affected") return { verdict: "not_affected", confidence: "sound" };
  if (target.proof === "fixed") return unknown("vendor_not_assessed");
  // A fix that is older than the changelog may have been taken in without a trace.
  if (
    changelogSince !== undefined &&
    (firstFixed === undefined || changelogSince.day === undefined || firstFixed < changelogSince.day)
  )
    return unknown("changelog_trimmed");
  const confidence = target.distribution === undefined ? "sound" : "provisional";
  return upstream.fixedIn === undefined
    ? { verdict: "no_upstream_fix", confidence }
    : { verdict: "affected", fixedIn: showUpstreamVersion(upstream.fixedIn), confidence };
}

/** Whether a feed of that day could not have seen the kernel. */
function isNewerThanFeed({ day }: Target, feedDate: Day | undefined): boolean {
  return feedDate === undefined || (day !== undefined && day > feedDate);
}

function upstreamEvidence(
  view: UpstreamView | undefined,
  { base, proof }: Target,
  { name, date }: Knowledge["feed"],
): Evidence[] {
  if (view === undefined || view.kind === "prerelease" || base === undefined || proof === "none") return [];
  const accounts = view.kind === "agreed" ? [{ release: base, upstream: view.upstream }] : view.accounts;
  return accounts.map(({ release, upstream }) => {
    const fixedIn = upstream.verdict === "not_affected" ? undefined : upstream.fixedIn;
    return {
      id: "E1",
      says: upstream.verdict === "affected" && fixedIn === undefined ? "no_upstream_fix" : upstream.verdict,
      ref: showUpstreamVersion(release),
      ...(fixedIn === undefined ? {} : { fixedIn: showUpstreamVersion(fixedIn) }),
      feed: name,
      ...(date === undefined ? {} : { feedDate: date }),
    };
  });
}

function unknown(reason: UnknownReason): Decision {
  return { verdict: "unknown", reason, confidence: "provisional" };
}

function disputed(): Decision {
  return { verdict: "disputed", confidence: "provisional" };
}

function fine(verdict: "fixed" | "not_affected" | "livepatched", { fixedIn }: Evidence): Decision {
  return { verdict, ...(fixedIn === undefined ? {} : { fixedIn }), confidence: "sound" };
}

function open({ fixedIn }: Evidence): Decision {
  return { verdict: "affected", ...(fixedIn === undefined ? {} : { fixedIn }), confidence: "provisional" };
}
