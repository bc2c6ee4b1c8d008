/**
 * in-toto's test result, version 0.1, as whoever built an artifact again states that it came out otherwise. Sources:
 * github.com/in-toto/attestation, spec/predicates/test-result.md; its issue 3 has equal results as provenance instead.
 */
import { z } from "zod";
import { Descriptors, Text } from "./slsa.ts";

export const TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1";

const MOST_MODULES = 200;
const MOST_DIFFERENCES = 60;
const MOST_STRINGS = 6;

const Strings = z.array(z.string().max(200)).max(MOST_STRINGS).readonly();
const Count = z.int().nonnegative();

/** One module compared section by section, as check/compare-modules.ts does it. */
const ComparedModule = z.strictObject({
  name: Text,
  isEqual: z.boolean(),
  isCodeEqual: z.boolean(),
  differences: z
    .array(
      z.strictObject({
        section: z.string().max(200),
        kind: z.enum(["onlyFirst", "onlySecond", "size", "order", "bytes"]),
        sizes: z.tuple([Count, Count]).readonly(),
        firstAt: z.int().optional(),
        differingBytes: Count.optional(),
        strings: z.strictObject({ first: Strings, second: Strings }),
      }),
    )
    .max(MOST_DIFFERENCES)
    .readonly(),
  causes: z.array(z.string().max(500)).max(20).readonly(),
});

/** What came of it. The field has a vendor's prefix, as other readers pass over those. */
export const RebuildFindings = z.strictObject({
  result: z.enum(["different", "failed"]),
  modules: z.array(ComparedModule).max(MOST_MODULES).readonly(),
  /** Other files, and other shapes of modules, that differ. */
  files: z.array(z.string().max(1000)).max(MOST_MODULES).readonly(),
  /** Why the second build failed, if it did. */
  cause: z.string().max(1000).optional(),
});
export type RebuildFindings = z.infer<typeof RebuildFindings>;

/** Only a failure is stated so: that a rebuild was equal is stated as the provenance of its own build. */
export const TestResult = z.strictObject({
  result: z.literal("FAILED"),
  /** The recipe by its key, and the inputs. */
  configuration: Descriptors.min(1),
  failedTests: z.array(Text).max(MOST_MODULES).optional(),
  kmodfarm_rebuild: RebuildFindings,
});
export type TestResult = z.infer<typeof TestResult>;

/** As much of a comparison as a statement has room for: what is equal is left out. */
export function boundedFindings({ result, modules, files, cause }: RebuildFindings): RebuildFindings {
  const different = modules.filter(({ isEqual }) => !isEqual);
  return {
    result,
    modules: different.slice(0, MOST_MODULES).map(({ differences, causes, ...one }) => ({
      ...one,
      differences: differences.slice(0, MOST_DIFFERENCES).map(({ section, strings, ...each }) => ({
        ...each,
        section: cut(section, 200),
        strings: { first: shortTexts(strings.first), second: shortTexts(strings.second) },
      })),
      causes: causes.slice(0, 20).map((text) => cut(text, 500)),
    })),
    files: files.slice(0, MOST_MODULES).map((file) => cut(file, 1000)),
    ...(cause === undefined ? {} : { cause: cut(cause, 1000) }),
  };
}

function shortTexts(texts: readonly string[]): string[] {
  return texts.slice(0, MOST_STRINGS).map((text) => cut(text, 200));
}

function cut(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}
