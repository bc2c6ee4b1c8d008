/**
 * The in-toto statement: who signs it says of some modules how they were built, or that they came out otherwise when they
 * were built again. Version 1, with SLSA's predicate or a test result. Source: github.com/in-toto/attestation, spec/v1.
 */
import { z } from "zod";
import { canonicalJson, type Digest, describeIssue, hexOf } from "../base/json.ts";
import { isPathSegment } from "../kernel/path-segment.ts";
import { BuildProvenance, PREDICATE_TYPE } from "./slsa.ts";
import { malformed, readStrictJson } from "./strict-json.ts";
import { TEST_RESULT_TYPE, TestResult } from "./test-result.ts";

const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
const MOST_SUBJECTS = 1000;

/** A module is known by its SHA-256, in the one spelling that it has. */
const Subject = z.strictObject({
  name: z
    .string()
    .max(256)
    .refine((name) => name.split("/").length <= 2 && name.split("/").every(isPathSegment), {
      error: "is not NAME.ko or built/NAME.ko",
    }),
  digest: z.strictObject({
    sha256: z.string().regex(/^[0-9a-f]{64}$/, { error: "is not 64 lower-case hexadecimal digits" }),
  }),
});
export type Subject = z.infer<typeof Subject>;

const common = {
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(Subject)
    .min(1)
    .max(MOST_SUBJECTS)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, {
      error: "two subjects have one name",
    }),
};

const BuildStatement = z.strictObject({
  ...common,
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: BuildProvenance,
});
/** How something was built. */
export type BuildStatement = z.infer<typeof BuildStatement>;

const FailureStatement = z.strictObject({
  ...common,
  predicateType: z.literal(TEST_RESULT_TYPE),
  predicate: TestResult,
});
/** That something came out otherwise when it was built again. */
export type FailureStatement = z.infer<typeof FailureStatement>;

const Statement = z.discriminatedUnion("predicateType", [BuildStatement, FailureStatement]);
export type Statement = z.infer<typeof Statement>;

/** What a statement is about: modules without signature and compression. */
export interface StatedModule {
  readonly name: string;
  /** As it was built. */
  readonly digest: Digest;
  /** Without debugging information, where nodes get it so. */
  readonly stripped?: Digest | undefined;
}

/** `NAME.ko` is what nodes insert; where that is stripped, `built/NAME.ko` is what the build wrote. */
export function subjectsOf(modules: readonly StatedModule[]): Subject[] {
  const subject = (name: string, digest: Digest) => ({ name, digest: { sha256: hexOf(digest) } });
  return modules
    .flatMap(({ name, digest, stripped }) =>
      stripped === undefined
        ? [subject(`${name}.ko`, digest)]
        : [subject(`${name}.ko`, stripped), subject(`built/${name}.ko`, digest)],
    )
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

export function statementOf(modules: readonly StatedModule[], predicate: BuildProvenance): BuildStatement {
  return { _type: STATEMENT_TYPE, subject: subjectsOf(modules), predicateType: PREDICATE_TYPE, predicate };
}

export function failureOf(modules: readonly StatedModule[], predicate: TestResult): FailureStatement {
  return { _type: STATEMENT_TYPE, subject: subjectsOf(modules), predicateType: TEST_RESULT_TYPE, predicate };
}

/** The bytes that are signed: one statement has one form. */
export function writeStatement(statement: Statement): string {
  return canonicalJson(statement);
}

/** Reads what was signed, or is to be signed. @throws FarmError PROVENANCE_MALFORMED naming the field at fault */
export function readStatement(payload: Uint8Array, what: string): Statement {
  const parsed = Statement.safeParse(readStrictJson(payload, what));
  if (!parsed.success) throw malformed(what, describeIssue(parsed.error));
  return parsed.data;
}
