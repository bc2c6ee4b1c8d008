/**
 * Whether a statement is by somebody whose word counts, and about exactly these modules for exactly this kernel. A key
 * counts only together with the builder that it signs for: who may sign for one builder must not speak for another.
 */
import { FarmError } from "../base/error.ts";
import { canonicalJson, type Digest } from "../base/json.ts";
import { type BuildMaterials, unnamedMaterials } from "./build.ts";
import { readBundle } from "./bundle.ts";
import { signersOf } from "./dsse.ts";
import type { PublicKey } from "./public-key.ts";
import { type BuiltIdentity, externalParametersOf, PREDICATE_TYPE } from "./slsa.ts";
import {
  type BuildStatement,
  readStatement,
  type StatedModule,
  type Statement,
  subjectsOf,
} from "./statement.ts";

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
/** For a verdict of the check `provenance`. */
interface Because {
  readonly code: (typeof BUNDLE_FAULTS)[number];
  readonly text: string;
}

export type BundleVerdict =
  | { readonly kind: "good" }
  /** By nobody whose key is known: who it is by may become known. */
  | { readonly kind: "open"; readonly because: Because }
  | { readonly kind: "bad"; readonly because: Because };

const WHAT = "its statement";

/** What a trusted builder states. */
interface Believed {
  readonly kind: "believed";
  readonly statement: BuildStatement;
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
        because: because("untrustedKey", "no key of the policy's builders signed its statement as it is"),
      };
    const keys = new Set(signers.map(({ fingerprint }) => fingerprint));
    const statement = readStatement(envelope.payload, WHAT);
    if (statement.predicateType !== PREDICATE_TYPE)
      return bad("malformed", "its statement does not say how it was built");
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

function because(code: Because["code"], text: string): Because {
  return { code, text };
}

function bad(code: Because["code"], text: string): Disbelieved {
  return { kind: "bad", because: { code, text } };
}

/** That a statement is about other modules than these, byte for byte. */
export function otherModules(
  { subject }: Pick<Statement, "subject">,
  { modules }: Pick<KnownBuild, "modules">,
): Because | undefined {
  const strange = differentSubject(subject, subjectsOf(modules));
  return strange === undefined ? undefined : because("otherModules", `its statement is not about ${strange}`);
}

/** That a statement is about another driver, or another kernel. */
export function otherParameters(
  { predicate }: BuildStatement,
  { identity }: Pick<KnownBuild, "identity">,
): Because | undefined {
  const [stated, expected] = [predicate.buildDefinition.externalParameters, externalParametersOf(identity)];
  for (const part of ["driver", "target"] as const)
    for (const [name, value] of Object.entries(expected[part])) {
      const said = (stated[part] as Readonly<Record<string, string>>)[name];
      if (said !== value)
        return because("otherParameters", `its statement says ${part}.${name} ${said}, not ${value}`);
    }
  return undefined;
}

/** That a statement does not name what something was made of. */
export function otherMaterials(unnamed: readonly string[]): Because | undefined {
  if (unnamed.length === 0) return undefined;
  return because("otherMaterials", `its statement does not name what it was made of: ${unnamed.join(", ")}`);
}

/** What a statement says otherwise than what is known. */
function contradiction(statement: BuildStatement, build: KnownBuild): Disbelieved | undefined {
  const { materials } = build;
  const because =
    otherModules(statement, build) ??
    otherParameters(statement, build) ??
    otherMaterials(materials === undefined ? [] : unnamedMaterials(materials, statement.predicate));
  return because === undefined ? undefined : { kind: "bad", because };
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
