/**
 * Whether a statement is by somebody whose word counts, and about exactly these modules for exactly this kernel. A key
 * counts only together with the builder that it signs for: who may sign for one builder must not speak for another.
 */
import { FarmError } from "../base/error.ts";
import { canonicalJson, type Digest } from "../base/json.ts";
import { type BuildMaterials, unnamedMaterials } from "../provenance/build.ts";
import { readBundle } from "../provenance/bundle.ts";
import { signersOf } from "../provenance/dsse.ts";
import type { PublicKey } from "../provenance/public-key.ts";
import { type BuiltIdentity, externalParametersOf } from "../provenance/slsa.ts";
import { readStatement, type StatedModule, type Statement, subjectsOf } from "../provenance/statement.ts";
import { type Reason, reason } from "./verdict.ts";

/** A builder, and the key that signs for it. */
export interface TrustedBuilder {
  readonly id: string;
  readonly key: PublicKey;
}

/** What is known of an artifact, whoever built it. */
export interface KnownBuild {
  readonly identity: BuiltIdentity;
  readonly modules: readonly StatedModule[];
  /** What it was made of, where it was built here. */
  readonly materials?: BuildMaterials | undefined;
}

export const BUNDLE_FAULTS = [
  "malformed",
  "untrustedKey",
  "otherBuilder",
  "otherModules",
  "otherParameters",
  "otherMaterials",
] as const;
type Because = Reason<(typeof BUNDLE_FAULTS)[number]>;

export type BundleVerdict =
  | { readonly kind: "good" }
  /** By nobody whose key is known: who it is by may become known. */
  | { readonly kind: "open"; readonly because: Because }
  | { readonly kind: "bad"; readonly because: Because };

const WHAT = "its statement";

/** What a trusted builder states. */
interface Believed {
  readonly kind: "believed";
  readonly statement: Statement;
}
type Disbelieved = Exclude<BundleVerdict, { kind: "good" }>;

/** Never throws, whatever the bundle holds. */
export function judgeBundle(
  bundle: Uint8Array,
  build: KnownBuild,
  builders: readonly TrustedBuilder[],
): BundleVerdict {
  const found = openBundle(bundle, builders);
  if (found.kind !== "believed") return found;
  return contradiction(found.statement, build) ?? { kind: "good" };
}

/** The source that a trusted builder states; undefined if none does. */
export function statedSource(bundle: Uint8Array, builders: readonly TrustedBuilder[]): Digest | undefined {
  const found = openBundle(bundle, builders);
  if (found.kind !== "believed") return undefined;
  return found.statement.predicate.buildDefinition.externalParameters.driver.source;
}

function openBundle(bundle: Uint8Array, builders: readonly TrustedBuilder[]): Believed | Disbelieved {
  try {
    const envelope = readBundle(bundle, WHAT);
    const signers = signersOf(
      envelope,
      builders.map(({ key }) => key),
    );
    if (signers.length === 0)
      return {
        kind: "open",
        because: reason("untrustedKey", "no key of the policy's builders signed its statement as it is"),
      };
    const keys = new Set(signers.map(({ fingerprint }) => fingerprint));
    const statement = readStatement(envelope.payload, WHAT);
    const { id } = statement.predicate.runDetails.builder;
    const those = builders.filter(({ key }) => keys.has(key.fingerprint));
    if (those.some((one) => one.id === id)) return { kind: "believed", statement };
    const others = those.map((one) => one.id).join(", ");
    return bad(
      "otherBuilder",
      `its statement names the builder ${id}, but the key that signed it is for ${others}`,
    );
  } catch (thrown) {
    if (!(thrown instanceof FarmError) || thrown.code !== "PROVENANCE_MALFORMED") throw thrown;
    return bad("malformed", thrown.message);
  }
}

function bad(code: Because["code"], text: string): Disbelieved {
  return { kind: "bad", because: reason(code, text) };
}

/** What a statement says otherwise than what is known. */
function contradiction(
  { subject, predicate }: Statement,
  { identity, modules, materials }: KnownBuild,
): Disbelieved | undefined {
  const strange = differentSubject(subject, subjectsOf(modules));
  if (strange !== undefined) return bad("otherModules", `its statement is not about ${strange}`);
  const [stated, expected] = [predicate.buildDefinition.externalParameters, externalParametersOf(identity)];
  for (const part of ["driver", "target"] as const)
    for (const [name, value] of Object.entries(expected[part])) {
      const said = (stated[part] as Readonly<Record<string, string>>)[name];
      if (said !== value)
        return bad("otherParameters", `its statement says ${part}.${name} ${said}, not ${value}`);
    }
  const unnamed = materials === undefined ? [] : unnamedMaterials(materials, predicate);
  if (unnamed.length === 0) return undefined;
  return bad("otherMaterials", `its statement does not name what it was made of: ${unnamed.join(", ")}`);
}

/** The first subject that one side has and the other has not, or has otherwise. */
function differentSubject(stated: Statement["subject"], expected: Statement["subject"]): string | undefined {
  const said = new Map(stated.map((one) => [one.name, canonicalJson(one)]));
  const wanted = new Map(expected.map((one) => [one.name, canonicalJson(one)]));
  const names = [...new Set([...wanted.keys(), ...said.keys()])];
  const name = names.find((one) => said.get(one) !== wanted.get(one));
  if (name === undefined) return undefined;
  return wanted.has(name) ? `this ${name}` : `these modules alone: it names ${name}`;
}

export function builderName({ id, key }: TrustedBuilder): readonly [id: string, key: Digest] {
  return [id, key.fingerprint];
}
