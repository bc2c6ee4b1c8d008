/** Whether a statement is by somebody whose word counts, and about exactly these modules for exactly this kernel. */
import { FarmError } from "../base/error.ts";
import { canonicalJson, type Digest } from "../base/json.ts";
import { type BuildMaterials, unnamedMaterials } from "./build.ts";
import { buildersThatSigned, type TrustedBuilder } from "./builder.ts";
import { readBundle } from "./bundle.ts";
import { type BuiltIdentity, externalParametersOf, PREDICATE_TYPE } from "./slsa.ts";
import {
  type BuildStatement,
  readStatement,
  type StatedModule,
  type Statement,
  subjectsOf,
} from "./statement.ts";

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
  /** By nobody who is known: who it is by may become known. */
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
    const those = buildersThatSigned(bundle, envelope, builders);
    if (those.length === 0)
      return {
        kind: "open",
        because: because("untrustedKey", "none of the policy's builders signed its statement as it is"),
      };
    const statement = readStatement(envelope.payload, WHAT);
    if (statement.predicateType !== PREDICATE_TYPE)
      return bad("malformed", "its statement does not say how it was built");
    const { id } = statement.predicate.runDetails.builder;
    if (those.some((one) => one.id === id)) return { kind: "believed", statement };
    const others = those.map((one) => one.id).join(", ");
    return bad(
      "otherBuilder",
      `its statement names the builder ${id}, but who signed it may speak only for ${others}`,
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
