import fc from "fast-check";
import { expect, test } from "vitest";
import { makeCatalog, makeKernel } from "../../test/support/kernels.ts";
import { factsByKernel, factsOf } from "../kernel/facts.ts";
import { kernelName } from "../kernel/kernel.ts";
import { type AnnotatedKernel, annotatedCatalog, describedBy, takeFacts } from "./annotated.ts";

const SINCE = "2026-01-01T00:00:00.000Z";
const compiler = fc.constantFrom("package", "config", "header", undefined);
const since = fc.constantFrom(SINCE, undefined);

const kernels = fc
  .array(
    fc.record({
      source: compiler,
      notFetchableSince: since,
      notLoadableSince: since,
      hasDigests: fc.boolean(),
    }),
    {
      maxLength: 12,
    },
  )
  .map((all) =>
    all.map(({ source, notFetchableSince, notLoadableSince, hasDigests }, index): AnnotatedKernel => {
      const { compiler: _, packages, ...kernel } = makeKernel({ kversion: `6.1.0-${index}-amd64` });
      const headers = hasDigests ? packages.headers : packages.headers.map(({ sha256: __, ...one }) => one);
      return {
        ...kernel,
        packages: { ...packages, headers },
        ...(source === undefined ? {} : { compiler: { family: "gcc", version: "12.2", source } }),
        ...(notFetchableSince === undefined ? {} : { notFetchableSince }),
        ...(notLoadableSince === undefined ? {} : { notLoadableSince }),
      };
    }),
  );

test("a catalog with annotations is taken apart and shown again as it was", () => {
  fc.assert(
    fc.property(kernels, (annotated) => {
      const document = { ...makeCatalog([]), kernels: annotated };
      const described = describedBy(document);

      const names = described.facts.map(kernelName);

      expect(annotatedCatalog(described)).toEqual(document);
      expect(names).toEqual(names.toSorted((a, b) => (a < b ? -1 : 1)));
      expect(takeFacts(described.catalog.kernels)).toEqual({ kernels: described.catalog.kernels, facts: [] });
      for (const kernel of described.catalog.kernels) {
        expect(kernel).not.toHaveProperty("notFetchableSince");
        expect(kernel).not.toHaveProperty("notLoadableSince");
      }
    }),
  );
});

test("what a source says of a compiler is not taken for something learned, and what was read is", () => {
  const read = { family: "gcc", version: "12.2.0", source: "header" } as const;
  const [ours, theirs] = [makeKernel(), makeKernel({ kversion: "6.1.0-57-amd64", compiler: read })];

  const {
    kernels: [plain, bare],
    facts,
  } = takeFacts([ours, theirs]);

  expect(plain).toBe(ours);
  expect(bare).not.toHaveProperty("compiler");
  expect(facts).toHaveLength(1);
  expect(factsOf(factsByKernel(facts), theirs).headers?.compiler).toEqual(read);
});
