import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeElement } from "../../test/support/elements.ts";
import { diffMatrix } from "./diff.ts";
import { type Element, elementKey } from "./element.ts";
import { diffStreams, isLineMatrix, matrixLines, parseMatrixLines, sharedElements } from "./stream.ts";

async function* stream<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values;
}

async function gather<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

const someElement = fc
  .record({
    kversion: fc.constantFrom("6.1.0-1-amd64", "6.1.0-2-amd64", "6.1.0-3-amd64", "6.1.0-4-amd64"),
    driverversion: fc.constantFrom("0.1.0", "0.1.1"),
    flavour: fc.constantFrom("generic", "cloud"),
    recipe: fc.option(fc.constantFrom("sha256:a", "sha256:b"), { nil: undefined }),
  })
  .map(({ recipe, ...changes }): Element => {
    const element = makeElement(changes);
    return recipe === undefined ? element : { ...element, recipe };
  });
const someMatrix = fc.uniqueArray(someElement, { selector: elementKey });

describe("a matrix with one element a line", () => {
  test("is JSON that any reader takes, and comes back element by element", async () => {
    await fc.assert(
      fc.asyncProperty(someMatrix, async (elements) => {
        const text = [...matrixLines(elements)].join("");

        expect(JSON.parse(text)).toEqual(elements);
        if (elements.length > 0) {
          expect(isLineMatrix(text.slice(0, 16))).toBe(true);
          expect(await gather(parseMatrixLines(stream(text.split("\n")), "here"))).toEqual(elements);
        }
      }),
    );
  });

  test.each([
    ["cut off between elements", `[\n${JSON.stringify(makeElement())},\n`, /ends after line/],
    ["cut off inside one", `[\n${JSON.stringify(makeElement()).slice(0, 40)}`, /line 2 is not JSON/],
    ["with something else in it", '[\n{"kversion": 1}\n]\n', /line 2.*kversion/],
  ])("that is %s is one error that names the line", async (_, text, fact) => {
    await expect(gather(parseMatrixLines(stream(text.split("\n")), "here"))).rejects.toThrow(fact);
  });
});

describe("diffStreams", () => {
  test("finds what diffMatrix finds", async () => {
    await fc.assert(
      fc.asyncProperty(someMatrix, someMatrix, async (before, after) => {
        const whole = diffMatrix(before, after);

        const changes = await gather(diffStreams(stream(before), stream(after)));

        const keys = (kind: string) =>
          changes.flatMap((change) =>
            change.kind === kind && "element" in change ? [elementKey(change.element)] : [],
          );
        expect(keys("added").sort()).toEqual(whole.added.map(elementKey).sort());
        expect(keys("changed").sort()).toEqual(
          whole.changed.map(({ element }) => elementKey(element)).sort(),
        );
        const end = changes.at(-1);
        expect(end).toMatchObject({ kind: "end", unchanged: whole.unchanged });
        expect(end?.kind === "end" && [...end.removed].sort()).toEqual(whole.removed.map(elementKey).sort());
      }),
    );
  });

  test("finds the same without reading what both have in the same words", async () => {
    await fc.assert(
      fc.asyncProperty(someMatrix, someMatrix, async (before, after) => {
        const [old, now] = [before, after].map((elements) => [...matrixLines(elements)].join("").split("\n"));
        const known = await sharedElements(stream(old ?? []), stream(now ?? []));
        const read = (lines: readonly string[] = []) => parseMatrixLines(stream(lines), "here", known);

        const whole = await gather(diffStreams(stream(before), stream(after)));
        const quick =
          before.length > 0 && after.length > 0
            ? await gather(diffStreams(read(old), read(now), known.size))
            : whole;

        expect(quick).toEqual(whole);
        expect(known.size).toBe(
          before.filter((one) => (now ?? []).some((line) => line.replace(/,$/, "") === JSON.stringify(one)))
            .length,
        );
      }),
    );
  });

  test("names the parts that differ", async () => {
    const changes = await gather(
      diffStreams(stream([makeElement({ flavour: "cloud" })]), stream([makeElement({ flavour: "rt" })])),
    );

    expect(changes[0]).toMatchObject({ kind: "changed", parts: ["flavour"] });
  });
});
