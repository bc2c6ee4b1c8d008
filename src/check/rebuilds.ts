/**
 * What people who built an artifact again say of it: each statement is by somebody whose word counts, and about exactly
 * these modules, or it counts for nothing. People are told apart by their public keys, and by nothing else.
 */
import { FarmError } from "../base/error.ts";
import type { Digest } from "../base/json.ts";
import { oneLine } from "../base/visible.ts";
import { saysRebuilt, testedBuild, unnamedByRebuild } from "../provenance/build.ts";
import type { TrustedBuilder } from "../provenance/builder.ts";
import { readBundle } from "../provenance/bundle.ts";
import { signersOf } from "../provenance/dsse.ts";
import {
  type BUNDLE_FAULTS,
  type KnownBuild,
  otherMaterials,
  otherModules,
  otherParameters,
} from "../provenance/judge.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import { PREDICATE_TYPE } from "../provenance/slsa.ts";
import { type BuildStatement, type FailureStatement, readStatement } from "../provenance/statement.ts";
import type { RebuildFindings } from "../provenance/test-result.ts";
import { type Reason, reason } from "./verdict.ts";

/** Whose rebuilds count, and how many are wanted. */
export interface RebuildRule {
  readonly of: number;
  readonly by: readonly PublicKey[];
  /** Whether who built it first counts too, once he built it again. */
  readonly notTheBuilder: boolean;
}

/** An artifact that others may have built again. */
export interface RebuiltArtifact extends KnownBuild {
  /** Keys that signed how it was built first. */
  readonly firstKeys: ReadonlySet<Digest>;
  /** Builders with their keys: who rebuilds does not speak in their names. */
  readonly builders: readonly TrustedBuilder[];
}

type Because = Reason<(typeof BUNDLE_FAULTS)[number] | "noRebuild">;

/** What one statement is worth. */
export type RebuildVerdict =
  | { readonly kind: "equal"; readonly by: Digest }
  | { readonly kind: "different"; readonly by: Digest; readonly findings: RebuildFindings }
  | { readonly kind: "refused"; readonly because: Because };

const WHAT = "its statement";

/** Never throws, whatever the bundle holds. */
export function judgeRebuild(
  bundle: Uint8Array,
  artifact: RebuiltArtifact,
  keys: readonly PublicKey[],
): RebuildVerdict {
  try {
    const envelope = readBundle(bundle, WHAT);
    const [signer] = signersOf(envelope, keys);
    if (signer === undefined) return refused("untrustedKey", "no key of the policy's rebuilders signed it");
    const by = signer.fingerprint;
    const statement = readStatement(envelope.payload, WHAT);
    const because =
      otherModules(statement, artifact) ??
      (statement.predicateType === PREDICATE_TYPE
        ? faultOfBuild(statement, by, artifact)
        : faultOfFailure(statement, artifact));
    if (because !== undefined) return { kind: "refused", because };
    if (statement.predicateType === PREDICATE_TYPE) return { kind: "equal", by };
    return { kind: "different", by, findings: statement.predicate.kmodfarm_rebuild };
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "PROVENANCE_MALFORMED") throw thrown;
    return refused("malformed", thrown.message);
  }
}

function refused(code: Because["code"], text: string): RebuildVerdict {
  return { kind: "refused", because: reason(code, text) };
}

function faultOfBuild(statement: BuildStatement, by: Digest, artifact: RebuiltArtifact): Because | undefined {
  const { predicate } = statement;
  const { id } = predicate.runDetails.builder;
  const named = artifact.builders.filter((one) => one.id === id);
  const isHis = named.some((one) => "key" in one && one.key.fingerprint === by);
  if (named.length > 0 && !isHis)
    return reason("otherBuilder", `its statement names the builder ${id}, whose key did not sign it`);
  // What he signed when he built it first is no second build.
  if (artifact.firstKeys.has(by) && !saysRebuilt(predicate))
    return reason("noRebuild", "its statement is of the first build, not of another one");
  const { materials } = artifact;
  return (
    otherParameters(statement, artifact) ??
    otherMaterials(materials === undefined ? [] : unnamedByRebuild(materials, predicate))
  );
}

/** Subjects alone would fit any artifact with these modules: it is the recipe that says for which kernel they are. */
function faultOfFailure(
  { predicate: { configuration } }: FailureStatement,
  { materials }: KnownBuild,
): Because | undefined {
  if (materials === undefined) return reason("otherMaterials", "nothing is known of how it was built");
  const said = new Map(configuration.map(({ name, digest }) => [name, digest?.sha256]));
  return otherMaterials(
    testedBuild(materials).flatMap(({ name = "", digest }) =>
      said.get(name) === digest?.sha256 ? [] : [name],
    ),
  );
}

/** What all that was stated comes to. */
export interface RebuildCount {
  /** Distinct keys that count, sorted. */
  readonly equal: readonly Digest[];
  readonly different: ReadonlyMap<Digest, RebuildFindings>;
}

/** Who says what, each key once: a key that says both is one that says that it differs. */
export function countRebuilds(
  bundles: readonly Uint8Array[],
  artifact: RebuiltArtifact,
  { by, notTheBuilder }: RebuildRule,
): RebuildCount {
  const keys = notTheBuilder ? by.filter(({ fingerprint }) => !artifact.firstKeys.has(fingerprint)) : by;
  const found = bundles.map((bundle) => judgeRebuild(bundle, artifact, keys));
  const different = new Map(
    found.flatMap((one) => (one.kind === "different" ? [[one.by, one.findings]] : [])),
  );
  const equal = new Set(found.flatMap((one) => (one.kind === "equal" ? [one.by] : [])));
  return { equal: [...equal].filter((one) => !different.has(one)).toSorted(), different };
}

/** Findings in one line. */
export function findingsText({ result, modules, files, cause }: RebuildFindings): string {
  if (result === "failed")
    return `the second build failed${cause === undefined ? "" : `: ${oneLine(cause)}`}`;
  const parts = [
    ...modules
      .filter(({ isEqual }) => !isEqual)
      .map(({ name, differences }) => {
        const sections = differences.map(({ section }) => oneLine(section)).join(", ");
        return `${oneLine(name)}.ko${sections === "" ? "" : ` in ${sections}`}`;
      }),
    ...files.map(oneLine),
  ];
  return `other bytes: ${parts.join("; ")}`;
}

/** The beginning of a key's fingerprint, as people compare it. */
export function shortKey(fingerprint: Digest): string {
  return fingerprint.slice(0, "sha256:".length + 16);
}
