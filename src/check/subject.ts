/**
 * Which bytes verdicts are about: what a check saw counts for those bytes, and for no others that came from the same build.
 */
import { sha256 } from "../base/json.ts";
import type { OpenedModule } from "./opened-modules.ts";
import { commonReason, type Subject, type Verdict } from "./verdict.ts";

/** A module by its digests; nodes get it compressed where it is, else stripped where it is, else as it was built. */
export interface NodeModule {
  readonly name: string;
  readonly digest: string;
  readonly stripped?: string | undefined;
  readonly compressed?: { readonly digest: string } | undefined;
}

/** Verdicts on modules, each with the digests of what was looked at. */
export function seenIn(modules: readonly OpenedModule[], verdicts: readonly Verdict[]): Verdict[] {
  const of = modules.map(({ module, bytes }): Subject => ({ module: module.name, sha256: sha256(bytes) }));
  return verdicts.map((one) => ({ ...one, of }));
}

/**
 * Verdicts, as far as they are about these modules as nodes get them. One about other bytes is a failure, since the
 * records contradict each other; one that does not say what it saw proves nothing, which is unknown.
 */
export function heldTo(modules: readonly NodeModule[], verdicts: readonly Verdict[]): Verdict[] {
  const shapes = modules.map(shapesOf);
  return verdicts.map((one) => {
    if (one.verdict !== "pass" && one.verdict !== "waived") return one;
    if (one.of === undefined) return { ...one, verdict: "unknown", reasons: [UNNAMED] };
    const seen = new Set<string>(one.of.map(({ sha256: digest }) => digest));
    const isWhole = shapes.every((digests) => digests.some((digest) => seen.has(digest)));
    const known = new Set(shapes.flat());
    const isOnlyThat = [...seen].every((digest) => known.has(digest));
    return isWhole && isOnlyThat ? one : { ...one, verdict: "fail", reasons: [OTHERS] };
  });
}

const UNNAMED = commonReason(
  "unnamedBytes",
  "an older version checked it without recording which bytes; `kmodfarm run` checks it again",
);
const OTHERS = commonReason("otherBytes", "the bytes that were checked are not those that nodes would get");

function shapesOf({ digest, stripped, compressed }: NodeModule): string[] {
  return [stripped ?? digest, ...(compressed === undefined ? [] : [compressed.digest])];
}
